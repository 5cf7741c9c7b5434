"""Actions for people: what a pending action waits for, and the steps of an action with the duration of each step."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from tutumd.model import Action, ActionState, Hold, LogLine, Phase
from tutumd.web.messages.deliveries import write_reason


def write_hold(hold: Hold) -> str:
    """Return why a hold delays an action, who set it, and until when it lasts."""
    if not hold.by:
        return write_reason(hold.reason)
    until = f", until {hold.until:%Y-%m-%d %H:%M} UTC" if hold.until else ""
    return f"{write_reason(hold.reason)} (by {hold.by}{until})"


def describe_wait(action: Action) -> str:
    """Return everything that an action waits for; empty if a worker performs it, or it has ended."""
    return "; ".join(filter(None, (*map(write_hold, action.holds), action.waits_for)))


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """A step of an action.

    Attributes:
        state: `done`, `now`, `failed` or `canceled`.
        at: The time of a momentary step; None: the step has a duration only.
        seconds: Duration, or duration so far; None: the step is momentary.
        since: Start time, if it continues.
        note: More about the step; may be empty.
    """

    text: str
    state: str = "done"
    at: datetime | None = None
    seconds: float | None = None
    since: datetime | None = None
    note: str = ""


_TEXTS = {
    None: ("Preparing", "Prepared"),
    Phase.WAITING: ("Waiting for another change", "Waited for another change"),
    Phase.PULLING: ("Pulling the image", "Pulled the image"),
    Phase.CREATING: ("Creating the new containers", "Created the new containers"),
    Phase.STARTING: ("Starting the new containers", "The new containers are ready"),
    Phase.CHECKING: ("Watching the new containers", "The new containers keep running"),
    Phase.SWITCHING: ("Switching over to the new containers", "Switched over to the new containers"),
    Phase.REMOVING: ("Ending the old containers", "The old containers are gone"),
    Phase.UPDATING: ("The cluster replaces the containers", "The cluster replaced the containers"),
    Phase.SCALING: ("Changing the number of containers", "Changed the number of containers"),
    Phase.STOPPING: ("Stopping the containers", "Stopped the containers"),
    Phase.RESTORING: ("Rolling back", "Rolled back"),
}
"""The name of a step while it runs or if it fails, and when it is done."""

_ENDS = {ActionState.SUCCESS: ("Done", "done"), ActionState.CANCELED: ("Canceled", "canceled")}


def build(action: Action, lines: Sequence[LogLine], now: datetime) -> Iterator[Step]:
    """Yield the steps of an action. `lines` are all lines of its log."""
    created, began, ended = action.created, action.started, action.ended
    yield Step(text="Requested", at=created)
    if began is not None:
        yield Step(text="Waited for its turn", seconds=_seconds(created, began))
        yield from _build_run(action, lines, began, now)
    elif ended is None:
        yield Step(
            text="Waiting for its turn",
            state="now",
            seconds=_seconds(created, now),
            since=created,
            note=action.reason,
        )
    if ended is not None:
        text, state = _ENDS.get(action.state, ("Failed", "failed"))
        yield Step(text=text, state=state, at=ended, seconds=_seconds(began, ended) if began else None)


def _build_run(action: Action, lines: Sequence[LogLine], began: datetime, now: datetime) -> Iterator[Step]:
    """Yield a step for each phase, from the preparation on. An action that ended before its first phase has no
    steps.
    """
    phases: list[tuple[Phase | None, datetime]] = [(None, began)]
    for line in lines:
        phase, since = phases[-1]
        # All lines after the start of a rollback belong to the rollback.
        if line.phase not in (None, phase) and phase is not Phase.RESTORING:
            phases.append((line.phase, max(line.at, since)))
    if action.ended is not None and len(phases) == 1:
        return
    states = ["done"] * len(phases)
    if phases[-1][0] is Phase.RESTORING:
        states[-2] = _name_failure(action)
    elif action.state in (ActionState.FAILED, ActionState.CANCELED):
        states[-1] = _name_failure(action)
    if action.ended is None:
        states[-1] = "now"
    ends = [*(since for _, since in phases[1:]), action.ended or now]
    for (phase, since), state, until in zip(phases, states, ends, strict=True):
        step = Step(text=_TEXTS[phase][state == "done"], state=state, seconds=_seconds(since, until))
        if state == "now":
            step = replace(step, since=since, note=action.reason or (lines[-1].text if lines else ""))
        yield step


def _name_failure(action: Action) -> str:
    return "canceled" if action.state in (ActionState.CANCELED, ActionState.CANCELING) else "failed"


def _seconds(begin: datetime, end: datetime) -> float:
    # The clocks of servers differ a little.
    return max(0.0, (end - begin).total_seconds())
