"""`tutum webhook-handler call|test|deliveries|redeliver`: what a person reads."""

import json
from pathlib import Path
from typing import Any

import httpx2
import pytest

from tests.unit.cli.conftest import Tutum
from tests.unit.sdk.fake_api import ACTION, DEPLOY, WEB, FakeApi, service

OLD_DATE = "Mon, 13 Oct 2014 11:01:43 +0000"
HANDLERS = f"/service/{WEB}/webhook/handler/"
URL = f"http://tutum.test/api/v1{HANDLERS}{DEPLOY}/call/"
DELIVERY: dict[str, Any] = {
    "id": 7,
    "received_datetime": OLD_DATE,
    "ip": "192.0.2.1",
    "user_agent": "GitHub-Hookshot/044aadd",
    "caller": {
        "repository": "me/shop",
        "ref": "refs/heads/main",
        "sha": "",
        "actor": "ada",
        "run": "12",
        "workflow": "",
    },
    "body_size": 20000,
    "outcome": "skipped",
    "reason": "the branch is 'dev'",
    "amount": 1,
    "tag": None,
    "action": "",
    "query": "tag=v2",
    "headers": [["X-GitHub-Event", "push"], ["Accept", "*/*\x1b[2J"]],
    "body": '{"a":\n1}\x1b[2J',
    "body_is_base64": False,
    "body_is_cut": True,
}


def test_a_skipped_call_is_reported_and_is_no_failure(api: FakeApi, tutum_command: Tutum) -> None:
    skip = httpx2.Response(200, json={"state": "Skipped", "reason": "the branch is 'dev'"})
    for command in (
        ("call", "web", "deploy"),
        ("call", "web", "deploy", "--wait"),
        ("redeliver", "web", "deploy", "7"),
    ):
        api.script([*_lookup(api), skip])
        ran = tutum_command("webhook-handler", *command)
        assert (ran.code, ran.out) == (0, "Skipped: the branch is 'dev'\n")


@pytest.mark.parametrize(
    ("fields", "reason"),
    [({"enabled": False}, "it is disabled"), ({"max_uses": 1, "uses": 1}, "is used up"), ({}, "it was just revoked")],
)
def test_a_call_of_a_closed_handler_says_why(
    api: FakeApi, tutum_command: Tutum, fields: dict[str, Any], reason: str
) -> None:
    api.handlers[0].update(fields)
    api.script([*_lookup(api), httpx2.Response(404, json={"error": "not found"})])
    ran = tutum_command("webhook-handler", "call", "web", "deploy")
    assert ran.code == 3
    assert reason in ran.err
    assert DEPLOY not in ran.err


def test_test_prints_the_checks_and_exits_with_0_if_the_call_would_be_accepted(
    api: FakeApi, tutum_command: Tutum, tmp_path: Path
) -> None:
    (tmp_path / "push.json").write_text('{"ref": "ä"}')
    steps = [
        {"check": "verify", "passes": True, "why": "github: right"},
        {"check": "tag", "passes": True, "why": "the tag is 'v2'"},
    ]
    answer = {"verdict": "go", "status": 202, "reason": "", "tag": "v2", "variable": "TUTUM_TRIGGER_BODY"}
    api.script([*_lookup(api), httpx2.Response(200, json={**answer, "notes": ["careful"], "steps": steps})])
    given = ("--payload", str(tmp_path / "push.json"), "-H", "X-GitHub-Event: push", "--query", "tag=v2")
    ran = tutum_command("webhook-handler", "test", "web", "deploy", *given, "--address", "192.0.2.1")
    assert ran.code == 0
    assert ran.out.splitlines() == [
        "ok  verify  github: right",
        "ok  tag     the tag is 'v2'",
        "",
        "The call would be accepted: REDEPLOY of web with the tag v2, the body in TUTUM_TRIGGER_BODY.",
        "Note: careful",
    ]
    assert api.body() == {
        "headers": {"X-GitHub-Event": "push"},
        "query": {"tag": "v2"},
        "body": '{"ref": "ä"}',
        "address": "192.0.2.1",
    }


