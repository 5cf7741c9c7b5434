"""Plan of a redeploy: order, swaps and steps, decided from inspected containers alone."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from tutumd.engines.docker.look.containers import InspectedContainer
from tutumd.engines.docker.look.services import ContainerGroup
from tutumd.engines.docker.look.snapshot import base_image, describe_file, describe_left_tags, rollback_refusal
from tutumd.engines.docker.plan.config import endpoint_settings, has_static_address, without_default_bridge
from tutumd.engines.docker.plan.constraints import (
    Dependent,
    check_can_be_followed,
    check_can_follow,
    check_no_busy_dependency,
    check_owners,
    check_replaceable,
    find_dependents,
)
from tutumd.engines.docker.plan.images import wanted_name
from tutumd.engines.docker.plan.journal import Swap
from tutumd.engines.labels import ORDER, Json, Order, ServiceLabels, parse_labels, parse_reference
from tutumd.errors import EngineRefusedError
from tutumd.model import WantedImage


@dataclass(frozen=True, slots=True, kw_only=True)
class RedeployPlan:
    """A redeploy of one service.

    Attributes:
        labels: Configuration in the labels of the service.
        swaps: The swaps in the order of replacement.
        pulled: Names of the images that are pulled.
        order, order_reason: The order for the service's running containers, and the reason as a sentence.
        left_tags: Sentences about tags of earlier calls that the redeploy replaces.
        notes: Sentences for people.
    """

    labels: ServiceLabels
    swaps: tuple[Swap, ...]
    pulled: tuple[str, ...]
    order: Order
    order_reason: str
    left_tags: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def own_swaps(self) -> list[Swap]:
        """The swaps of the service's own containers."""
        return [swap for swap in self.swaps if not swap.follows]


def plan_redeploy(
    group: ContainerGroup,
    all_containers: Sequence[InspectedContainer],
    tag: str | None,
    self_id: str | None,
    *,
    wanted: WantedImage | None = None,
    is_podman: bool = False,
    is_refetched: bool = False,
) -> RedeployPlan:
    """Return the plan of a redeploy of a service.

    Args:
        all_containers: All containers of the engine.
        tag: New tag for the image; None means the tag that a person or Compose gave the containers.
        self_id: ID of the container of this process.
        wanted: The image of a rollback, instead of the newest image.
        is_refetched: Whether missing images of containers will be pulled again before.

    Raises:
        EngineRefusedError: The service cannot be redeployed.
        EngineBusyError: A container that it depends on, or that depends on it, is being redeployed.
    """
    check_no_busy_dependency(group, all_containers)
    for container in group.containers:
        check_replaceable(container, is_refetched=is_refetched)
        check_owners(container, all_containers)
    labels = parse_labels([container.labels for container in group.containers])
    dependents = find_dependents(group.containers, all_containers)
    for dependent in dependents:
        check_can_follow(dependent.container, dependent.reason, self_id)
    if wanted is not None and (refusal := rollback_refusal(group.containers)):
        raise EngineRefusedError(refusal)
    order, reason = choose_order(group.containers, dependents, labels.order)
    names = [
        with_tag(base_image(slot.container), tag)
        if wanted is None
        else wanted_name(base_image(slot.container), wanted, keeps_tag=not is_podman)
        for slot in group.slots
    ]
    own = [_plan_swap(slot.name, slot.container, name, order) for slot, name in zip(group.slots, names, strict=True)]
    check_can_be_followed([swap.name for swap in own if swap.needs_spare], dependents)
    others = [
        _plan_swap(each.container.name, each.container, each.container.image_name, Order.STOP_FIRST, each.reason)
        for each in dependents
    ]
    left_tags = describe_left_tags(group.containers, [swap.image for swap in own])
    return RedeployPlan(
        labels=labels,
        swaps=(*own, *others),
        pulled=tuple(sorted({swap.image for swap in own})),
        order=order,
        order_reason=reason,
        left_tags=left_tags,
        notes=(*left_tags, *_notes(group, own, others), *describe_file(group.containers)),
    )


def with_tag(name: str, tag: str | None) -> str:
    """Return an image's name with a tag, in the same repository; the unchanged name for None, or for its own tag.

    Raises:
        EngineRefusedError: The name has no repository.
    """
    if tag is None:
        return name
    reference = parse_reference(name)
    tagged = f"{name.partition('@')[0].removesuffix(f':{reference.tag}')}:{tag}"
    return name if parse_reference(tagged) == replace(reference, tag=reference.tag or "latest") else tagged


def describe_steps(plan: RedeployPlan) -> tuple[str, ...]:
    """Return a plan's steps for people, in order."""
    own = plan.own_swaps
    dependents = [swap for swap in plan.swaps if swap.follows]
    first = [swap for swap in own if swap.start_first]
    steps = [f"fetch {name}" for name in plan.pulled]
    steps += [f"create the new container of {swap.name}" for swap in own]
    steps += [f"start the new container of {swap.name} beside the old one and wait until it is ready" for swap in first]
    steps += [f"stop {swap.name}" for swap in reversed(dependents)]
    for swap in own:
        if not swap.start_first:
            steps.append(f"stop {swap.name}" if swap.run else f"park {swap.name}")
            steps.append(f"put the new container in its place{_and_start(swap)}")
    steps += [f"re-create {swap.name} ({swap.dependence}){_and_start(swap)}" for swap in dependents]
    steps += [f"route clients of {swap.name} to the new container, then stop the old one" for swap in first]
    return (*steps, "remove the old containers")


