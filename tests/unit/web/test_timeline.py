"""The steps of an action and their seconds, as exact values."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from tutumd.model import Action, ActionState, LogLine, Phase, Verb
from tutumd.web.messages.actions import Step, build

ASKED = datetime(2026, 1, 1, tzinfo=UTC)


def build_all(action: Action, lines: Sequence[LogLine], now: datetime) -> tuple[Step, ...]:
    return tuple(build(action, lines, now))


def after(seconds: float) -> datetime:
    return ASKED + timedelta(seconds=seconds)


def action(state: ActionState, *, started: float | None = None, ended: float | None = None, **fields: Any) -> Action:
    values: dict[str, Any] = dict.fromkeys(("address", "user_agent", "reason", "log_tail"), "")
    values |= dict.fromkeys(("target", "image_before", "image_after"))
    values |= {
        "uuid": "a",
        "service_uuid": "s",
        "verb": Verb.REDEPLOY,
        "state": state,
        "created": ASKED,
        "deliveries": 1,
    }
    values |= {"started": None if started is None else after(started), "ended": None if ended is None else after(ended)}
    values |= {"rolled_back": False, "containers_before": (), "containers_after": ()}
    return Action(**(values | fields))


def lines(*steps: tuple[float, str, Phase | None]) -> list[LogLine]:
    return [
        LogLine(number=number, at=after(seconds), text=text, phase=phase)
        for number, (seconds, text, phase) in enumerate(steps, 1)
    ]


def done(text: str, seconds: float | None = None, at: datetime | None = None) -> Step:
    return Step(text=text, state="done", seconds=seconds, at=at)


REDEPLOY = lines(
    (2.5, "start-first", None),
    (3, "pulling app:latest", Phase.PULLING),
    (7, "Status: Downloaded newer image", Phase.CREATING),
    (7.5, "starting the new containers", Phase.STARTING),
    (12.5, "web runs as 123, ready within 5 s", None),
    (13, "keeping both containers for 10 s", Phase.SWITCHING),
    (23, "giving the old containers 1 s", Phase.REMOVING),
    (24, "the new containers have been ready for 10 s: removing the old ones", Phase.REMOVING),
)


def test_a_redeploy_that_succeeded() -> None:
    assert build_all(action(ActionState.SUCCESS, started=2, ended=25), REDEPLOY, after(100)) == (
        done("Requested", at=ASKED),
        done("Waited for its turn", 2),
        done("Prepared", 1),
        done("Pulled the image", 4),
        done("Created the new containers", 0.5),
        done("The new containers are ready", 5.5),
        done("Switched over to the new containers", 10),
        done("The old containers are gone", 2),
        done("Done", 23, at=after(25)),
    )


def test_a_redeploy_that_runs_shows_what_it_does_now() -> None:
    steps = build_all(action(ActionState.IN_PROGRESS, started=2), REDEPLOY[:5], after(20))
    assert steps[-2:] == (
        done("Created the new containers", 0.5),
        Step(
            text="Starting the new containers",
            state="now",
            seconds=12.5,
            since=after(7.5),
            note="web runs as 123, ready within 5 s",
        ),
    )


def test_a_failure_is_in_the_step_before_the_restoration() -> None:
    undone = [*REDEPLOY[:4], *lines((9, "the new container failed: it exited with 1", Phase.RESTORING))]
    assert build_all(action(ActionState.FAILED, started=2, ended=10), undone, after(100))[-3:] == (
        Step(text="Starting the new containers", state="failed", seconds=1.5),
        done("Rolled back", 1),
        Step(text="Failed", state="failed", at=after(10), seconds=8),
    )


def test_what_puts_things_back_is_one_step() -> None:
    undone = [*REDEPLOY[:4], *lines((9, "it exited with 1", Phase.RESTORING), (9.5, "ending web-1", Phase.REMOVING))]
    assert build_all(action(ActionState.IN_PROGRESS, started=2), undone, after(12))[-2:] == (
        Step(text="Starting the new containers", state="failed", seconds=1.5),
        Step(text="Rolling back", state="now", seconds=3, since=after(9), note="ending web-1"),
    )


@pytest.mark.parametrize(("state", "word"), [(ActionState.FAILED, "failed"), (ActionState.CANCELED, "canceled")])
def test_what_failed_or_was_canceled_says_what_it_was_doing(state: ActionState, word: Any) -> None:
    assert build_all(action(state, started=2, ended=5), REDEPLOY[:2], after(100))[-2:] == (
        Step(text="Pulling the image", state=word, seconds=2),
        Step(text=word.capitalize(), state=word, at=after(5), seconds=3),
    )


def test_what_waits_says_why_before_and_after_it_began() -> None:
    waiting = action(ActionState.PENDING, reason="waiting: no worker serves engine 'docker' now")
    assert build_all(waiting, (), after(30)) == (
        done("Requested", at=ASKED),
        Step(text="Waiting for its turn", state="now", seconds=30, since=ASKED, note=waiting.reason),
    )
    assert build_all(action(ActionState.CANCELED, ended=4), (), after(30)) == (
        done("Requested", at=ASKED),
        Step(text="Canceled", state="canceled", at=after(4)),
    )
    held = action(ActionState.IN_PROGRESS, started=2, reason="waiting for the engine: connection refused")
    pulling = Step(text="Pulling the image", state="now", seconds=6, since=after(3), note=held.reason)
    assert build_all(held, REDEPLOY[:2], after(9))[-1] == pulling


def test_clocks_that_differ_make_no_negative_seconds() -> None:
    early = lines((1, "pulling app:latest", Phase.PULLING))
    assert build_all(action(ActionState.IN_PROGRESS, started=2), early, after(2.5))[-2:] == (
        done("Prepared", 0),
        Step(text="Pulling the image", state="now", seconds=0.5, since=after(2), note="pulling app:latest"),
    )
