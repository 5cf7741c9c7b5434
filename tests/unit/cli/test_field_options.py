"""The options of `tutum webhook-handler create` and `set`."""

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import typer

from tests.unit.cli.conftest import Tutum, piped, typed
from tests.unit.sdk.fake_api import DEPLOY, WEB, FakeApi
from tutum.cli.options import moment_of, seconds_of
from tutum.webhook_handler import FIELDS

HANDLERS = f"/service/{WEB}/webhook/handler/"


@pytest.mark.parametrize(
    ("options", "fields"),
    [
        (("--disable",), {"enabled": False}),
        (("--set", "verify=null", "--set", "debounce=30"), {"verify": None, "debounce": 30}),
        (("--enable",), {"enabled": True}),
        (("--expires", "2099-12-31"), {"expires_datetime": "2099-12-31"}),
        (("--max-uses", "5"), {"max_uses": 5}),
        (("--max-containers", "9"), {"max_containers": 9}),
        (("--rate-limit", "30/minute"), {"rate_limit": "30/minute"}),
        (("--allow-from", "10.0.0.0/8", "--allow-from", "::1"), {"allow_from": "10.0.0.0/8\n::1"}),
        (("--branch", "main"), {"filter": {"preset": "branch", "branch": "main"}}),
        (("--on-tag", "v*", "--on-tag", "x"), {"filter": {"preset": "tag", "tag": "v*\nx"}}),
        (("--path", "src/**"), {"filter": {"preset": "paths", "paths": "src/**"}}),
        (("--filter", "body.action == 'published'"), {"filter": "body.action == 'published'"}),
        (("--filter", '{"preset": "skip"}'), {"filter": {"preset": "skip"}}),
        (
            ("--branch", "main", "--filter", '[{"preset": "skip"}, "body.a"]'),
            {"filter": [{"preset": "branch", "branch": "main"}, {"preset": "skip"}, "body.a"]},
        ),
        (("--tag", "v*"), {"tag": {"allow": "v*"}}),
        (("--tag", "v*", "--tag-from", "body.tag"), {"tag": {"allow": "v*", "from": "body.tag"}}),
        (("--pass-body",), {"pass_body": True}),
        (("--no-pass-body",), {"pass_body": False}),
        (("--pass-body-as", "TUTUM_PUSH"), {"pass_body": "TUTUM_PUSH"}),
        (("--debounce", "2m"), {"debounce": 120}),
        (("--debounce", "0"), {"debounce": 0}),
        (("--skip-unchanged",), {"skip_unchanged": True}),
        (("--no-skip-unchanged",), {"skip_unchanged": False}),
        (("--no-rollback-hold",), {"rollback_hold": False}),
        (("--show-log",), {"show_log": True}),
        (("--hide-log",), {"show_log": False}),
    ],
)
def test_each_option_sets_its_field(
    api: FakeApi, tutum_command: Tutum, options: tuple[str, ...], fields: dict[str, Any]
) -> None:
    assert tutum_command("webhook-handler", "set", "web", "deploy", *options).code == 0
    assert (api.sent()[-1], api.body()) == (f"PATCH {HANDLERS}{DEPLOY}/", fields)
    assert tutum_command("webhook-handler", "create", "web", *options).code == 0
    assert api.body() == {"name": None, "operation": "REDEPLOY", **fields}


@pytest.mark.parametrize("name", list(FIELDS))
def test_every_field_is_set_as_json(api: FakeApi, tutum_command: Tutum, name: str) -> None:
    example = FIELDS[name]["example"]
    option = f"{name}={json.dumps(example)}"
    assert tutum_command("webhook-handler", "set", "web", "deploy", "--set", option).code == 0
    assert api.body() == {name: example}