def _plan_swap(name: str, old: InspectedContainer, image: str, order: Order, dependence: str = "") -> Swap:
    return Swap(
        name=name,
        old=old.id,
        image=image,
        run=old.is_active or not old.stopped_on_purpose,
        ran=old.is_active,
        paused=old.status == "paused",
        policy=dict(old.policy),
        start_first=order is Order.START_FIRST and old.is_active and old.status != "paused",
        endpoints=endpoint_settings(old.raw),
        dependence=dependence,
        auto_remove=old.auto_remove,
    )


def _and_start(swap: Swap) -> str:
    return ", start it and wait until it is ready" if swap.run else ""


def _notes(group: ContainerGroup, own: Sequence[Swap], others: Sequence[Swap]) -> Iterator[str]:
    for swap, old in zip(own, group.containers, strict=True):
        if swap.image not in (old.image_name, base_image(old)):
            yield f"{swap.name} changes from {old.image_name} to {swap.image}"
        if swap.needs_spare:
            yield (
                f"{swap.name} was started with --rm, so stopping it deletes it: "
                "if the new one fails, a copy of the old one is started instead"
            )
        if old.image is None:
            yield f"the image that {swap.name} runs is gone from the engine: it is pulled again by digest first"
    for swap in others:
        yield f"{swap.name} {swap.dependence}: it is re-created from the image that its name refers to here"


def choose_order(
    containers: Sequence[InspectedContainer], dependents: Sequence[Dependent], requested: Order
) -> tuple[Order, str]:
    """Return start-first or stop-first, and the reason as a sentence.

    An obstacle to running both is always decisive. A risk is decisive unless the service's label requests start-first.

    Args:
        dependents: Containers that are re-created after them.
    """
    running = [container for container in containers if container.is_active and container.status != "paused"]
    obstacles = [reason for container in running for reason in _obstacles(container)]
    obstacles += [f"{dependent.container.name} {dependent.reason}" for dependent in dependents]
    risks = [reason for container in running for reason in _risks(container)]
    remark = f", though the label {ORDER} requests start-first" if requested is Order.START_FIRST else ""
    rules = (
        (not running, Order.STOP_FIRST, "nothing of it runs"),
        (requested is Order.STOP_FIRST, Order.STOP_FIRST, f"the label {ORDER} requests it"),
        (obstacles, Order.STOP_FIRST, f"two cannot run at once: {''.join(obstacles[:1])}{remark}"),
        (requested is Order.START_FIRST, Order.START_FIRST, f"the label {ORDER} requests it, and nothing forbids it"),
        (risks, Order.STOP_FIRST, f"two containers at once could conflict: {''.join(risks[:1])}"),
        (True, Order.START_FIRST, "nothing forbids that old and new run at once"),
    )
    return next((order, reason) for applies, order, reason in rules if applies)


def fixed_ports(host: Json) -> list[tuple[str, str]]:
    """Return pairs of container port, such as `80/tcp`, and the single host port to which it is bound."""
    bindings = [(port, each) for port, listed in (host.get("PortBindings") or {}).items() for each in listed or ()]
    ports = [(port, str(binding.get("HostPort") or "0")) for port, binding in bindings]
    # The engine chooses a port for 0, and from a range such as 8000-8010.
    return [(port, host_port) for port, host_port in ports if host_port != "0" and "-" not in host_port]


def _obstacles(container: InspectedContainer) -> list[str]:
    host = container.host_config
    mode = str(host.get("NetworkMode", ""))
    checks = (
        *((True, f"publishes the fixed host port {host_port} (for {port})") for port, host_port in fixed_ports(host)),
        (mode == "host", "uses the host's network"),
        (mode.startswith("container:"), "shares another container's network"),
        (has_static_address(container.raw), "has a static IP address"),
        ((container.raw.get("Config") or {}).get("MacAddress"), "has a MAC address of its own"),
    )
    return [f"{container.name} {obstacle}" for applies, obstacle in checks if applies]


def _risks(container: InspectedContainer) -> list[str]:
    host = container.host_config
    mounts = [mount for mount in container.raw.get("Mounts") or () if mount.get("RW", True)]
    shared = sorted(mount["Destination"] for mount in mounts if mount.get("Type") in ("bind", "volume", "npipe"))
    checks = (
        *((True, f"writes to {destination}, which both would share") for destination in shared),
        (host.get("Devices") or host.get("DeviceRequests"), "uses a device of the host"),
        (
            not without_default_bridge(endpoint_settings(container.raw)),
            "is in no network in which others find it by name",
        ),
    )
    return [f"{container.name} {risk}" for applies, risk in checks if applies]
