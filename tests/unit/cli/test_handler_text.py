"""`tutum webhook-handler show|rotate|unused`: what a person reads."""

import json
from typing import Any

import pytest

from tests.unit.cli.conftest import Ran, Tutum
from tests.unit.sdk.fake_api import DEPLOY, GROW, ROTATED, WEB, FakeApi
from tutum.cli.handler_text import call_advice
from tutum.webhook_handler import FIELDS

OLD_DATE = "Mon, 13 Oct 2014 11:01:43 +0000"
HANDLERS = f"/service/{WEB}/webhook/handler/"
URL = f"http://tutum.test/api/v1{HANDLERS}{DEPLOY}/call/"
UNSET: dict[str, Any] = {name: field["default"] for name, field in FIELDS.items()}
ALL: dict[str, Any] = {
    **UNSET,
    "enabled": False,
    "expires_datetime": OLD_DATE,
    "max_uses": 5,
    "max_containers": 9,
    "verify": {"preset": "hmac", "header": "X-Sign", "algorithm": "sha512", "secrets_set": 2},
    "filter": [
        {"preset": "branch", "branch": ["main", "release/*"]},
        {"preset": "tag", "tag": "v*", "repository": "me/app"},
        {"preset": "skip"},
        "body.action == 'published'",
    ],
    "tag": {"allow": ["v*", "latest"], "from": "body.tag"},
    "pass_body": "TUTUM_TRIGGER_BODY",
    "rate_limit": "30/minute",
    "allow_from": ["10.0.0.0/8", "::1/128"],
    "debounce": 30,
    "skip_unchanged": False,
    "rollback_hold": True,
    "show_log": True,
    "last_called_datetime": OLD_DATE,
    "calls": 31,
    "rotation": {
        "old_until": "Tue, 13 Oct 2099 11:01:43 +0000",
        "old_last_called_datetime": OLD_DATE,
        "old_last_address": "192.0.2.1",
    },
}


def shown(ran: Ran) -> dict[str, str]:
    """Return labels and values of lines in two columns; a value without a label belongs to the label above."""
    found: dict[str, str] = {}
    label = ""
    for line in ran.out.splitlines()[1:]:
        label = line[:18].strip() or label
        found[label] = f"{found[label]} / {line[18:]}" if label in found else line[18:]
    return found


def test_show_prints_all_fields_but_not_the_url(api: FakeApi, tutum_command: Tutum) -> None:
    api.handlers[0].update(ALL)
    ran = tutum_command("webhook-handler", "show", "web", "deploy")
    assert ran.code == 0
    assert ran.out.splitlines()[0] == "deploy: REDEPLOY of web"
    assert DEPLOY not in ran.out
    lines = shown(ran)
    assert lines.pop("created").endswith(f"days ago ({OLD_DATE})")
    assert lines.pop("calls").startswith("31, the last ")
    old = lines.pop("old URL")
    assert old.startswith("works until Tue, 13 Oct 2099 11:01:43 +0000; last called ")
    assert old.endswith("from 192.0.2.1")
    assert lines == {
        "uuid": "7eaf7fff…",
        "enabled": "no",
        "expires_datetime": OLD_DATE,
        "max_uses": "5",
        "max_containers": "9",
        "rate_limit": "30/minute",
        "allow_from": "10.0.0.0/8 / ::1/128",
        "verify": "hmac; header X-Sign; algorithm sha512; secrets_set 2",
        "filter": "branch main, release/* / tag v*; repository me/app / skip / body.action == 'published'",
        "tag": "allow v*, latest; from body.tag",
        "pass_body": "TUTUM_TRIGGER_BODY",
        "debounce": "30",
        "skip_unchanged": "no",
        "rollback_hold": "yes",
        "show_log": "yes",
    }


def test_show_of_a_plain_handler_marks_fields_that_are_not_set(api: FakeApi, tutum_command: Tutum) -> None:
    api.handlers[0].update(UNSET)
    lines = shown(tutum_command("webhook-handler", "show", "web", "deploy"))
    assert lines["calls"] == "none"
    assert {name for name, value in lines.items() if value == "-"} == {
        *("expires_datetime", "max_uses", "max_containers", "rate_limit", "allow_from"),
        *("verify", "filter", "tag", "pass_body", "debounce", "skip_unchanged"),
    }


