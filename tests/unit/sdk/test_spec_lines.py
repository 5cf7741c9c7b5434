"""The Python lines of the specification, as they stand there."""

from tests.unit.sdk.fake_api import DEPLOY, WEB, FakeApi

HANDLERS = f"/service/{WEB}/webhook/handler/"

PREPARE = """
import tutum

service = tutum.Service.fetch('61a29874-9134-48f9-b460-f37d4bec4826')
webhook = tutum.WebhookHandler.fetch(service)
"""


def run(lines: str) -> dict[str, object]:
    names: dict[str, object] = {}
    exec(PREPARE + lines, names)
    return names


def test_list_asks_for_the_handlers(api: FakeApi) -> None:
    handlers = run("handlers = webhook.list()")["handlers"]
    assert handlers == api.handlers
    assert api.sent() == [f"GET /service/{WEB}/", f"GET {HANDLERS}"]


def test_add_and_save_create_a_handler(api: FakeApi) -> None:
    run('webhook.add("mywebhook_name")\nwebhook.save()')
    assert api.sent()[-1] == f"POST {HANDLERS}"
    assert api.body() == {"name": "mywebhook_name"}


def test_delete_revokes_a_handler(api: FakeApi) -> None:
    run('webhook.delete("7eaf7fff-882c-4f3d-9a8f-a22317ac00ce")')
    assert api.sent()[-1] == f"DELETE {HANDLERS}{DEPLOY}/"
    assert [handler["name"] for handler in api.handlers] == ["grow"]


def test_call_calls_a_handler(api: FakeApi) -> None:
    assert run('called = webhook.call("7eaf7fff-882c-4f3d-9a8f-a22317ac00ce")')["called"]
    assert api.sent()[-1] == f"POST {HANDLERS}{DEPLOY}/call/"
