"""`tutum webhook-handler`."""

import httpx2

from tests.unit.cli.conftest import Tutum
from tests.unit.sdk.fake_api import DEPLOY, OTHER_WEB, WEB, FakeApi


def test_list_shows_which_handlers_accept_no_calls(api: FakeApi, tutum_command: Tutum) -> None:
    api.handlers[0] |= {"expires_datetime": "Mon, 13 Oct 2014 11:01:43 +0000", "name": "a\x1b[2Jb"}
    api.handlers[1] |= {"max_uses": 3, "uses": 3}
    api.handlers += [
        {**api.handler(WEB, "off", "REDEPLOY"), "enabled": False, "max_uses": 3, "uses": 3},
        {**api.handler(OTHER_WEB, "on", "REDEPLOY"), "enabled": True, "max_uses": 3, "uses": 2},
    ]
    lines = tutum_command("webhook-handler", "list", "web").out.splitlines()
    assert lines[0].split() == ["NAME", "OPERATION", "UUID", "STATE"]
    assert lines[1].startswith("a?[2Jb  ")
    assert [line.split(maxsplit=3)[3] for line in lines[1:]] == ["expired", "used up", "disabled", "active"]


def test_options_may_follow_the_service(api: FakeApi, tutum_command: Tutum) -> None:
    ran = tutum_command("webhook-handler", "create", "web", "--operation", "scaleUp", "-q", "-n", "a", "-n", "b")
    assert ran.code == 0
    assert [(handler["name"], handler["operation"]) for handler in api.handlers[2:]] == [
        ("a", "SCALEUP"),
        ("b", "SCALEUP"),
    ]
    assert ran.out.split() == [handler["uuid"] for handler in api.handlers[2:]]


def test_create_prints_the_public_url_of_the_server(api: FakeApi, tutum_command: Tutum) -> None:
    url = "https://hooks.example.com/api/v1/x/call/"
    created = {**api.handlers[0], "call_url": url}
    api.script([httpx2.Response(200, json=api.services[0]), httpx2.Response(201, json=created)])
    ran = tutum_command("webhook-handler", "create", WEB)
    assert (ran.out, ran.err) == (f"{DEPLOY}\n{url}\n", "")


def test_list_without_handlers_says_how_to_make_one(api: FakeApi, tutum_command: Tutum) -> None:
    api.handlers.clear()
    ran = tutum_command("webhook-handler", "list", "web")
    assert (ran.code, ran.out) == (0, "")
    assert "tutum webhook-handler create web" in ran.err
    assert tutum_command("webhook-handler", "list", "web", "--json").out == "[]\n"
    assert tutum_command("webhook-handler", "list", "web", "-q").err == ""


def test_rm_of_an_ambiguous_name_deletes_nothing(api: FakeApi, tutum_command: Tutum) -> None:
    twin = DEPLOY.replace("7", "8")
    api.handlers.append(api.handler(twin, "deploy", "SCALEUP"))
    ran = tutum_command("webhook-handler", "rm", "web", "deploy")
    assert ran.code == 3
    assert "  7eaf7fff  REDEPLOY" in ran.err
    assert "  8eaf8fff  SCALEUP" in ran.err
    assert DEPLOY not in ran.err
    assert len(api.handlers) == 3
