"""Whether a handler can be called, and whether anybody does."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from tests.unit.application.made_handlers import NOW, make_handler
from tutumd.web.messages.handlers import judge_handler


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
    state = judge_handler(replace(make_handler(fields), uses=uses), NOW + later)
    assert state.word == word
    assert bool(state.why) == (word != "active")


@pytest.mark.parametrize(("days", "called", "unused"), [(29, None, 0), (30, None, 30), (90, 80, 0), (90, 10, 80)])
def test_a_handler_that_nobody_calls_is_unused(days: int, called: int | None, unused: int) -> None:
    last = None if called is None else NOW + timedelta(days=called)
    state = judge_handler(replace(make_handler({}), last_called=last), NOW + timedelta(days=days))
    assert state.word == ("unused" if unused else "active")
    assert (f" {unused} days" in state.why) == bool(unused)
