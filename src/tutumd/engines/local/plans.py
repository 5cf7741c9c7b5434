"""What each verb makes of a service, decided without touching anything."""

from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass

from tutumd.engines.local.records import Change, ContainerRecord, ServiceRecord
from tutumd.errors import EngineRefusedError
from tutumd.model import Definition, Service


@dataclass(frozen=True, slots=True, kw_only=True)
class Situation:
    """What a plan is made from.

    Attributes:
        action: UUID of the action.
        alive: Numbers of the present containers that run.
        new_id: Makes a container ID that was never used.
    """

    action: str
    service: Service
    record: ServiceRecord
    alive: Collection[int]
    max_containers: int
    new_id: Callable[[], str]


Plan = Callable[[Situation], Change]


def plan_redeploy(situation: Situation) -> Change:
    """Bring in a full new set of the service's definition, in place of everything present."""
    target = _checked_target(situation, situation.service.target)
    stopped = situation.record.stopped
    return Change(
        action=situation.action,
        definition=_definition(situation.service),
        image_name=situation.service.image_name,
        target=target,
        stopped=stopped,
        incoming=() if stopped else _new_containers(situation, range(1, target + 1)),
        note="the service is stopped and stays so: it will run the current definition once it is started"
        if stopped
        else "",
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
        keep=keep,
        incoming=_new_containers(situation, missing),
        note="" if target else "the target is 0 containers: nothing of the service runs",
    )


def _new_containers(situation: Situation, numbers: Iterable[int]) -> tuple[ContainerRecord, ...]:
    ids = [(situation.new_id(), number) for number in numbers]
    return tuple(ContainerRecord(id=new_id, number=number, slot=new_id) for new_id, number in ids)


def _definition(service: Service) -> Definition:
    if service.definition is None:
        raise EngineRefusedError(f"{service.name} has no definition: there is no command to run")
    return service.definition


def _checked_target(situation: Situation, target: int) -> int:
    if not 0 <= target <= situation.max_containers:
        raise EngineRefusedError(f"target must be 0 to {situation.max_containers} containers, got {target}")
    return target
