"""SCALE and SCALEUP: more replicas of a service's containers, or fewer."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

from tutumd.engines.docker.constraints import check_no_dependents
from tutumd.engines.docker.inspect.inspected_container import InspectedContainer
from tutumd.engines.docker.inspect.selectors import FindGroup
from tutumd.engines.docker.readiness import TAIL_LINES, ContainerWatch, ReadinessCheck
from tutumd.engines.docker.recreate.compose_files import copy_compose_files
from tutumd.engines.docker.replicas import Replica, check_scalable, name_replicas, replica_config
from tutumd.engines.labels import ACTION
from tutumd.engines.rollout.journal import refuse_stopped
from tutumd.engines.rollout.timing import unfinished
from tutumd.errors import EngineBusyError, EngineRefusedError
from tutumd.model import Outcome, Phase
from tutumd.ports.engine import LOST_JOURNAL, Run


@dataclass(frozen=True, slots=True, kw_only=True)
class ScaleJournal:
    """What a run decided before it changed anything. Field names are keys of stored journals: do not rename them.

    Attributes:
        phase: `add`, `undo` or `remove`.
        before: IDs of the service's containers.
        copies: The replicas to be added.
        doomed: IDs of the containers to be removed.
    """

    phase: str
    before: tuple[str, ...]
    copies: tuple[Replica, ...] = ()
    doomed: tuple[str, ...] = ()
    reason: str = ""
    log_tail: str = ""


def load_journal(stored: Mapping[str, Any]) -> ScaleJournal | None:
    """Return a stored journal; None if nothing has been saved, or nothing that can be trusted."""
    if not stored or stored == LOST_JOURNAL:
        return None
    copies = tuple(Replica(**replica) for replica in stored["copies"])
    before, doomed = tuple(stored["before"]), tuple(stored["doomed"])
    return ScaleJournal(**{**stored, "copies": copies, "before": before, "doomed": doomed})


class Scaler:
    """Scales one service in one run."""

    def __init__(self, readiness: ReadinessCheck, find: FindGroup, run: Run) -> None:
        self._api = readiness.api
        self._readiness = readiness
        self._find = find
        self._run = run

    def scale(self, target: int) -> Outcome:
        """Bring the service to `target` containers, or continue where an earlier process was killed.

        Raises:
            EngineBusyError: Another installation redeploys the service. The next try begins from the start.
        """
        try:
            outcome = self._scale(target)
            self._find()
        except EngineBusyError:
            self._withdraw()
            raise
        return outcome

    def _scale(self, target: int) -> Outcome:
        journal = load_journal(self._run.journal)
        if journal is None:
            self._remove_begun()
            journal = self._plan(target)
            self._run.save(asdict(journal))
        if journal.phase == "remove":
            return self._remove(journal)
        if journal.phase == "add":
            failure = self._add(journal)
            if failure is None:
                return self._outcome(journal, success=True)
            self._find()  # the failure may be the work of another installation's redeploy
            journal = self._save_failure(journal, *failure)
        return self._undo(journal)

    def _remove_begun(self) -> None:
        """Remove the replicas that this action has added, if what it noted of them is lost: nobody watched them."""
        containers = self._find()[0].containers if self._run.journal else ()
        added = [each for each in containers if each.labels.get(ACTION) == self._run.action_uuid]
        for container in added if len(added) < len(containers) else ():
            self._run.log(f"removing {container.name}, which an earlier try has added", Phase.RESTORING)
            self._api.remove(container.id, self._run, volumes=container.started is None)

    def _plan(self, target: int) -> ScaleJournal:
        group, all_containers = self._find()
        containers = group.containers
        before = tuple(container.id for container in containers)
        refuse_stopped(group.name, target, stopped=all(container.stopped_on_purpose for container in containers))
        doomed = tuple(container.id for container in reversed(containers[target:]))
        for container in containers[target:]:
            check_no_dependents(container, all_containers)
        if target <= len(containers):
            return ScaleJournal(phase="remove", before=before, doomed=doomed)
        check_scalable(group, containers[0])
        self._check_image(containers[0])
        taken = {container.name for container in all_containers}
        replicas = name_replicas(group, containers[0], target - len(containers), taken)
        return ScaleJournal(phase="add", before=before, copies=replicas)

    def _check_image(self, first: InspectedContainer) -> None:
        """Check that a replica would run the same image as the existing containers."""
        image = self._api.image(first.image_name)
        if image is None or image["Id"] != first.image_id:
            change = "is gone" if image is None else "is another one by now"
            raise EngineRefusedError(
                f"a replica would differ from the others: the image {first.image_name} {change} on this engine; "
                "redeploy first"
            )

    def _add(self, journal: ScaleJournal) -> tuple[Replica, str] | None:
        """Create and start the replicas and wait until all are ready; return which one failed, and why."""
        for replica in journal.copies:
            try:
                self._start(replica, journal)
            except EngineRefusedError as error:
                return replica, str(error)
        replicas: dict[str, Replica] = {}
        for replica in journal.copies:
            created = self._find_created(replica, journal)
            if created is None:
                return replica, f"the new container {replica.name} was removed by somebody else"
            replicas[created.id] = replica
        failure = ContainerWatch(self._readiness, self._run).confirm(replicas)
        return failure and (replicas[failure[0]], failure[1])

    def _start(self, replica: Replica, journal: ScaleJournal) -> None:
        """Create and start a replica, unless an earlier process has started it."""
        leftover = self._find_created(replica, journal)
        if leftover is not None and leftover.started is not None:
            return
        if leftover is not None:
            # The process was killed while it created this one, which may lack a network or a file.
            self._api.remove(leftover.id, self._run, volumes=True)
        if self._run.remaining_s() <= 0:
            raise EngineRefusedError(unfinished(self._run, f"{replica.name} was not added"))
        group, _ = self._find()
        first = next((container for container in group.containers if container.id in journal.before), None)
        if first is None:
            raise EngineRefusedError("the containers that were to be replicated are gone")
        config = replica_config(group, first, replica)
        new = self._api.create(replica.name, config, self._run)
        created = self._api.container(new)
        if created is None or created.image_id != first.image_id:
            # Another service's redeploy may have pulled in the meantime.
            raise EngineRefusedError(f"{first.image_name} became another image on this engine; redeploy first")
        copy_compose_files(self._api, first, new, self._run)
        # Another installation's redeploy creates its containers, then looks for new ones, and so does this.
        self._find()
        self._api.start(new, self._run)
        self._run.log(f"started {replica.name}", Phase.STARTING)

    def _find_created(self, replica: Replica, journal: ScaleJournal) -> InspectedContainer | None:
        """Return a replica that this action has created; not a container to which somebody else gave its name."""
        container = self._api.container(replica.name)
        if container is None or container.name != replica.name or container.id in journal.before:
            return None
        return container if container.labels.get(ACTION) == self._run.action_uuid else None

    def _save_failure(self, journal: ScaleJournal, replica: Replica, reason: str) -> ScaleJournal:
        log_tail = ""
        if created := self._find_created(replica, journal):
            reason = f"the new container {created.name} failed: {reason}"
            log_tail = self._api.output(created.id, TAIL_LINES)
        self._run.log(reason, Phase.RESTORING)
        journal = replace(journal, phase="undo", reason=reason, log_tail=log_tail)
        self._run.save(asdict(journal))
        return journal

    def _undo(self, journal: ScaleJournal) -> Outcome:
        for replica in reversed(journal.copies):
            created = self._find_created(replica, journal)
            try:
                if created is not None:
                    self._api.remove(created.id, self._run, volumes=True)
            except EngineRefusedError as error:
                journal = replace(journal, reason=f"{journal.reason}; {error}")
        return self._outcome(journal, success=False)

    def _remove(self, journal: ScaleJournal) -> Outcome:
        for container_id in journal.doomed:
            container = self._api.container(container_id)
            try:
                if container is not None:
                    self._api.stop(container_id, self._run)
                    self._api.remove(container_id, self._run, volumes=False)
                    self._run.log(f"removed {container.name}", Phase.REMOVING)
            except EngineRefusedError as error:
                return self._outcome(replace(journal, reason=str(error)), success=False)
        return self._outcome(journal, success=True)

    def _withdraw(self) -> None:
        """Remove the replicas that this action has created and not started, and its journal."""
        journal = load_journal(self._run.journal)
        for replica in journal.copies if journal else ():
            created = self._find_created(replica, journal) if journal else None
            if created is not None and created.started is None:
                self._api.remove(created.id, self._run, volumes=True)
        self._run.save({})

    def _outcome(self, journal: ScaleJournal, *, success: bool) -> Outcome:
        new = [
            created.id for replica in journal.copies if (created := self._find_created(replica, journal)) is not None
        ]
        kept = [container_id for container_id in journal.before if self._api.container(container_id) is not None]
        return Outcome(
            success=success,
            reason=journal.reason,
            log_tail=journal.log_tail,
            rolled_back=not success and bool(journal.copies) and not new,
            containers_before=journal.before,
            containers_after=(*kept, *new),
        )
