"""The server's log: without credentials, and harmless to a terminal."""

import json
import logging
from collections.abc import Iterator
from typing import Any

import pytest
import structlog

from tutumd import logs

UUID = "7eaf7fff-882c-4f3d-9a8f-a22317ac00ce"


@pytest.fixture(autouse=True)
def restored() -> Iterator[None]:
    root, ours = logging.getLogger(), logging.getLogger("tutumd")
    before, level, our_level = list(root.handlers), root.level, ours.level
    yield
    ours.setLevel(our_level)
    root.handlers[:] = before
    root.setLevel(level)
    structlog.reset_defaults()


@pytest.mark.parametrize("slash", ["/", "//", "%2F", "%2f", "%252F", "/%2F"])
@pytest.mark.parametrize(
    "uuid", [UUID, UUID.upper(), UUID.replace("-", "%2D"), UUID.replace("-", "%2d"), "%37" + UUID[1:]]
)
def test_handlers_are_hidden_however_their_path_is_spelled(slash: str, uuid: str) -> None:
    for text in (
        f"GET /webhook/handler{slash}{uuid}{slash}call/",
        f"GET /webhook/group{slash}{uuid}{slash}call/",
        f"Referer: https://a/HANDLER{slash}{uuid}",
    ):
        assert uuid[4:20].lower() not in logs.redact(text).lower()


@pytest.mark.parametrize("bad", ["\x1b", "\x9b", "\x7f", "\x07", "\r", "\u202e", "\u2066", "\ud800"])
def test_no_value_disturbs_the_terminal(capsys: pytest.CaptureFixture[str], bad: str) -> None:
    logs.configure()
    value: Any
    for value in (f"a{bad}b", f"a {bad} b", [f"a{bad}b"], {"a": f"a{bad}b"}, ValueError(f"a{bad}b")):
        structlog.get_logger("tutumd").warning(f"event{bad}", value=value)
        logging.getLogger("library").warning("got %s", value)
    try:
        raise ValueError(f"a{bad}b")
    except ValueError:
        logging.getLogger("library").exception("it failed")
    shown = capsys.readouterr().err
    assert bad not in shown
    assert "it failed\nTraceback" in shown


@pytest.mark.parametrize("form", ["text", "json"])
def test_no_credential_is_logged_at_any_depth(capsys: pytest.CaptureFixture[str], form: str) -> None:
    logs.configure(form=form)
    secret = f"https://a/webhook/handler/{UUID}/call/"
    for value in (secret, [secret], {"a": {secret: secret}}, ValueError(secret), (1, {secret}), secret.encode()):
        structlog.get_logger("tutumd").warning("event", value=value)
        logging.getLogger("library").warning("got %s", value)
    lines = capsys.readouterr().err.splitlines()
    assert UUID not in "".join(lines)
    assert len(lines) == 12
    assert form == "text" or {json.loads(line)["level"] for line in lines} == {"warning"}


def test_libraries_log_nothing_below_info(capsys: pytest.CaptureFixture[str]) -> None:
    logs.configure("debug")
    logging.getLogger("kubernetes.client.rest").debug("response body: a secret")
    structlog.get_logger("tutumd.worker").debug("lease was not released")
    shown = capsys.readouterr().err
    assert ("secret" in shown, "lease was not released" in shown) == (False, True)


def test_the_level_holds_for_all(capsys: pytest.CaptureFixture[str]) -> None:
    logs.configure("error")
    logging.getLogger("library").warning("one")
    logging.getLogger("tutumd.store").warning("two")
    structlog.get_logger("tutumd").warning("three")
    assert capsys.readouterr().err == ""


def test_tries_of_an_outage_are_not_logged_one_by_one(capsys: pytest.CaptureFixture[str]) -> None:
    logs.configure()
    logging.getLogger("urllib3.connectionpool").warning("Retrying after connection broken")
    assert capsys.readouterr().err == ""
