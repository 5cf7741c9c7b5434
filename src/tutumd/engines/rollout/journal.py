"""Journals: what a run stores so that another process can finish its work or roll it back.

Journals are persisted. The field names of an engine's journal class and the values of `Stage` are stored as they are.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from enum import StrEnum
from typing import Any, TypeVar, get_origin

from tutumd.errors import EngineRefusedError
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
