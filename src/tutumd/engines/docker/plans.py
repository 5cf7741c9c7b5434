"""What a redeploy will do, decided from what was seen and nothing else: order, members, steps."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from tutumd.engines.docker.dependents import dependents, swapping_parent
from tutumd.engines.docker.orders import choose_order
from tutumd.engines.docker.rules import NeighbourBusyError, check_can_be_followed, check_can_follow, check_replaceable
from tutumd.engines.docker.seen import Seen
from tutumd.engines.docker.selectors import Group, base_name
from tutumd.engines.dockerapi import parse_reference
from tutumd.engines.labels import Order, ServiceLabels, parse_labels


@dataclass(frozen=True, slots=True, kw_only=True)
class Member:
    """A container that will be replaced.

    Attributes:
        name: Of the place that it has, whatever an interrupted run called it.
        old: ID.
        image: Name of the image that the new one will be made from.
        start_first: The new one is started beside it.
        runs: The new one will be started.
        spare: A copy of it is made beforehand, because stopping it deletes it.
        follows: Why it is replaced though it is not one of the service's, as words that follow its name.
    """

    name: str
    old: str
    image: str
    start_first: bool = False
    runs: bool = True
    spare: bool = False
    follows: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class RedeployPlan:
    """A redeploy of one service.

    Attributes:
        members: In the order in which they are replaced.
        pulled: Names of the images that are fetched.
        order, order_reason: What the service's running containers get, and why in a sentence.
        notes: Sentences for people.
    """

    wanted: ServiceLabels
    members: tuple[Member, ...]
    pulled: tuple[str, ...]
    order: Order
    order_reason: str
    notes: tuple[str, ...] = ()


def plan_redeploy(
    group: Group, everybody: Sequence[Seen], tag: str | None, own_id: str | None, *, fetches_again: bool = False
) -> RedeployPlan:
    """Decide what a redeploy of a service does.

    Args:
        everybody: All containers of the engine.
        tag: What the image is changed to, in its own repository; None keeps its name.
        own_id: The container that this process runs in.
        fetches_again: Images of containers that are gone from the engine will be fetched before.

    Raises:
        EngineRefusedError: why it cannot be done, and what to do.
        NeighbourBusyError: What it depends on, or what depends on it, is being redeployed.
    """
    for one in group.holders:
        check_replaceable(one, fetches_again=fetches_again)
    if reason := waits_for(group, everybody):
        raise NeighbourBusyError(reason)
    wanted = parse_labels([one.labels for one in group.holders])
    following = dependents(group.holders, everybody)
    for dependent in following:
        check_can_follow(dependent.container, dependent.reason, own_id)
    order, reason = choose_order(group.holders, following, wanted.order)
    own = [_member(place.name, place.holder, tag, order) for place in group.places]
    check_can_be_followed([member.name for member in own if member.spare], following)
    others = [
        replace(_member(one.container.name, one.container, None, Order.STOP_FIRST), follows=one.reason)
        for one in following
    ]
    return RedeployPlan(
        wanted=wanted,
        members=(*own, *others),
        pulled=tuple(sorted({one.image for one in own})),
        order=order,
        order_reason=reason,
        notes=tuple(_notes(group, own, others)),
    )


def waits_for(group: Group, everybody: Sequence[Seen]) -> str:
    """Tell which container that is being redeployed the service depends on, in a sentence; empty if on none."""
    names = {place.name for place in group.places}
    others = [other for other in everybody if base_name(other.name) not in names]
    reasons = ((one.name, swapping_parent(one, others)) for one in group.holders)
    told = "which is being redeployed at present; if that was cut off, redeploy that"
    return next((f"{name} {reason}, {told}" for name, reason in reasons if reason), "")


def tagged(name: str, tag: str | None) -> str:
    """Return an image's name with another tag, never of another repository; without a tag, the name as it is.

    Raises:
        EngineRefusedError: the name is none of a repository.
    """
    if tag is None:
        return name
    reference = parse_reference(name)
    renamed = f"{name.partition('@')[0].removesuffix(f':{reference.tag}')}:{tag}"
    parse_reference(renamed)
    return renamed


def steps(plan: RedeployPlan) -> tuple[str, ...]:
    """Tell a plan's steps for people, in order."""
    own = [member for member in plan.members if not member.follows]
    followers = [member for member in plan.members if member.follows]
    first = [member for member in own if member.start_first]
    later = [member for member in own if not member.start_first]
    told = [f"fetch {name}" for name in plan.pulled]
    told += [f"create the new container of {member.name}" for member in own]
    told += [
        f"start the new container of {member.name} beside the old one and wait until it is good" for member in first
    ]
    told += [f"stop {member.name}" for member in reversed(followers)]
    for member in later:
        told.append(f"stop {member.name}" if member.runs else f"park {member.name}")
        told.append(f"put the new container in its place{_and_start(member)}")
    told += [f"make {member.name} anew ({member.follows}){_and_start(member)}" for member in followers]
    told += [f"lead clients of {member.name} to the new container, then stop the old one" for member in first]
    return (*told, "remove the old containers")


def _member(name: str, old: Seen, tag: str | None, order: Order) -> Member:
    runs = old.runs or not old.stopped_on_purpose
    start_first = order is Order.START_FIRST and old.runs and old.status != "paused"
    removed_when_stopped = bool((old.raw.get("HostConfig") or {}).get("AutoRemove"))
    return Member(
        name=name,
        old=old.id,
        image=tagged(old.image_name, tag),
        start_first=start_first,
        runs=runs,
        spare=removed_when_stopped and old.runs and not start_first,
    )


def _and_start(member: Member) -> str:
    return ", start it and wait until it is good" if member.runs else ""


def _notes(group: Group, own: Sequence[Member], others: Sequence[Member]) -> list[str]:
    notes = []
    for member, old in zip(own, group.holders, strict=True):
        if member.image != old.image_name:
            notes.append(f"{member.name} changes from {old.image_name} to {member.image}")
        if member.spare:
            notes.append(
                f"{member.name} was started with --rm, so that stopping it deletes it: "
                "if the new one fails, a copy of it is started in its stead"
            )
        if old.image is None:
            notes.append(f"the image that {member.name} runs is gone from the engine: it is fetched again beforehand")
    notes += [
        f"{member.name} {member.follows}: it is made anew from the image that its name means here" for member in others
    ]
    return notes
