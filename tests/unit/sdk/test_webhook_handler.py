"""The handlers of a service: creating, changing, testing and revoking them, and their deliveries."""

from datetime import UTC, datetime

import httpx2
import pytest

import tutum
from tests.unit.sdk.fake_api import ACTION, DEPLOY, ROTATED, WEB, FakeApi, service

HANDLERS = f"/service/{WEB}/webhook/handler/"


@pytest.fixture
def webhook(api: FakeApi) -> tutum.WebhookHandler:
    return tutum.WebhookHandler.fetch(tutum.Service.fetch(WEB))


def test_a_handler_has_the_url_by_which_the_server_was_reached(webhook: tutum.WebhookHandler) -> None:
    webhook.add("a")
    all_ways = [*webhook.save(), *webhook.list(), *webhook.unused(0), webhook.update(DEPLOY, note="x")]
    for handler in [*all_ways, webhook.rotate(DEPLOY)]:
        assert handler.call_url == handler["call_url"] == f"http://tutum.test{handler.url}"


def test_the_public_url_of_the_server_comes_first(webhook: tutum.WebhookHandler, api: FakeApi) -> None:
    public = f"https://example.com/hooks/api/v1{HANDLERS}{DEPLOY}/call/"
    api.handlers[0]["call_url"] = public
    assert webhook.list(name="deploy")[0].call_url == public
    api.handlers[0]["call_url"] = None
    assert webhook.list(name="deploy")[0].call_url == f"http://tutum.test/api/v1{HANDLERS}{DEPLOY}/call/"


def test_a_server_below_a_path_is_called_there(api: FakeApi) -> None:
    client = api.client(base_url="https://example.com/hooks/api/v1/")
    path = f"/api/v1{HANDLERS}{DEPLOY}/call/"
    assert client.absolute_url(path) == f"https://example.com/hooks{path}"
    assert client.absolute_url("service/") == "https://example.com/hooks/api/v1/service/"
    assert api.client().absolute_url(path) == f"http://tutum.test{path}"


def test_several_added_handlers_are_sent_as_one_list(webhook: tutum.WebhookHandler, api: FakeApi) -> None:
    webhook.add("a")
    webhook.add(["b", "c"], "SCALEUP", max_containers=3)
    assert [handler.name for handler in webhook.save()] == ["a", "b", "c"]
    fields = {"operation": "SCALEUP", "max_containers": 3}
    assert api.body() == [{"name": "a"}, {"name": "b", **fields}, {"name": "c", **fields}]
    assert webhook.save() == []
    assert sum(line.startswith("POST") for line in api.sent()) == 1


@pytest.mark.parametrize("identifier", ["", ".", ".."])
def test_delete_of_an_empty_uuid_is_refused_here(webhook: tutum.WebhookHandler, api: FakeApi, identifier: str) -> None:
    sent = len(api.requests)
    with pytest.raises(tutum.TutumApiError, match="identifier is empty"):
        webhook.delete(identifier)
    assert len(api.requests) == sent


def test_a_uuid_with_a_slash_stays_one_path_segment(webhook: tutum.WebhookHandler, api: FakeApi) -> None:
    with pytest.raises(tutum.ObjectNotFound):
        webhook.delete("../../x")
    assert api.requests[-1].url.raw_path.endswith(b"/webhook/handler/..%2F..%2Fx/")


def test_handlers_belong_to_a_saved_service(api: FakeApi) -> None:
    with pytest.raises(tutum.TutumApiError, match="save the service"):
        tutum.WebhookHandler.fetch(tutum.Service.create(name="web"))


def test_an_added_handler_is_kept_when_save_fails(webhook: tutum.WebhookHandler, api: FakeApi) -> None:
    webhook.add("a")
    api.services.clear()
    with pytest.raises(tutum.ObjectNotFound):
        webhook.save()
    api.services.append(service(WEB, "web"))
    assert [handler.name for handler in webhook.save()] == ["a"]


def test_a_date_is_sent_in_utc(webhook: tutum.WebhookHandler, api: FakeApi) -> None:
    moment = datetime(2099, 1, 1, 12, tzinfo=UTC)
    webhook.update(DEPLOY, expires_datetime=moment)
    assert api.body() == {"expires_datetime": "2099-01-01T12:00:00+00:00"}
    webhook.update(DEPLOY, expires_datetime=moment.astimezone().replace(tzinfo=None))
    assert api.body() == {"expires_datetime": "2099-01-01T12:00:00+00:00"}


def test_rotate_returns_the_new_uuid(webhook: tutum.WebhookHandler, api: FakeApi) -> None:
    rotated = webhook.rotate(DEPLOY)
    assert api.requests[-1].content == b""
    assert rotated.uuid == ROTATED
    assert rotated.rotation == {"old_until": "Mon, 13 Oct 2099 11:01:43 +0000"}
    webhook.rotate(ROTATED, grace=0)
    assert api.body() == {"grace": 0}


def test_each_field_is_an_attribute() -> None:
    shown = tutum.Handler(FakeApi.handler(DEPLOY, None, "REDEPLOY"), filter="body.a")
    assert (shown.uuid, shown.name, shown.calls, shown.filter, shown.service_uuid) == (DEPLOY, "", 0, "body.a", WEB)
    with pytest.raises(AttributeError, match="'nonsense'"):
        shown.nonsense  # noqa: B018


def test_a_delivery_is_fetched_and_redelivered(webhook: tutum.WebhookHandler, api: FakeApi) -> None:
    api.deliveries = [{"id": 7, "headers": [["A", "b"]], "body": "x"}]
    assert webhook.delivery(DEPLOY, 7)["headers"] == [["A", "b"]]
    with pytest.raises(tutum.ObjectNotFound):
        webhook.delivery(DEPLOY, 8)
    assert webhook.redeliver(DEPLOY, 7).action_uuid == ACTION
    assert api.sent()[-1] == f"POST {HANDLERS}{DEPLOY}/delivery/7/redeliver/"
    assert "Authorization" in api.requests[-1].headers


def test_a_call_is_tested_with_text_or_json(webhook: tutum.WebhookHandler, api: FakeApi) -> None:
    answer = {
        "verdict": "skipped",
        "status": 200,
        "reason": "so",
        "tag": None,
        "variable": None,
        "notes": [],
        "steps": [],
    }
    for body, sent in (('{"a": "ä"}', '{"a": "ä"}'), (b"a=\xc3\xa4", "a=ä"), ({"a": [1]}, {"a": [1]})):
        api.script([httpx2.Response(200, json=answer)])
        assert webhook.test(DEPLOY, body=body).reason == "so"
        assert api.body() == {"body": sent}
    with pytest.raises(tutum.TutumApiError, match="UTF-8"):
        webhook.test(DEPLOY, body=b"\xff")
