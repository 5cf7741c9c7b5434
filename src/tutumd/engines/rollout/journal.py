"""Journals: what a run stores so that another process can finish its work or roll it back; and its outcome.

Journals are persisted. The field names of an engine's journal class and the values of `Stage` are stored as they are.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from enum import Enum, StrEnum, auto
from typing import Any, TypeVar, get_origin

from tutumd.errors import EngineRefusedError
from tutumd.model import Outcome
from tutumd.ports.engine import Run

# The journal class of an engine: a frozen dataclass with the fields `stage` and `result`.
J = TypeVar("J")


class Stage(StrEnum):
    """How far an action came. A stage is saved before its first change is sent."""

    PROBE = "trial"
    APPLY = "order"
    ROLL_BACK = "undo"
    FINISH = "settle"


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """How an action ended. The fields mean the same as in `model.Outcome`."""

    success: bool
    reason: str = ""
    log_tail: str = ""
    rolled_back: bool = False


def to_journal(journal: Any) -> dict[str, Any]:
    """Return the JSON values of a journal."""
    return {name: list(value) if isinstance(value, tuple) else value for name, value in asdict(journal).items()}


def from_journal(kind: type[J], stored: Mapping[str, Any]) -> J | None:
    """Return the stored journal as an object of the class `kind`; None if nothing is stored.

    A stored success is one to be followed again: nobody has watched what runs since the process that stored it ended.

    Raises:
        EngineRefusedError: Another version wrote the journal, or it is lost. A retry would not help, and a fresh start
            could take a half-done change for the original state.
    """
    if not stored:
        return None
    shape: Any = kind
    values = dict(stored)
    try:
        for field in fields(shape):
            if get_origin(field.type) is tuple or isinstance(values.get(field.name), list):
                values[field.name] = tuple(values[field.name])
        values["stage"] = Stage(values["stage"])
        values["result"] = None if values["result"] is None else Result(**values["result"])
        if values["result"] is not None and values["result"].success:
            values |= {"stage": Stage.APPLY, "result": None}
        return kind(**values)
    except (KeyError, TypeError, ValueError) as error:
        raise EngineRefusedError(
            "another version of tutumd, or a worker with another key, began this action, and its journal cannot be "
            "used: the service was left as it is; check what it runs, then redeploy it"
        ) from error


def save(run: Run, journal: J) -> J:
    """Store a journal and return it."""
    run.save(to_journal(journal))
    return journal


def finish(run: Run, journal: J, result: Result) -> J:
    """Store that the action ended with this result; return the new journal."""
    return move_to(run, journal, Stage.FINISH, result)


def fail(run: Run, journal: J, reason: str) -> J:
    """Store that the action failed without a rollback; return the new journal."""
    return move_to(run, journal, Stage.FINISH, Result(success=False, reason=reason))


def move_to(run: Run, journal: J, stage: Stage, result: Result | None) -> J:
    """Store the next stage with the result so far; return the new journal."""
    present: Any = journal
    moved: J = replace(present, stage=stage, result=result)
    return save(run, moved)


def finish_rollback(run: Run, journal: J, addition: str = "", *, rolled_back: bool) -> J:
    """Store that a rollback ended; return the new journal.

    Args:
        addition: Text to append to the reason of the failure that caused the rollback.
    """
    present: Any = journal
    result = present.result or Result(success=False)
    ended = replace(result, reason=join_sentences(result.reason, addition), rolled_back=rolled_back)
    return finish(run, journal, ended)


def join_sentences(*sentences: str) -> str:
    """Join the sentences that are not empty."""
    return "; ".join(filter(None, sentences))


# Lines of a failed container's output that an outcome carries.
LOG_LINES = 20


class RolloutStatus(Enum):
    """The status of a rollout.

    SUCCEEDED: Every container that is replaced is new and works.
    FAILED: It cannot succeed any more; the service still has our version.
    ROLLING_BACK, ROLLED_BACK: The engine itself puts, or has put, the previous version back.
    SUPERSEDED: Somebody else has changed the service.
    """

    IN_PROGRESS = auto()
    SUCCEEDED = auto()
    FAILED = auto()
    ROLLING_BACK = auto()
    ROLLED_BACK = auto()
    SUPERSEDED = auto()


def restarts_text(restarts: int) -> str:
    """Return the words after "it exited with 7" that tell how often a container was restarted since."""
    how_often = "once" if restarts == 1 else f"{restarts} times"
    return f", restarted {how_often}" if restarts else ""


def log_progress(run: Run, last: str, line: str) -> str:
    """Log a line that differs from the last one; return it."""
    if line != last:
        run.log(line)
    return line


def build_outcome(
    result: Result | None,
    *notes: str,
    image_before: str | None,
    image_after: str | None,
    image_tried: str | None = None,
    containers_before: tuple[str, ...],
    containers_after: tuple[str, ...],
) -> Outcome:
    """Return the outcome of a result.

    Args:
        result: None if the action ended without one.
        notes: Sentences to append to the reason.
    """
    ended = result or Result(success=False, reason="it is not known how the change ended")
    return Outcome(
        **{**asdict(ended), "reason": join_sentences(ended.reason, *notes)},
        image_before=image_before,
        image_after=image_after,
        image_tried=None if ended.success else image_tried,
        containers_before=containers_before,
        containers_after=containers_after,
    )