def test_show_can_print_the_url_alone_or_json(tutum_command: Tutum) -> None:
    assert tutum_command("webhook-handler", "show", "web", "deploy", "--url").out == f"{URL}\n"
    assert json.loads(tutum_command("webhook-handler", "show", "web", "deploy", "--json").out)["call_url"] == URL


@pytest.mark.parametrize("how", [["--url"], ["--for", "github"], ["--for", "curl"], ["--json"]])
@pytest.mark.parametrize("host", ["http://127.0.0.1:8000", "http://localhost", "http://[::1]:8000"])
def test_a_url_that_names_the_server_s_own_machine_is_printed_with_the_mend(
    api: FakeApi, tutum_command: Tutum, how: list[str], host: str
) -> None:
    api.handlers[0]["call_url"] = f"{host}/api/v1/x/call/"
    ran = tutum_command("webhook-handler", "show", "web", "deploy", *how)
    assert f"{host}/api/v1/x/call/" in ran.out
    assert ran.err == "This URL works on the server's machine only: start the server with --public-url https://NAME\n"
    assert tutum_command("webhook-handler", "show", "web", "grow", *how).err == ""


def test_what_prints_no_url_tells_nothing_about_urls(api: FakeApi, tutum_command: Tutum) -> None:
    for handler in api.handlers:
        handler["call_url"] = "http://127.0.0.1:8000/"
    for line in (["list", "web"], ["show", "web", "deploy"], ["rotate", "web", "deploy", "--quiet"]):
        assert tutum_command("webhook-handler", *line).err == ""


def test_set_shows_the_changed_handler(api: FakeApi, tutum_command: Tutum) -> None:
    api.handlers[0].update(UNSET)
    ran = tutum_command("webhook-handler", "set", "web", "deploy", "--disable")
    assert shown(ran)["enabled"] == "no"
    assert DEPLOY not in ran.out


def test_rotate_prints_the_new_uuid_and_url(api: FakeApi, tutum_command: Tutum) -> None:
    ran = tutum_command("webhook-handler", "rotate", "web", "deploy", "--grace", "1h")
    assert (ran.code, ran.out) == (0, f"{ROTATED}\n{URL.replace(DEPLOY, ROTATED)}\n")
    assert (api.sent()[-1], api.body()) == (f"POST {HANDLERS}{DEPLOY}/rotate/", {"grace": 3600})
    assert tutum_command("webhook-handler", "rotate", "web", "deploy", "-q").out == f"{ROTATED}\n"
    assert api.body() == {"grace": 86400}


def test_unused_lists_handlers_of_all_services(api: FakeApi, tutum_command: Tutum) -> None:
    for handler in api.handlers:
        handler.update(UNSET)
    api.handlers[1]["last_called_datetime"] = OLD_DATE
    ran = tutum_command("webhook-handler", "unused", "--days", "30")
    assert api.requests[0].url.params["unused_days"] == "30"
    rows = [line.split() for line in ran.out.splitlines()]
    assert rows[1][:5] == ["web", "deploy", "7eaf7fff", "REDEPLOY", "never"]
    assert rows[2][:4] == ["web", "grow", "0224815a", "SCALEUP"]
    assert DEPLOY not in ran.out
    assert {handler["uuid"] for handler in json.loads(tutum_command("webhook-handler", "unused", "--json").out)} == {
        DEPLOY,
        GROW,
    }
    api.handlers.clear()
    ran = tutum_command("webhook-handler", "unused")
    assert (ran.code, ran.out) == (0, "")
    assert "in the last 90 days" in ran.err


def test_the_url_of_a_handler_with_identity_tokens_is_no_password() -> None:
    assert "password" in call_advice({"verify": {"preset": "github"}})
    assert "password" not in call_advice({"verify": {"preset": "oidc"}})