def test_a_secret_is_read_from_a_file(api: FakeApi, tutum_command: Tutum, tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("old one \r\n\nnew\n")
    options = ("--verify", "github", "--secret-file", str(tmp_path / "secret"))
    ran = tutum_command("webhook-handler", "create", "web", *options)
    assert ran.code == 0
    assert api.body()["verify"] == {"preset": "github", "secrets": ["old one ", "new"]}
    assert "old one" not in ran.out + ran.err


def test_a_secret_is_read_from_a_pipe(api: FakeApi, tutum_command: Tutum) -> None:
    options = ("--verify", "hmac", "--verify-with", "header=X-Sign", "--verify-with", "prefix=v1=")
    command = ("webhook-handler", "set", "web", "deploy", *options, "--secret-file", "-")
    assert tutum_command(*command, stdin=piped("s3cret\n")).code == 0
    assert api.body()["verify"] == {"preset": "hmac", "header": "X-Sign", "prefix": "v1=", "secrets": ["s3cret"]}


def test_a_secret_is_asked_for_on_a_terminal(
    api: FakeApi, tutum_command: Tutum, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("getpass.getpass", lambda prompt: "typed")  # it opens the terminal, which a test has not
    for options in ((), ("--secret-file", "-")):
        ran = tutum_command("webhook-handler", "create", "web", "--verify", "gitlab", *options, stdin=typed(""))
        assert ran.code == 0
        assert api.body()["verify"] == {"preset": "gitlab", "secrets": ["typed"]}


@pytest.mark.parametrize("command", [("create", "nowhere"), ("create", "web", "-n", "deploy")])
def test_nobody_is_asked_for_a_secret_for_nothing(api: FakeApi, tutum_command: Tutum, command: tuple[str, ...]) -> None:
    # `getpass` would read the terminal, and fail.
    ran = tutum_command("webhook-handler", *command, "--verify", "github", stdin=typed(""))
    assert ran.code == 3
    assert any(text in ran.err for text in ("no service has the name", "deploy already"))


@pytest.mark.parametrize(
    ("options", "error"),
    [
        (("--verify", "github"), "--verify needs --secret-file FILE"),
        (("--verify", "github", "--secret-file", "/no/such/file"), "cannot read /no/such/file: No such file"),
        (("--verify", "github", "--secret-file", "/dev/null"), "--secret-file: there is nothing in /dev/null"),
        (("--verify", "hmac", "--verify-with", "header"), "--verify-with must be NAME=VALUE, got 'header'"),
        (("--verify-with", "header=X"), "need --verify"),
        (("--verify", "oidc", "--claim", "repository"), "--claim must be NAME=VALUE, got 'repository'"),
        (("--tag-from", "query"), "--tag-from needs --tag"),
        (("--debounce", "soon"), "--debounce must be seconds, or a span such as 15m, 12h or 30d"),
        (("--max-uses", "many"), "--max-uses"),
        (("--set", "max_use=5"), "--set: unknown field 'max_use': did you mean max_uses?"),
        (("--set", "colour=1"), "--set: unknown field 'colour': it must be one of enabled, expires_datetime"),
        (
            ("--set", "rate_limit=30/minute"),
            '--set: the value of rate_limit must be JSON, such as rate_limit="30/minute"',
        ),
        (("--set", "debounce"), "--set must be NAME=VALUE, got 'debounce'"),
        (("--set", "verify={s3cret}"), "--set: the value of verify must be JSON"),
    ],
)
def test_a_wrong_option_is_an_error_and_changes_nothing(
    api: FakeApi, tutum_command: Tutum, options: tuple[str, ...], error: str
) -> None:
    for arguments in (("create", "web"), ("set", "web", "deploy")):
        ran = tutum_command("webhook-handler", *arguments, *options)
        assert ran.code == 2
        assert error in " ".join(ran.err.split())
        assert "s3cret" not in ran.err
    assert all(line.startswith("GET") for line in api.sent())


def test_another_preset_keeps_the_secrets_and_new_secrets_keep_the_preset(api: FakeApi, tutum_command: Tutum) -> None:
    api.handlers[0]["verify"] = {"preset": "gitea", "secrets_set": 1}
    assert tutum_command("webhook-handler", "set", "web", "deploy", "--verify", "forgejo").code == 0
    assert api.body() == {"verify": {"preset": "forgejo"}}
    api.handlers[0]["verify"] = {"preset": "token", "header": "X-Token", "secrets_set": 1}
    tutum_command("webhook-handler", "set", "web", "deploy", "--secret-file", "-", stdin=piped("new"))
    assert api.body() == {"verify": {"preset": "token", "header": "X-Token", "secrets": ["new"]}}


def test_identity_tokens_need_no_secret(api: FakeApi, tutum_command: Tutum) -> None:
    options = ("--verify", "oidc", "--issuer", "github", "--claim", "repository=me/shop")
    more = ("--claim", "ref=main", "--claim", "ref=v*", "--audience", "x")
    assert tutum_command("webhook-handler", "create", "web", *options, *more).code == 0
    verify = {"preset": "oidc", "issuer": "github", "claims": {"repository": "me/shop", "ref": ["main", "v*"]}}
    assert api.body()["verify"] == {**verify, "audience": "x"}
    api.handlers[0]["verify"] = {**verify, "secrets_set": 0}
    assert tutum_command("webhook-handler", "set", "web", "deploy", "--claim", "repository=me/other").code == 0
    assert api.body()["verify"] == {**verify, "claims": {"repository": "me/other"}}


def test_reset_sends_null_and_a_new_value_wins(api: FakeApi, tutum_command: Tutum) -> None:
    options = ("--reset", "verify", "--reset", "filter", "--branch", "main", "--name", "")
    assert tutum_command("webhook-handler", "set", "web", "deploy", *options).code == 0
    assert api.body() == {"verify": None, "filter": {"preset": "branch", "branch": "main"}, "name": ""}


def test_reset_knows_the_fields(api: FakeApi, tutum_command: Tutum) -> None:
    for field in FIELDS:
        assert tutum_command("webhook-handler", "set", "web", "deploy", "--reset", field).code == 0
        assert api.body() == {field: None}
    ran = tutum_command("webhook-handler", "set", "web", "deploy", "--reset", "operation")
    assert ran.code == 2
    assert "--reset: unknown field 'operation'" in ran.err


@pytest.mark.parametrize(
    ("text", "seconds"), [("0", 0), ("90", 90), ("90s", 90), ("15m", 900), ("12h", 43200), (" 30d ", 2592000)]
)
def test_spans(text: str, seconds: int) -> None:
    assert seconds_of("--grace", text) == seconds


@pytest.mark.parametrize("text", ["", "d", "-1", "1.5h", "1w", "1 h", "٣d", "9999999999"])
def test_a_text_that_is_no_span_is_refused(text: str) -> None:
    with pytest.raises(typer.BadParameter, match="--grace must be"):
        seconds_of("--grace", text)


def test_an_expiry_is_a_date_or_a_span_from_now() -> None:
    now = datetime(2026, 1, 1, tzinfo=UTC)
    assert moment_of("36h", now=now) == "2026-01-02T12:00:00+00:00"
    assert moment_of("2099-01-01", now=now) == "2099-01-01"
    assert moment_of("20990101", now=now) == "20990101"
    with pytest.raises(typer.BadParameter, match="too far away"):
        moment_of("999999999d", now=now)
