"""What each verb makes of a service, decided without touching anything."""

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field, replace

from tutumd.engines.local.records import Change, ContainerRecord, ServiceRecord, definition_digest
from tutumd.errors import EngineRefusedError
from tutumd.model import Definition, Plan, Service


@dataclass(frozen=True, slots=True, kw_only=True)
class Situation:
    """What a plan is made from.

    Attributes:
        action: UUID of the action; empty where nothing is done.
        alive: Numbers of the present containers that run.
        new_id: Makes a container ID that was never used.
        tag, variables: What the run asks for; see ports.py.
    """

    service: Service
    record: ServiceRecord
    alive: Collection[int]
    server_cap: int
    new_id: Callable[[], str]
    action: str = ""
    tag: str | None = None
    variables: Mapping[str, str | None] = field(default_factory=dict)


Planner = Callable[[Situation], Change]


def plan_redeploy(situation: Situation) -> Change:
    """Bring in a full new set of the service's definition, in place of everything present."""
    if situation.tag is not None:
        raise EngineRefusedError(
            f"{situation.service.name} runs a command, not an image: call it without a tag, and change the command "
            "with PATCH where another is wanted"
        )
    target = _checked_target(situation, situation.service.target)
    stopped = situation.record.stopped
    return Change(
        action=situation.action,
        definition=_definition(situation.service),
        image_name=situation.service.image_name,
        target=target,
        variables=situation.variables,
        stopped=stopped,
        incoming=() if stopped else _new_containers(situation, range(1, target + 1)),
        note="the service is stopped and stays so: it will run the current definition once it is started"
        if stopped
        else "",
    )


def tell_redeploy(situation: Situation, *, stable_s: float, grace_s: float) -> Plan:
    """Tell what a redeploy would do."""
    record, service = situation.record, situation.service
    image_before = record.digest if record.was_started else None
    try:
        change = plan_redeploy(situation)
    except EngineRefusedError as error:
        return Plan(refused=str(error), image_name=service.image_name, image_before=image_before)
    plan = Plan(
        image_name=change.image_name, image_before=image_before, image_after=definition_digest(change.definition)
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
        notes=("a command that listens on a fixed port cannot start while the old process has that port",),
    )


def plan_scale(situation: Situation, target: int) -> Change:
    """Fill up with containers like the present ones, or let those with the highest numbers go."""
    record = situation.record
    if not record.was_started:
        raise EngineRefusedError(f"{record.name} was never started: start it, then scale it")
    if record.stopped:
        raise EngineRefusedError(f"{record.name} is stopped: start it, then scale it")
    return _filled_up(situation, record.definition, record.image_name, _checked_target(situation, target))


def plan_start(situation: Situation) -> Change:
    """Bring in what is missing: everything of a stopped service, with the service's current definition."""
    record, service = situation.record, situation.service
    target = _checked_target(situation, service.target)
    if situation.alive:
        return _filled_up(situation, record.definition, record.image_name, target)
    return _filled_up(situation, _definition(service), service.image_name, target)


def plan_stop(situation: Situation) -> Change:
    """Let everything go and keep it so. The target stays: it is what a start will bring back."""
    record = situation.record
    return Change(
        action=situation.action,
        definition=record.definition,
        image_name=record.image_name,
        target=record.target,
        variables=record.variables,
        stopped=True,
    )


def _filled_up(situation: Situation, definition: Definition, image_name: str, target: int) -> Change:
    keep = tuple(sorted(situation.alive)[:target])
    free = (number for number in range(1, target + 1 + len(keep)) if number not in keep)
    missing = [next(free) for _ in range(target - len(keep))]
    return Change(
        action=situation.action,
        definition=definition,
        image_name=image_name,
        target=target,
        variables=situation.record.variables,
        keep=keep,
        incoming=_new_containers(situation, missing),
        note="" if target else "the target is 0 containers: nothing of the service runs",
    )


def _names(service: Service, containers: Iterable[ContainerRecord]) -> str:
    return ", ".join(f"{service.name}-{container.number}" for container in containers)


def _new_containers(situation: Situation, numbers: Iterable[int]) -> tuple[ContainerRecord, ...]:
    ids = [(situation.new_id(), number) for number in numbers]
    return tuple(ContainerRecord(id=new_id, number=number, slot=new_id) for new_id, number in ids)


def _definition(service: Service) -> Definition:
    if service.definition is None:
        raise EngineRefusedError(f"{service.name} has no definition: there is no command to run")
    return service.definition


def _checked_target(situation: Situation, target: int) -> int:
    if not 0 <= target <= situation.server_cap:
        raise EngineRefusedError(f"target must be 0 to {situation.server_cap} containers, got {target}")
    return target
