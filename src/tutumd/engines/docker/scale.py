"""SCALE and SCALEUP: more copies of a service's containers, or fewer."""

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from tutumd.engines.docker.api import DockerApi
from tutumd.engines.docker.constraints import check_no_dependents
from tutumd.engines.docker.inspect.inspected_container import InspectedContainer
from tutumd.engines.docker.inspect.selectors import ContainerGroup
from tutumd.engines.docker.readiness import Trial
from tutumd.engines.docker.recreate.compose_files import copy_inline_files
from tutumd.engines.docker.replicas import Replica, check_scalable, name_replicas, replica_config
from tutumd.errors import EngineRefusedError
from tutumd.model import Outcome
from tutumd.ports import Run

Find = Callable[[], tuple[ContainerGroup, Sequence[InspectedContainer]]]


@dataclass(frozen=True, slots=True, kw_only=True)
class ScaleJournal:
    """What a run decided, before it touched anything.

    Attributes:
        phase: `add`, `undo` or `remove`.
        before: IDs of the service's containers.
        copies: What is added.
        doomed: IDs of what is removed.
    """

    phase: str
    before: tuple[str, ...]
    copies: tuple[Replica, ...] = ()
    doomed: tuple[str, ...] = ()
    reason: str = ""
    log_tail: str = ""

    def dump(self) -> dict[str, object]:
        """Return JSON values for `Run.save`."""
        return asdict(self)


def load(stored: Any) -> ScaleJournal | None:
    """Read a journal back; None where nothing was saved yet."""
    if not stored:
        return None
    copies = tuple(Replica(**copy) for copy in stored["copies"])
    return ScaleJournal(
        **{**stored, "copies": copies, "before": tuple(stored["before"]), "doomed": tuple(stored["doomed"])}
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Scaler:
    """Scales one service in one run."""

    host: DockerApi
    trial: Trial
    find: Find
    run: Run

    def scale(self, target: int) -> Outcome:
        """Bring the service to `target` containers; go on where an earlier process was killed."""
        journal = load(self.run.journal)
        if journal is None:
            journal = self._plan(target)
            self.run.save(journal.dump())
        if journal.phase == "remove":
            return self._remove(journal)
        if journal.phase == "add":
            journal = self._add(journal)
        if journal.phase == "undo":
            return self._undo(journal)
        return self._outcome(journal, success=True)

    def _plan(self, target: int) -> ScaleJournal:
        group, everybody = self.find()
        holders = group.holders
        before = tuple(one.id for one in holders)
        if all(one.stopped_on_purpose for one in holders):
            raise EngineRefusedError(f"{group.name} is stopped: start it before scaling it")
        if target < len(holders):
            doomed = holders[target:]
            for one in doomed:
                check_no_dependents(one, everybody)
            return ScaleJournal(phase="remove", before=before, doomed=tuple(one.id for one in reversed(doomed)))
        amount = target - len(holders)
        if not amount:
            return ScaleJournal(phase="add", before=before)
        first = holders[0]
        check_scalable(group, first)
        self._check_image(first)
        copies = name_replicas(group, first, amount, {one.name for one in everybody})
        return ScaleJournal(phase="add", before=before, copies=copies)

    def _check_image(self, first: InspectedContainer) -> None:
        """Check that a copy would run the same image as the containers that are there."""
        image = self.host.image(first.image_name)
        if image is None or image["Id"] != first.image_id:
            found = "is gone" if image is None else "is another one by now"
            raise EngineRefusedError(
                f"a copy would not be like the others: the image {first.image_name} {found} on this engine; "
                "redeploy first"
            )

    def _add(self, journal: ScaleJournal) -> ScaleJournal:
        failed, reason = self._create_and_start(journal)
        if not reason:
            failed, reason = self._watch(journal)
        if not reason:
            return replace(journal, phase="done")
        tail = ""
        if failed is not None:
            reason = f"the new container {failed.name} failed: {reason}"
            tail = self.trial.output(failed.id)
        self.run.log(reason)
        undo = replace(journal, phase="undo", reason=reason, log_tail=tail)
        self.run.save(undo.dump())
        return undo

    def _create_and_start(self, journal: ScaleJournal) -> tuple[InspectedContainer | None, str]:
        for copy in journal.copies:
            made = self._made(copy, journal)
            if made is None and self.run.remaining_s() <= 0:
                return None, f"no time was left to add {copy.name}"
            try:
                if made is not None and made.started is None:
                    # The process died while it was being made: it may lack a network or a file.
                    self.run.check()
                    self.host.remove(made.id, volumes=True)
                    made = None
                if made is None:
                    self._create(copy, journal)
            except EngineRefusedError as error:
                return self._made(copy, journal), str(error)
        return None, ""

    def _create(self, copy: Replica, journal: ScaleJournal) -> None:
        group, _ = self.find()
        first = next((one for one in group.holders if one.id in journal.before), None)
        if first is None:
            raise EngineRefusedError("the containers that were to be copied are gone")
        self.run.check()
        new = self.host.create(copy.name, replica_config(group, first, copy))
        copy_inline_files(self.host, first, new, self.run)
        self.run.check()
        self.host.start(new)
        self.run.log(f"started {copy.name}")

    def _watch(self, journal: ScaleJournal) -> tuple[InspectedContainer | None, str]:
        for copy in journal.copies:
            made = self._made(copy, journal)
            if made is None:
                return None, f"the new container {copy.name} was removed by somebody else"
            reason = self.trial.wait(made.id, self.run)
            if reason:
                return self._made(copy, journal), reason
        return None, ""

    def _made(self, copy: Replica, journal: ScaleJournal) -> InspectedContainer | None:
        """Look up a copy that this run has made: its name was free before, and it belongs to the service."""
        found = self.host.container(copy.name)
        return found if found is not None and found.name == copy.name and found.id not in journal.before else None

    def _undo(self, journal: ScaleJournal) -> Outcome:
        for copy in reversed(journal.copies):
            made = self._made(copy, journal)
            try:
                if made is not None:
                    self.run.check()
                    self.host.remove(made.id, volumes=True)
            except EngineRefusedError as error:
                journal = replace(journal, reason=f"{journal.reason}; {error}")
        return self._outcome(journal, success=False)

    def _remove(self, journal: ScaleJournal) -> Outcome:
        for container in journal.doomed:
            seen = self.host.container(container)
            try:
                if seen is not None:
                    self.run.check()
                    self.host.stop(container)
                    self.run.check()
                    self.host.remove(container, volumes=False)
                    self.run.log(f"removed {seen.name}")
            except EngineRefusedError as error:
                return self._outcome(replace(journal, reason=str(error)), success=False)
        return self._outcome(journal, success=True)

    def _outcome(self, journal: ScaleJournal, *, success: bool) -> Outcome:
        made = [one.id for copy in journal.copies if (one := self._made(copy, journal)) is not None]
        kept = [one for one in journal.before if self.host.container(one) is not None]
        return Outcome(
            success=success,
            reason=journal.reason,
            log_tail=journal.log_tail,
            rolled_back=not success and bool(journal.copies) and not made,
            containers_before=journal.before,
            containers_after=(*kept, *made),
        )
