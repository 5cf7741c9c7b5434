"""The change of each verb to a service, computed without side effects."""

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field, replace

from tutumd.engines.local.records import Change, ContainerRecord, ServiceRecord, definition_digest
from tutumd.errors import EngineRefusedError
from tutumd.model import Definition, Plan, RunLimits, Service


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanInput:
    """Facts from which a change is planned.

    Attributes:
        action: UUID of the action; empty in a dry run.
        running: Numbers of the present containers that run.
        server_cap: Maximum number of containers.
        new_id: Returns a new container ID.
        tag, variables: See `Run` in tutumd.ports.
    """

    service: Service
    record: ServiceRecord
    running: Collection[int]
    server_cap: int
    new_id: Callable[[], str]
    action: str = ""
    tag: str | None = None
    variables: Mapping[str, str | None] = field(default_factory=dict)


Planner = Callable[[PlanInput], Change]


def definition_of(service: Service) -> Definition:
    """Return the definition of a service. Raises EngineRefusedError if it has none."""
    if service.definition is None:
        raise EngineRefusedError(f"{service.name} has no definition: there is no command to run")
    return service.definition


def plan_redeploy(facts: PlanInput) -> Change:
    """Replace all containers by a complete new set with the service's current definition."""
    if facts.tag is not None:
        raise EngineRefusedError(
            f"{facts.service.name} runs a command, not an image: call it without a tag, and change the command with "
            "PATCH if another one is wanted"
        )
    target = _checked_target(facts, facts.service.target)
    stopped = facts.record.stopped
    return Change(
        action=facts.action,
        definition=definition_of(facts.service),
        image_name=facts.service.image_name,
        target=target,
        variables=facts.variables,
        stopped=stopped,
        incoming=() if stopped else _new_containers(facts, range(1, target + 1)),
        note="the service is stopped and stays stopped: it will run the current definition once it is started"
        if stopped
        else "",
    )


def dry_run_redeploy(facts: PlanInput, *, stable_s: float, grace_s: float, limits: RunLimits) -> Plan:
    """Return the steps that a redeploy would take now. Raises EngineRefusedError."""
    record, service = facts.record, facts.service
    change = plan_redeploy(facts)
    plan = Plan(
        image_name=change.image_name,
        image_before=record.digest if record.settled else None,
        image_after=definition_digest(change.definition),
    )
    if change.stopped:
        return replace(plan, steps=("keep the definition for the next start",), notes=(change.note,))
    steps = []
    if change.incoming:
        steps += [f"start {_names(service, change.incoming)}", f"wait until each has run for {stable_s:g} s"]
    if record.containers:
        old = _names(service, record.containers)
        steps.append(f"end the old {old}: SIGTERM, and SIGKILL to what is left after {grace_s:g} s")
    return replace(
        plan,
        order="start-first",
        order_reason="processes of the old and the new set can run side by side",
        steps=tuple(steps) or ("nothing: the target is 0 containers",),
        notes=(
            "a command that listens on a fixed port cannot start while the old process has that port",
            str(limits),
        ),
    )


def plan_scale(facts: PlanInput, target: int) -> Change:
    """Add containers with the running definition, or end those with the highest numbers."""
    record = facts.record
    if not record.settled or record.stopped:
        state = "is stopped" if record.settled else "was never started"
        raise EngineRefusedError(f"{record.name} {state}: start it, then scale it")
    return _fill_up(facts, record.definition, record.image_name, _checked_target(facts, target))


def plan_start(facts: PlanInput) -> Change:
    """Add the missing containers: with the running definition if any container runs, else with the service's current
    definition.
    """
    record, service = facts.record, facts.service
    target = _checked_target(facts, service.target)
    if facts.running:
        return _fill_up(facts, record.definition, record.image_name, target)
    return _fill_up(facts, definition_of(service), service.image_name, target)


def plan_stop(facts: PlanInput) -> Change:
    """End all containers and start none. The target stays for the next start."""
    record = facts.record
    return Change(
        action=facts.action,
        definition=record.definition,
        image_name=record.image_name,
        target=record.target,
        variables=record.variables,
        stopped=True,
    )


def _fill_up(facts: PlanInput, definition: Definition, image_name: str, target: int) -> Change:
    keep = tuple(sorted(facts.running)[:target])
    return Change(
        action=facts.action,
        definition=definition,
        image_name=image_name,
        target=target,
        variables=facts.record.variables,
        keep=keep,
        incoming=_new_containers(
            facts, [number for number in range(1, target + 1 + len(keep)) if number not in keep][: target - len(keep)]
        ),
        note="" if target else "the target is 0 containers: nothing of the service runs",
    )


def _names(service: Service, containers: Iterable[ContainerRecord]) -> str:
    return ", ".join(f"{service.name}-{container.number}" for container in containers)


def _new_containers(facts: PlanInput, numbers: Iterable[int]) -> tuple[ContainerRecord, ...]:
    ids = [(facts.new_id(), number) for number in numbers]
    return tuple(ContainerRecord(id=new_id, number=number, slot=new_id) for new_id, number in ids)


def _checked_target(facts: PlanInput, target: int) -> int:
    if not 0 <= target <= facts.server_cap:
        raise EngineRefusedError(f"target must be 0 to {facts.server_cap} containers, got {target}")
    return target
