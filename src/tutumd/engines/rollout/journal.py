"""Journals: the stored state of a run, with which another process can finish or roll back its work; its outcome and its
rules.

Journals are persisted. The field names of an engine's journal class and the values of `Stage` are stored unchanged.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from enum import Enum, StrEnum, auto
from typing import Any

from tutumd.errors import Cause, EngineRefusedError, code_of
from tutumd.model import ImageFacts, Outcome


class Stage(StrEnum):
    """Progress of an action. A stage is saved before its first change is sent."""

    PROBE = "trial"
    APPLY = "order"
    ROLL_BACK = "undo"
    FINISH = "settle"


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """The result of an action. The fields mean the same as in `model.Outcome`."""

    success: bool
    reason: str = ""
    reason_code: str = ""
    log_tail: str = ""
    rolled_back: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class ScaleJournal:
    """One change of the number of containers.

    Attributes:
        before, target: Replicas; with an autoscaler its minimum.
        present_before: IDs of all containers, including ended ones.
        running_before: IDs of the working containers.
        noted_before, noted: Value of the label of a stopped service before and after; None means no label.
        autoscaler: Name of the autoscaler whose minimum is set; empty if replicas are set.
        shared_with: Name of the autoscaler that also sets the replicas, unless they are 0; empty if there is none.
        fallback: Number to set if the target is not reached; None means `before`.
    """

    before: int
    target: int
    present_before: tuple[str, ...]
    running_before: tuple[str, ...]
    noted_before: str | None = None
    noted: str | None = None
    autoscaler: str = ""
    shared_with: str = ""
    fallback: int | None = None
    stage: Stage = Stage.APPLY
    result: Result | None = None


def from_journal(kind: type[Any], stored: Mapping[str, Any]) -> Any:
    """Return the stored journal as an object of the class `kind`; None if nothing is stored.

    Raises:
        EngineRefusedError: Another version wrote the journal, or it is lost. A retry would not help, and a fresh start
            could mistake a half-done change for the original state.
    """
    if not stored:
        return None
    # JSON has no tuples.
    values: dict[str, Any] = {name: tuple(each) if isinstance(each, list) else each for name, each in stored.items()}
    try:
        values["stage"] = Stage(values["stage"])
        values["result"] = None if values["result"] is None else Result(**values["result"])
        return kind(**values)
    except (KeyError, TypeError, ValueError) as error:
        raise EngineRefusedError(
            "another version of tutumd, or a worker with another key, began this action, and its journal cannot be "
            "used: the service was left as it is; check what it runs, then redeploy it"
        ) from error


def join_sentences(*sentences: str) -> str:
    """Join the sentences that are not empty. The text has their first code."""
    return Cause("; ".join(filter(None, sentences)), code_of(*sentences))


def blame(what: str, cause: str) -> str:
    """Return a failure with its cause, if it is known. The text has the code of the cause, else of the failure."""
    return Cause(f"{what}: {cause}" if cause else what, code_of(cause, what))


# Lines of a failed container's output in an outcome.
LOG_LINES = 20


class RolloutStatus(Enum):
    """The status of a rollout.

    SUCCEEDED: Every replaced container is new and works.
    FAILED: It can no longer succeed.
    SUPERSEDED: Somebody else has changed the service.
    """

    IN_PROGRESS = auto()
    SUCCEEDED = auto()
    FAILED = auto()
    SUPERSEDED = auto()


def restarts_text(restarts: int) -> str:
    """Return the words after "it exited with 7" about the number of restarts since."""
    how_often = "once" if restarts == 1 else f"{restarts} times"
    return f", restarted {how_often}" if restarts else ""


def build_outcome(
    result: Result,
    *notes: str,
    image_before: str | None,
    image_after: str | None,
    image_tried: str | None = None,
    containers_before: tuple[str, ...],
    containers_after: tuple[str, ...],
    image: ImageFacts | None = None,
) -> Outcome:
    """Return the outcome of a result.

    Args:
        notes: Sentences to append to the reason.
        image: The image that the service runs after a success.
    """
    return Outcome(
        **{**asdict(result), "reason": join_sentences(result.reason, *notes)},
        image_before=image_before,
        image_after=image_after,
        image_tried=None if result.success else image_tried,
        containers_before=containers_before,
        containers_after=containers_after,
        image=image,
    )


def refuse_over_cap(target: int, server_cap: int, service_cap: int | None, present: int) -> None:
    """Raise EngineRefusedError if `target` containers are more than the server's cap or the service's own.

    Args:
        present: Number of containers that the service has, or had when it was stopped, and may keep.
    """
    cap = max(min(server_cap, service_cap or server_cap), present)
    if target > cap:
        raise EngineRefusedError(f"a service may have at most {cap} containers here, got {target}")


def refuse_stopped(name: str, target: int, *, stopped: bool) -> None:
    """Raise EngineRefusedError if a stopped service would be scaled: only a start may restore containers."""
    if stopped and target > 0:
        raise EngineRefusedError(f"the service {name} is stopped: start it before scaling it")


def with_changes(labels: Mapping[str, str], changes: Mapping[str, str | None]) -> dict[str, str]:
    """Return labels or annotations with changes; None removes one."""
    return {name: value for name, value in {**labels, **changes}.items() if value is not None}


# Of a definition's environment, only the variables that a redeploy sets or removes are stored with values: the other
# values may be secrets. A variable has the engine's own form: `NAME=value`, or an object with a name.


def store_variables(container: Mapping[str, Any], field: str, names: Collection[str]) -> list[list[Any]]:
    """Return the name of each variable in order, with the complete entry for those in `names`, else None."""
    entries = [(_variable_name(entry), entry) for entry in container.get(field) or ()]
    return [[name, entry if name in names else None] for name, entry in entries]


def set_variables(container: dict[str, Any], field: str, variables: Mapping[str, Any]) -> None:
    """Set variables of a container in place, with new variables at the end; None removes a variable."""
    remaining = dict(variables)
    made = []
    for entry in container.get(field) or ():
        name = _variable_name(entry)
        made.append(remaining.pop(name, None) if name in variables else entry)
    _write_variables(container, field, [*made, *remaining.values()])


def restore_variables(
    container: dict[str, Any], field: str, stored: Iterable[Sequence[Any]], names: Collection[str]
) -> None:
    """Restore the variables in `names` as they were stored, each in its place.

    Changes and additions by others in the meantime stay.
    """
    others = [entry for entry in container.get(field) or () if _variable_name(entry) not in names]
    restored = []
    for name, entry in stored:
        if entry is not None:
            restored.append(entry)
        elif (at := next((n for n, other in enumerate(others) if _variable_name(other) == name), None)) is not None:
            restored.append(others.pop(at))
    _write_variables(container, field, restored + others)


def _variable_name(entry: Any) -> str:
    return str(entry.partition("=")[0] if isinstance(entry, str) else entry["name"])


def _write_variables(container: dict[str, Any], field: str, entries: Iterable[Any]) -> None:
    # The engines leave out an empty list.
    container.pop(field, None)
    if kept := [entry for entry in entries if entry is not None]:
        container[field] = kept