@pytest.mark.parametrize(("verdict", "status", "verb"), [("skipped", 200, "skipped"), ("not_found", 404, "refused")])
def test_test_exits_with_1_if_the_call_would_not_be_accepted(
    api: FakeApi, tutum_command: Tutum, verdict: str, status: int, verb: str
) -> None:
    steps = [{"check": "filter", "passes": False, "why": "so it is"}]
    answer = {"verdict": verdict, "status": status, "reason": "so it is", "tag": None, "variable": None, "notes": []}
    answers = [*_lookup(api), httpx2.Response(200, json={**answer, "steps": steps})]
    api.script(answers * 2)
    ran = tutum_command("webhook-handler", "test", "web", "deploy")
    sentence = f"The call would be {verb} with status {status}: so it is"
    assert (ran.code, ran.out.splitlines()) == (1, ["NO  filter  so it is", "", sentence])
    ran = tutum_command("webhook-handler", "test", "web", "deploy", "--json")
    assert (ran.code, json.loads(ran.out)) == (1, {**answer, "steps": steps})


def test_deliveries_lists_the_outcome_of_each(api: FakeApi, tutum_command: Tutum) -> None:
    action = {"action": f"/api/v1/action/{ACTION}/", "action_state": "Failed", "action_reason": "it exited\nwith 3"}
    api.deliveries = [{**DELIVERY, "id": 8, "outcome": "queued", "reason": "", **action}, DELIVERY]
    ran = tutum_command("webhook-handler", "deliveries", "web", "deploy")
    lines = ran.out.splitlines()
    assert lines[0].split() == ["ID", "RECEIVED", "FROM", "OUTCOME", "RESULT", "ACTION", "REASON"]
    assert lines[1].startswith("8 ")
    assert lines[1].endswith(f"queued   Failed  {ACTION}  it exited with 3")
    assert lines[2].endswith("  the branch is 'dev'")


def test_one_delivery_is_shown_with_headers_and_body(api: FakeApi, tutum_command: Tutum) -> None:
    api.deliveries = [DELIVERY]
    ran = tutum_command("webhook-handler", "deliveries", "web", "deploy", "--show", "7")
    assert ran.code == 0
    top, bottom = ran.out.split("\n\n")
    assert [line[12:] for line in top.splitlines()][1:] == [
        "192.0.2.1",
        "GitHub-Hookshot/044aadd",
        "me/shop, refs/heads/main, ada, 12",
        "skipped",
        "the branch is 'dev'",
        "-",
        "-",
        "-",
        "tag=v2",
        "X-GitHub-Event: push",
        "Accept: */*?[2J",
    ]
    assert bottom == 'body (20000 bytes, only the beginning was kept):\n{"a":\n1}?[2J\n'
    assert json.loads(tutum_command("webhook-handler", "deliveries", "web", "deploy", "--show", "7", "--json").out)
    assert tutum_command("webhook-handler", "deliveries", "web", "deploy", "--show", "9").code == 3


def test_what_was_not_kept_of_a_delivery_is_named(api: FakeApi, tutum_command: Tutum) -> None:
    api.deliveries = [{**DELIVERY, "left_out": ["query parameter token", "headers beyond 8 KiB"]}]
    parts = tutum_command("webhook-handler", "deliveries", "web", "deploy", "--show", "7").out.split("\n\n")
    assert parts[1] == "not kept: query parameter token, headers beyond 8 KiB"


def test_a_remark_of_the_server_is_printed_as_a_note(api: FakeApi, tutum_command: Tutum) -> None:
    body = {"action": f"/api/v1/action/{ACTION}/", "notes": ["the body was not passed on: it is not UTF-8\x1b[2J"]}
    for command in (("call", "web", "deploy"), ("redeliver", "web", "deploy", "7")):
        api.script([*_lookup(api), httpx2.Response(202, json=body)])
        ran = tutum_command("webhook-handler", *command)
        assert (ran.code, ran.err) == (0, "Note: the body was not passed on: it is not UTF-8?[2J\n")


def _lookup(api: FakeApi) -> list[httpx2.Response]:
    """Return the responses to the requests that find the service and its handler."""
    page = {"meta": {"next": None}}
    return [
        httpx2.Response(200, json={**page, "objects": [service(WEB, "web")]}),
        httpx2.Response(200, json={**page, "objects": api.handlers}),
    ]
