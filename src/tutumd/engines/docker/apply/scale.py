"""SCALE and SCALEUP: more replicas of a service's containers, or fewer."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import count, islice
from string import digits
from typing import Any

from tutumd.engines.docker.apply.compose_files import copy_compose_files
from tutumd.engines.docker.look.containers import InspectedContainer
from tutumd.engines.docker.look.readiness import TAIL_LINES, ActionContext
from tutumd.engines.docker.look.services import ContainerGroup, FindGroup
from tutumd.engines.docker.plan.config import (
    config_without_defaults,
    fresh_mounts,
    has_static_address,
    replace_alias,
    replacement_config,
)
from tutumd.engines.docker.plan.constraints import check_no_dependents
from tutumd.engines.docker.plan.journal import SwapStep
from tutumd.engines.docker.plan.redeploy import fixed_ports
from tutumd.engines.labels import ACTION, SERVICE
from tutumd.engines.rollout import refuse_stopped, unfinished
from tutumd.errors import Cause, EngineBusyError, EngineRefusedError, ReasonCode, code_of
from tutumd.model import Outcome, Phase
from tutumd.ports import LOST_JOURNAL

# Container numbers that exceed the number of containers by more than this are ignored.
_MAX_GAP = 10_000


def check_scalable(group: ContainerGroup, first: InspectedContainer) -> None:
    """Check that replicas of the service's first container can run beside it.

    Raises:
        EngineRefusedError: The container has something that cannot be duplicated.
    """
    mode = str(first.host_config.get("NetworkMode", ""))
    ports = [f"{host_port} (for {port})" for port, host_port in fixed_ports(first.host_config)]
    obstacles = (
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
    for applies, obstacle in obstacles:
        if applies:
            raise EngineRefusedError(f"cannot scale {group.name}: {obstacle}")


def name_replicas(
    group: ContainerGroup, first: InspectedContainer, amount: int, taken: Collection[str]
) -> tuple[str, ...]:
    """Return the names of `amount` replicas, which end in the next free numbers.

    Args:
        taken: The names of all containers of the engine.
    """
    highest = max([1, *(slot.number for slot in group.slots if slot.number <= len(group.slots) + _MAX_GAP)])
    stem = group.name + "-" if first.compose is None else first.name[: -len(str(first.compose.number))]
    names = (f"{stem}{number}" for number in count(highest + 1))
    return tuple(islice((name for name in names if name not in taken), amount))


def replica_config(group: ContainerGroup, first: InspectedContainer, name: str) -> dict[str, Any]:
    """Return the create request of a replica: the same image; its own volumes, hostname and MAC address."""
    image = first.image or {}
    # Unlike a replacement, it inherits no volumes, so that each anonymous volume is new.
    body = replacement_config(first.raw, image, image, dict.fromkeys(first.host_config.get("VolumesFrom") or (), ()))
    for field in ("Hostname", "MacAddress"):
        body.pop(field, None)
    body["HostConfig"]["Mounts"] = fresh_mounts(first.host_config.get("Mounts") or ())
    labels = dict(config_without_defaults(first.raw, image).get("Labels") or {})
    if first.compose is None:
        labels[SERVICE] = group.name
    else:
        labels["com.docker.compose.container-number"] = name[len(name.rstrip(digits)) :]
        labels.pop("com.docker.compose.replace", None)
    return {
        **body,
        "Labels": labels,
        "NetworkingConfig": {
            "EndpointsConfig": replace_alias(body["NetworkingConfig"]["EndpointsConfig"], first.name, name)
        },
    }


def _has_fixed_name(first: InspectedContainer) -> bool:
    """Return True if Compose did not derive the container's name from project, service and number."""
    at = first.compose
    return at is not None and first.name not in (
        f"{at.project}-{at.service}-{at.number}",
        f"{at.project}_{at.service}_{at.number}",
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class ScaleJournal:
    """Decisions of a run before it changed anything.

    Attributes:
        before: IDs of the service's containers.
        copies: Names of the replicas to add.
        doomed: IDs of the containers to remove.
    """

    before: Sequence[str]
    copies: Sequence[str] = ()
    doomed: Sequence[str] = ()


def load_journal(stored: Mapping[str, Any]) -> ScaleJournal | None:
    """Return a stored journal; None if there is none or it cannot be trusted."""
    return ScaleJournal(**stored) if stored and stored != LOST_JOURNAL else None


@dataclass(frozen=True, slots=True)
class Scaler:
    """Scales one service in one run."""

    context: ActionContext
    find: FindGroup

    def scale(self, target: int) -> Outcome:
        """Scale the service to `target` containers, or continue a killed attempt.

        Raises:
            EngineBusyError: Another installation redeploys the service. The next attempt starts from the beginning.
        """
        try:
            outcome = self._scale(target)
            self.find()
        except EngineBusyError:
            journal = load_journal(self.context.run.journal)
            for created in self._created(journal).values() if journal else ():
                if created.started is None:
                    self.context.api.remove(created.id, self.context.run, volumes=True)
            self.context.run.save({})
            raise
        return outcome

    def _scale(self, target: int) -> Outcome:
        journal = load_journal(self.context.run.journal)
        if journal is None:
            self._remove_begun()
            journal = self._plan(target)
            self.context.run.save(asdict(journal))
        if not journal.copies:
            return self._remove(journal)
        failure = self._add(journal)
        if failure is None:
            return self._outcome(journal)
        self.find()  # another installation's redeploy may have caused the failure
        return self._undo(journal, *failure)

    def _remove_begun(self) -> None:
        """Remove the replicas that this action has added if its journal is lost: nobody watched them."""
        containers = self.find()[0].containers if self.context.run.journal else ()
        added = [each for each in containers if each.labels.get(ACTION) == self.context.run.action_uuid]
        for container in added if len(added) < len(containers) else ():
            self.context.run.log(f"removing {container.name}, which an earlier try has added", Phase.RESTORING)
            self.context.api.remove(container.id, self.context.run, volumes=container.started is None)

    def _plan(self, target: int) -> ScaleJournal:
        group, all_containers = self.find()
        containers = group.containers
        before = [container.id for container in containers]
        refuse_stopped(group.name, target, stopped=all(container.stopped_on_purpose for container in containers))
        for container in containers[target:]:
            check_no_dependents(container, all_containers)
        if target <= len(containers):
            return ScaleJournal(before=before, doomed=list(reversed(before[target:])))
        check_scalable(group, containers[0])
        self._check_image(containers[0])
        taken = {container.name for container in all_containers}
        return ScaleJournal(before=before, copies=name_replicas(group, containers[0], target - len(containers), taken))

    def _check_image(self, first: InspectedContainer) -> None:
        """Check that a replica would run the same image as the existing containers."""
        image = self.context.api.image(first.image_name)
        if image is None or image["Id"] != first.image_id:
            change = "is gone" if image is None else "is another one by now"
            raise EngineRefusedError(
                f"a replica would differ from the others: the image {first.image_name} {change} on this engine; "
                "redeploy first"
            )

    def _add(self, journal: ScaleJournal) -> tuple[str, str] | None:
        """Create and start the replicas and wait until all are ready; return the first that failed, and the reason."""
        for name in journal.copies:
            try:
                self._start(name, journal)
            except EngineRefusedError as error:
                return name, error.cause
        created = self._created(journal)
        for name in journal.copies:
            if name not in created:
                return name, Cause(
                    f"the new container {name} was removed by somebody else", ReasonCode.CHANGED_MEANWHILE
                )
        names = {container.id: name for name, container in created.items()}
        failure = self.context.confirm(names)
        return failure and (names[failure[0]], failure[1])

    def _start(self, name: str, journal: ScaleJournal) -> None:
        """Create and start a replica, unless an earlier process has started it."""
        leftover = self._created(journal).get(name)
        if leftover is not None and leftover.started is not None:
            return
        if leftover is not None:
            # The process was killed while it created this replica, which may lack a network or a file.
            self.context.api.remove(leftover.id, self.context.run, volumes=True)
        if self.context.run.remaining_s() <= 0:
            raise EngineRefusedError(unfinished(self.context.run, f"{name} was not added"))
        group, _ = self.find()
        first = next((container for container in group.containers if container.id in journal.before), None)
        if first is None:
            raise EngineRefusedError("the containers that were to be replicated are gone")
        new = self.context.api.create(name, replica_config(group, first, name), self.context.run)
        created = self.context.api.container(new)
        if created is None or created.image_id != first.image_id:
            # Somebody, or another service's redeploy, has pulled since.
            raise EngineRefusedError(f"{first.image_name} became another image on this engine; redeploy first")
        copy_compose_files(self.context.api, first, created, self.context.run)
        # Another installation's redeploy creates its containers and then checks for new ones, and so does this action.
        self.find()
        self.context.api.apply(SwapStep(verb="start", container=new), self.context.run)
        self.context.run.log(f"started {name}", Phase.STARTING)

    def _created(self, journal: ScaleJournal) -> dict[str, InspectedContainer]:
        """Return the replicas that this action has created, by name, without containers to which others gave these
        names.
        """
        found = {name: self.context.api.container(name) for name in journal.copies}
        return {
            name: container
            for name, container in found.items()
            if container is not None and container.labels.get(ACTION) == self.context.run.action_uuid
        }

    def _undo(self, journal: ScaleJournal, name: str, reason: str) -> Outcome:
        """Remove the replicas. If a kill interrupts this, the next process attempts to add them again."""
        created, log_tail, code = self._created(journal), "", code_of(reason)
        if name in created:
            reason = f"the new container {name} failed: {reason}"
            log_tail = self.context.api.output(created[name].id, TAIL_LINES)
        self.context.run.log(reason, Phase.RESTORING)
        for each in reversed(created.values()):
            try:
                self.context.api.remove(each.id, self.context.run, volumes=True)
            except EngineRefusedError as error:
                reason = f"{reason}; {error}"
        return self._outcome(journal, Cause(reason, code), log_tail)

    def _remove(self, journal: ScaleJournal) -> Outcome:
        for container_id in journal.doomed:
            container = self.context.api.container(container_id)
            try:
                if container is not None:
                    self.context.api.stop(container_id, self.context.run)
                    self.context.api.remove(container_id, self.context.run, volumes=False)
                    self.context.run.log(f"removed {container.name}", Phase.REMOVING)
            except EngineRefusedError as error:
                return self._outcome(journal, error.cause)
        return self._outcome(journal)

    def _outcome(self, journal: ScaleJournal, failure: str = "", log_tail: str = "") -> Outcome:
        new = [container.id for container in self._created(journal).values()]
        kept = [container_id for container_id in journal.before if self.context.api.container(container_id) is not None]
        return Outcome(
            success=not failure,
            reason=failure,
            reason_code=code_of(failure),
            log_tail=log_tail,
            rolled_back=bool(failure and journal.copies and not new),
            containers_before=tuple(journal.before),
            containers_after=(*kept, *new),
        )
