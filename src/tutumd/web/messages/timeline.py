"""The steps of an action in order, with the duration of each step, for the dashboard."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from tutumd.model import Action, ActionState, LogLine, Phase


class StepState(StrEnum):
    """How far a step is."""

    DONE = "done"
    NOW = "now"
    FAILED = "failed"
    CANCELED = "canceled"


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """A step of an action.

    Attributes:
        at: A moment to show; None: only how long it took.
        seconds: How long it took, or takes so far; None: it is a moment.
        since: When it began, if it goes on.
        note: More about the step; may be empty.
    """

    text: str
    state: StepState
    at: datetime | None = None
    seconds: float | None = None
    since: datetime | None = None
    note: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Span:
    phase: Phase | None
    began: datetime
    last_text: str = ""


_TEXTS: Mapping[Phase | None, tuple[str, str]] = {
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

_ENDS = {
    ActionState.SUCCESS: ("Done", StepState.DONE),
    ActionState.FAILED: ("Failed", StepState.FAILED),
    ActionState.CANCELED: ("Canceled", StepState.CANCELED),
}


def build(action: Action, lines: Sequence[LogLine], now: datetime) -> tuple[Step, ...]:
    """Return the steps of an action.

    Args:
        lines: All lines of its log.
    """
    steps = [Step(text="Requested", state=StepState.DONE, at=action.created)]
    began = action.started
    if began is not None:
        steps.append(Step(text="Waited for its turn", state=StepState.DONE, seconds=_seconds(action.created, began)))
        steps += _build_run(action, lines, began, now)
    elif action.ended is None:
        waits_s = _seconds(action.created, now)
        text, note = "Waiting for its turn", action.reason
        steps.append(Step(text=text, state=StepState.NOW, seconds=waits_s, since=action.created, note=note))
    if action.ended is not None:
        text, state = _ENDS.get(action.state, _ENDS[ActionState.FAILED])
        total_s = _seconds(began, action.ended) if began is not None else None
        steps.append(Step(text=text, state=state, at=action.ended, seconds=total_s))
    return tuple(steps)


def _build_run(action: Action, lines: Sequence[LogLine], began: datetime, now: datetime) -> list[Step]:
    spans = _find_spans(lines, began)
    if action.ended is not None and spans[-1].phase is None:
        return []  # the action ended before its first step
    stopped = _find_stopped(action, spans)
    steps = []
    for number, span in enumerate(spans):
        is_last = number == len(spans) - 1
        until = (action.ended or now) if is_last else spans[number + 1].began
        state = StepState.DONE
        if is_last and action.ended is None:
            state = StepState.NOW
        elif number == stopped:
            is_canceled = action.state in (ActionState.CANCELED, ActionState.CANCELING)
            state = StepState.CANCELED if is_canceled else StepState.FAILED
        note = (action.reason or span.last_text) if state is StepState.NOW else ""
        steps.append(
            Step(
                text=_TEXTS[span.phase][state is StepState.DONE],
                state=state,
                seconds=_seconds(span.began, until),
                since=span.began if state is StepState.NOW else None,
                note=note,
            )
        )
    return steps


def _find_spans(lines: Sequence[LogLine], began: datetime) -> list[_Span]:
    """Return the phases in order, from the preparation on."""
    spans = [_Span(phase=None, began=began)]
    for line in lines:
        last = spans[-1]
        # All lines after the start of a rollback belong to the rollback.
        is_new = line.phase not in (None, last.phase) and last.phase is not Phase.RESTORING
        if is_new:
            spans.append(_Span(phase=line.phase, began=max(line.at, last.began), last_text=line.text))
        else:
            spans[-1] = _Span(phase=last.phase, began=last.began, last_text=line.text)
    return spans


def _find_stopped(action: Action, spans: Sequence[_Span]) -> int | None:
    """Return the number of the span in which a run failed or was canceled: the last one before it was undone."""
    last = len(spans) - 1
    if spans[last].phase is Phase.RESTORING:
        return last - 1
    return last if action.state in (ActionState.FAILED, ActionState.CANCELED) else None


def _seconds(begin: datetime, end: datetime) -> float:
    # The clocks of servers differ a little.
    return max(0.0, (end - begin).total_seconds())
