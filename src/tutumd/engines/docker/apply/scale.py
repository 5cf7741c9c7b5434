"""SCALE and SCALEUP: more replicas of a service's containers, or fewer."""

from collections.abc import Collection, Mapping
from dataclasses import asdict, dataclass, replace
from itertools import count, islice
from typing import Any

from tutumd.engines.docker.apply.compose_files import copy_compose_files
from tutumd.engines.docker.look.containers import InspectedContainer
from tutumd.engines.docker.look.readiness import TAIL_LINES, ContainerWatch, ReadinessCheck
from tutumd.engines.docker.look.services import ContainerGroup, FindGroup
from tutumd.engines.docker.plan.config import (
    config_without_defaults,
    fresh_mounts,
    has_static_address,
    replace_alias,
    replacement_config,
)
from tutumd.engines.docker.plan.constraints import check_no_dependents
from tutumd.engines.docker.plan.redeploy import fixed_ports
from tutumd.engines.labels import ACTION, SERVICE
from tutumd.engines.rollout.journal import refuse_stopped
from tutumd.engines.rollout.timing import unfinished
from tutumd.errors import EngineBusyError, EngineRefusedError
from tutumd.model import Outcome, Phase
from tutumd.ports.engine import LOST_JOURNAL, Run

_COMPOSE_NUMBER = "com.docker.compose.container-number"
_COMPOSE_REPLACES = "com.docker.compose.replace"
# Container numbers that are higher than the number of containers by more than this are ignored.
_MAX_GAP = 10_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Replica:
    """A replica to be created. The fields are keys of stored journals."""

    name: str
    number: int


def check_scalable(group: ContainerGroup, first: InspectedContainer) -> None:
    """Check that replicas of the service's first container can run beside it.

    Raises:
        EngineRefusedError: The container has something that only one container can have.
    """
    for obstacle in _obstacles(first):
        raise EngineRefusedError(f"cannot scale {group.name}: {obstacle}")


def name_replicas(
    group: ContainerGroup, first: InspectedContainer, amount: int, taken: Collection[str]
) -> tuple[Replica, ...]:
    """Return `amount` replicas with the next free numbers.

    Args:
        taken: The names of all containers of the engine.
    """
    highest = max([1, *(slot.number for slot in group.slots if slot.number <= len(group.slots) + _MAX_GAP)])
    stem = group.name + "-" if first.compose is None else first.name[: -len(str(first.compose.number))]
    numbers = (number for number in count(highest + 1) if f"{stem}{number}" not in taken)
    return tuple(Replica(name=f"{stem}{number}", number=number) for number in islice(numbers, amount))


def replica_config(group: ContainerGroup, first: InspectedContainer, replica: Replica) -> dict[str, Any]:
    """Return the create request of a replica: same image; volumes, hostname and MAC address of its own."""
    image = first.image or {}
    # Unlike a replacement, it inherits no volumes, so that each anonymous one is new.
    body = replacement_config(first.raw, image, image, dict.fromkeys(first.host_config.get("VolumesFrom") or (), ()))
    for field in ("Hostname", "MacAddress"):
        body.pop(field, None)
    body["HostConfig"]["Mounts"] = fresh_mounts(first.host_config.get("Mounts") or ())
    endpoints = replace_alias(body["NetworkingConfig"]["EndpointsConfig"], first.name, replica.name)
    labels = dict(config_without_defaults(first.raw, image).get("Labels") or {})
    if first.compose is None:
        labels[SERVICE] = group.name
    else:
        labels[_COMPOSE_NUMBER] = str(replica.number)
        labels.pop(_COMPOSE_REPLACES, None)
    return {**body, "Labels": labels, "NetworkingConfig": {"EndpointsConfig": endpoints}}


def _obstacles(first: InspectedContainer) -> list[str]:
    mode = str(first.host_config.get("NetworkMode", ""))
    ports = [f"{host_port} (for {port})" for port, host_port in fixed_ports(first.host_config)]
    checks = (
        (mode.startswith("container:"), f"it shares another container's network ({mode[:22]})"),
        (has_static_address(first.raw), "it has a static IP address, which only one can have"),
        (
            ports,
            f"it publishes the fixed host port {', '.join(ports)}, which only one container can have; "
            "publish it without a host port",
        ),
        (_has_fixed_name(first), f"compose gives it the fixed name {first.name} (container_name)"),
        (first.auto_remove, "it was started with --rm"),
        (first.image is None, "the image of its containers is gone from the engine"),
    )
    return [obstacle for applies, obstacle in checks if applies]


def _has_fixed_name(first: InspectedContainer) -> bool:
    """Return True if compose did not derive the container's name from project, service and number."""
    if first.compose is None:
        return False
    parts = (first.compose.project, first.compose.service, str(first.compose.number))
    return first.name not in ("-".join(parts), "_".join(parts))


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
