"""The server's log: without credentials, and harmless to a terminal."""

import logging
from collections.abc import Iterator
from typing import Any

import pytest
import structlog

from tutumd import logs

UUID = "7eaf7fff-882c-4f3d-9a8f-a22317ac00ce"


@pytest.fixture(autouse=True)
def restored() -> Iterator[None]:
    root = logging.getLogger()
    before, level = list(root.handlers), root.level
    yield
    root.handlers[:] = before
    root.setLevel(level)
    structlog.reset_defaults()


@pytest.mark.parametrize("slash", ["/", "//", "%2F", "%2f", "%252F", "/%2F"])
@pytest.mark.parametrize(
    "uuid", [UUID, UUID.upper(), UUID.replace("-", "%2D"), UUID.replace("-", "%2d"), "%37" + UUID[1:]]
)
def test_handlers_are_hidden_however_their_path_is_spelled(slash: str, uuid: str) -> None:
    for text in (f"GET /webhook/handler{slash}{uuid}{slash}call/", f"Referer: https://a/HANDLER{slash}{uuid}"):
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


def test_tries_of_an_outage_are_not_logged_one_by_one(capsys: pytest.CaptureFixture[str]) -> None:
    logs.configure()
    logging.getLogger("urllib3.connectionpool").warning("Retrying after connection broken")
    assert capsys.readouterr().err == ""
