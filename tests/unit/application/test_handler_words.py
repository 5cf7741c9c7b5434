"""Handlers in words, and the commands to call one."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from tests.unit.application.made_handlers import NOW, make_handler
from tutumd.application.admission.fields import FIELDS
from tutumd.application.call_command import write_call
from tutumd.application.handler_words import HandlerState, describe, find_state

URL = "https://hooks.example/api/v1/service/s/webhook/handler/h/call/"


@pytest.mark.parametrize(
    ("fields", "later", "uses", "word"),
    [
        ({}, timedelta(), 0, "active"),
        ({"enabled": False, "max_uses": 1}, timedelta(), 1, "disabled"),
        ({"expires_datetime": "2026-01-02T00:00:00Z"}, timedelta(hours=23), 0, "active"),
        ({"expires_datetime": "2026-01-02T00:00:00Z"}, timedelta(hours=24), 0, "expired"),
        ({"max_uses": 2}, timedelta(), 1, "active"),
        ({"max_uses": 2}, timedelta(), 2, "used up"),
    ],
)
def test_the_state_says_whether_calls_are_accepted(fields: Any, later: timedelta, uses: int, word: str) -> None:
    state = find_state(replace(make_handler(fields), uses=uses), NOW + later)
    assert state.word == word
    assert bool(state.why) == (word != "active")


@pytest.mark.parametrize(("days", "called", "unused"), [(29, None, 0), (30, None, 30), (90, 80, 0), (90, 10, 80)])
def test_a_handler_that_nobody_calls_is_unused(days: int, called: int | None, unused: int) -> None:
    last = None if called is None else NOW + timedelta(days=called)
    handler = replace(make_handler({}), last_called=last)
    assert find_state(handler, NOW + timedelta(days=days)) == HandlerState(word="active", unused_days=unused)


SET: dict[str, tuple[Any, str]] = {
    "enabled": (False, "Disabled: its URL returns 404."),
    "expires_datetime": ("2030-01-31T12:00:00Z", "Until 2030-01-31 12:00:00 UTC; then it returns 404."),
    "max_uses": (1000, "1,000 calls in all; then it returns 404."),
    "max_containers": (1, "Adds up to 1 container of the service in all."),
    "verify": ({"preset": "github", "secrets": ["a", "b"]}, "token of GitHub (2 secrets set)."),
    "filter": (["body.x", {"preset": "branch", "branch": ["a", "b"]}], "Only pushes to the branch a or b."),
    "tag": ({"allow": ["v*"]}, "A call may name the image tag with ?tag=…: v*."),
    "pass_body": (True, "the variable TUTUM_TRIGGER_BODY."),
    "rate_limit": ("1/minute", "1 call a minute at most; further ones get a 429."),
    "allow_from": (["::1"], "Only from ::1/128; others get a 404."),
    "debounce": (30, "Starts once no call came for 30 seconds."),
    "show_log": (True, "Callers see the last lines of the log of a failed run."),
}


def test_each_field_has_words() -> None:
    assert SET.keys() == FIELDS.keys()


@pytest.mark.parametrize("name", SET)
def test_what_is_set_is_said_below_its_heading(name: str) -> None:
    value, sentence = SET[name]
    operation = FIELDS[name].operation or "REDEPLOY"
    words = dict(describe(make_handler({"operation": operation, name: value})))
    assert any(line.endswith(sentence) for line in words[FIELDS[name].group]), words
    plain = dict(describe(make_handler({"operation": operation})))
    assert not any(line.endswith(sentence) for lines in plain.values() for line in lines)


@pytest.mark.parametrize(
    ("fields", "line"),
    [
        ({}, f"curl -sS --fail-with-body -X POST '{URL}?wait=300'"),
        ({"tag": {"allow": ["v*", "latest"]}}, f"curl -sS --fail-with-body -X POST '{URL}?tag=latest&wait=300'"),
        (
            {"verify": {"preset": "token", "secrets": ["x"]}},
            f"curl -sS --fail-with-body -X POST -H 'Authorization: Bearer '\"$SECRET\" '{URL}?wait=300'",
        ),
        ({"operation": "SCALEUP"}, f"curl -sS --fail-with-body -X POST '{URL}3/?wait=300'"),
    ],
)
def test_a_command_calls_a_handler(fields: dict[str, Any], line: str) -> None:
    assert line in write_call(make_handler(fields), URL).splitlines()
