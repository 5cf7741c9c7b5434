"""The rollout of a change on every engine: send it, follow it to its end, roll it back if it fails, and clean up.

Each stage is saved before its changes, and begins with a look at the current state. After a kill, another process
continues with the stage in the journal. A success is not saved: a resumed run checks the new containers once more.
"""

from dataclasses import asdict, dataclass, replace
from typing import Any, Protocol, TypeVar

from tutumd.engines.rollout.journal import (
    Result,
    RolloutStatus,
    Stage,
    from_journal,
    join_sentences,
)
from tutumd.engines.rollout.timing import HoldTimer, Timing
from tutumd.errors import Cause, EngineRefusedError, ReasonCode, code_of
from tutumd.model import Outcome
from tutumd.ports import Run

# The pause between two looks grows while nothing changes.
_SLOWER, _LONGEST_S = 1.1, 0.3
# The engine's view of a service at one moment.
V = TypeVar("V")


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """The result of one look at a service during a change or its rollback.

    Attributes:
        progress: Sentence about its progress; the reason if it is superseded.
        same: Value that must stay the same for a success to last, such as the IDs of the new containers.
        needed_s: Seconds that the status must last before it is accepted.
        is_complete: Whether a success needs no further wait.
    """

    status: RolloutStatus
    progress: str
    same: tuple[str, ...] = ()
    needed_s: float = 0.0
    is_complete: bool = True


class Context(Protocol[V]):
    """One run on one service."""

    @property
    def run(self) -> Run:
        """The run."""

    @property
    def timing(self) -> Timing:
        """Durations and clocks."""

    def view(self) -> V | None:
        """Return the current view of the service; None if it is gone. Raises EngineRefusedError if the service must be
        ignored.
        """

    def restart_s(self, view: V) -> float:
        """Return the seconds that a container may take to stop, and its successor to become ready."""


class Change(Protocol[V]):
    """One change of one service, as described by an engine. A method may be called again after a kill.

    Attributes:
        journal: Stored state of the change. `carry_out` sets it first.
    """

    journal: Any

    @property
    def context(self) -> Context[V]:
        """The run and the service."""

    def begin(self) -> Any:
        """Return the journal of the planned change. Raises EngineRefusedError."""

    def send(self) -> None:
        """Send the change unless it was already sent."""

    def judge(self, view: V) -> Look:
        """Report the progress of the run, and do what the engine needs to continue; return the status."""

    def give_up(self, view: V) -> None:
        """Store why the change failed or did not end in time, and its next stage."""

    def undo(self) -> None:
        """Send the restoration of the previous state unless it was already sent."""

    def judge_undo(self, view: V) -> Look:
        """Do what the engine needs to continue; return the status of the rollback."""

    def settle(self) -> None:
        """Restore the settings that were changed for the rollout alone. Raises EngineRefusedError."""

    def outcome(self, result: Result, view: V | None) -> Outcome:
        """Return the outcome of a result, for the last view of the service; None means that the service is gone."""


def save(change: Change[V], **values: object) -> None:
    """Replace fields of the journal of a change, and store it."""
    change.journal = replace(change.journal, **values)
    change.context.run.save(asdict(change.journal))


def fail(change: Change[V], reason: str, log_tail: str = "", *, stage: Stage = Stage.FINISH) -> None:
    """Store that a change failed, and its next stage: FINISH means no rollback."""
    save(
        change,
        stage=stage,
        result=Result(success=False, reason=str(reason), reason_code=code_of(reason), log_tail=log_tail),
    )


REMOVED = Cause("the service was removed in the meantime", ReasonCode.CHANGED_MEANWHILE)


def end_rollback(change: Change[V], addition: str = "", *, rolled_back: bool) -> None:
    """Store that a rollback ended. `addition` is appended to the reason of the failure that caused it."""
    result: Result = change.journal.result
    save(
        change,
        stage=Stage.FINISH,
        result=replace(result, reason=join_sentences(result.reason, addition), rolled_back=rolled_back),
    )


def carry_out(change: Change[V], journal_type: type[Any]) -> Outcome:
    """Carry out a change to its end, or continue it. Raises EngineRefusedError if the change is refused.

    Args:
        journal_type: The class of its journal, a frozen dataclass with the fields `stage` and `result`.
    """
    context = change.context
    change.journal = from_journal(journal_type, context.run.journal)
    if change.journal is None:
        change.journal = change.begin()
        save(change)
    if change.journal.stage in (Stage.PROBE, Stage.APPLY):
        change.send()
    view = _follow(change) if change.journal.stage is Stage.APPLY else None
    if change.journal.stage is Stage.ROLL_BACK:
        _roll_back(change)
    if not change.journal.result.success:
        _settle(change)
        view = context.view()
    return change.outcome(change.journal.result, view or context.view())


def _follow(change: Change[V]) -> V | None:
    """Follow a change to its end; return the last view of the service."""
    context, run, pause_s = change.context, change.context.run, change.context.timing.poll_s
    held, reported, settled = HoldTimer(context.timing.clock), "", None
    while True:
        view = context.view()
        if view is None:
            fail(change, REMOVED)
            return None
        look = change.judge(view)
        if look.status is RolloutStatus.SUPERSEDED:
            fail(change, Cause(f"superseded: {look.progress}", ReasonCode.CHANGED_MEANWHILE))
            return view
        pause_s = min(pause_s * _SLOWER, _LONGEST_S)
        if look.progress != reported:
            reported, pause_s = look.progress, context.timing.poll_s
            run.log(reported)
        same = look.same if look.status is RolloutStatus.SUCCEEDED else None
        left_s = look.needed_s - held.seconds((look.status, same))
        is_lasting = left_s <= 0
        if same is not None and same == settled:
            change.journal = replace(change.journal, result=Result(success=True))
            return view
        settled = same if is_lasting and look.is_complete else None
        if settled is not None:
            _settle(change)
            continue
        if (look.status is RolloutStatus.FAILED and is_lasting) or run.remaining_s() <= 0:
            change.give_up(view)
            return view
        run.sleep(pause_s if is_lasting else min(left_s, pause_s))


def _settle(change: Change[V]) -> None:
    try:
        change.settle()
    except EngineRefusedError as error:
        change.context.run.log(f"the settings could not be restored: {error}")


def _roll_back(change: Change[V]) -> None:
    """Roll back a failed change, or continue the rollback."""
    context, timing = change.context, change.context.timing
    began = timing.clock()
    try:
        change.undo()
        while change.journal.stage is Stage.ROLL_BACK:
            view = context.view()
            look = change.judge_undo(view) if view is not None else None
            if view is None or look is None or look.status is RolloutStatus.SUPERSEDED:
                what = "the service was removed" if view is None else "somebody else changed the service"
                return end_rollback(change, f"during the rollback {what}", rolled_back=False)
            if look.status is RolloutStatus.SUCCEEDED:
                return end_rollback(change, rolled_back=True)
            if look.status is RolloutStatus.FAILED or (
                timing.clock() - began >= timing.rollback_s + context.restart_s(view)
            ):
                return end_rollback(change, f"after the rollback {look.progress}", rolled_back=True)
            context.run.sleep(timing.poll_s)
    except EngineRefusedError as error:
        end_rollback(change, f"the rollback failed: {error}", rolled_back=False)
