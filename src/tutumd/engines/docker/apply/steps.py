"""Steps of a swap, each decided from the current state alone, so that a swap can resume at any step."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from functools import partial
from typing import Any

from tutumd.engines.docker.look.containers import InspectedContainer
from tutumd.engines.docker.look.readiness import ActionContext
from tutumd.engines.docker.look.services import next_name, prev_name
from tutumd.engines.docker.plan.config import without_aliases, without_default_bridge
from tutumd.engines.docker.plan.journal import Swap, SwapStep
from tutumd.engines.rollout import unfinished
from tutumd.errors import EngineRefusedError

# Restart policy of a parked container, so that a restart of the engine does not start both.
NO_RESTART: Mapping[str, Any] = {"Name": "no", "MaximumRetryCount": 0}


def forward_step(
    swap: Swap, run_id: str, old: InspectedContainer | None, new: InspectedContainer | None
) -> SwapStep | None:
    """Return the next step towards the new container; None if the container only has to become ready."""
    if new is None:
        return None
    if swap.start_first:
        return SwapStep(verb="start", container=new.id) if new.started is None else None
    if step := park_step(old):
        return step
    if old is not None and old.name == swap.name:
        return SwapStep(verb="rename", container=old.id, name=prev_name(swap.name, run_id))
    if new.name != swap.name:
        return SwapStep(verb="rename", container=new.id, name=swap.name)
    if swap.run and new.started is None:
        return SwapStep(verb="start", container=new.id)
    return None


def park_step(old: InspectedContainer | None) -> SwapStep | None:
    """Return the next step to stop an old container permanently; None if it is done."""
    if old is not None and auto_restarts(old.policy):
        return SwapStep(verb="policy", container=old.id, policy=NO_RESTART)
    if old is not None and old.is_active:
        return SwapStep(verb="stop", container=old.id)
    return None


def attach_steps(swap: Swap) -> Iterator[SwapStep]:
    """Yield the steps after which clients find both containers by name and aliases.

    All steps can be repeated from the first step on. The new container also gets the name as an alias. Otherwise, no
    container would have the name between the two renames, and proxies cache that.
    """
    for network, endpoint in sorted(without_default_bridge(swap.endpoints).items()):
        aliases = list(dict.fromkeys([*(endpoint.get("Aliases") or ()), swap.name]))
        yield SwapStep(verb="disconnect", container=swap.new, network=network)
        yield SwapStep(verb="connect", container=swap.new, network=network, endpoint={**endpoint, "Aliases": aliases})


def detach_step(
    swap: Swap, run_id: str, old: InspectedContainer | None, new: InspectedContainer | None, *, in_swarm: bool
) -> SwapStep | None:
    """Return the next step to hide an old container from clients; None if it is hidden.

    Args:
        in_swarm: A container keeps the name that it had when it was connected, so that a rename does not hide it.
    """
    if old is not None and old.name == swap.name:
        for network in _reachable_networks(old, without_default_bridge(swap.endpoints) if in_swarm else _aliased(swap)):
            return SwapStep(verb="disconnect", container=old.id, network=network)
        return SwapStep(verb="rename", container=old.id, name=prev_name(swap.name, run_id))
    if new is not None and new.name != swap.name:
        return SwapStep(verb="rename", container=new.id, name=swap.name)
    return None


def reattach_steps(
    swap: Swap, before: InspectedContainer | None, after: InspectedContainer | None
) -> Iterator[SwapStep]:
    """Return the steps that reconnect an old container, without aliases, to the networks that it was detached from.

    With the same address, its open connections survive.

    Args:
        before, after: The old container before and after it was detached.
    """
    if before is None or after is None or not after.is_active or after.name == swap.name:
        return
    assigned, connected = _networks(before), _networks(after)
    for network, endpoint in sorted(without_aliases(_aliased(swap)).items()):
        address = {
            field: assigned[network][source]
            for field, source in (("IPv4Address", "IPAddress"), ("IPv6Address", "GlobalIPv6Address"))
            if assigned.get(network, {}).get(source)
        }
        if network not in connected:
            yield SwapStep(
                verb="connect", container=after.id, network=network, endpoint={**endpoint, "IPAMConfig": address}
            )


def backward_step(
    swap: Swap, run_id: str, old: InspectedContainer | None, new: InspectedContainer | None
) -> SwapStep | None:
    """Return the next step back to the old container; None if it is restored.

    If both may run, the new container is stopped only after clients find the old container again. If somebody else
    removed the old container, the new one stays, because nothing else is left.
    """
    if old is None:
        return None
    if new is not None:
        if new.is_active and not swap.start_first:
            return SwapStep(verb="stop", container=new.id)
        if new.name == swap.name:
            return SwapStep(verb="rename", container=new.id, name=next_name(swap.name, run_id))
    if old.name != swap.name:
        return SwapStep(verb="rename", container=old.id, name=swap.name)
    for step in reconnect_steps(old, swap.endpoints):
        return step
    if any((old.policy.get(name) or none) != (swap.policy.get(name) or none) for name, none in NO_RESTART.items()):
        return SwapStep(verb="policy", container=old.id, policy=swap.policy)
    if swap.ran and not old.is_active:
        return SwapStep(verb="start", container=old.id)
    if swap.paused and old.status == "running":
        return SwapStep(verb="pause", container=old.id)
    if new is not None:
        return SwapStep(verb="stop" if new.is_active else "remove", container=new.id)
    return None


def reconnect_steps(container: InspectedContainer, endpoints: Mapping[str, Any]) -> Iterator[SwapStep]:
    """Return the steps that connect a container to the networks in which the container or one of its aliases is
    missing.
    """
    connected = _networks(container)
    for network, endpoint in sorted(endpoints.items()):
        if network in connected:
            if set(endpoint.get("Aliases") or ()) <= set(connected[network].get("Aliases") or ()):
                continue
            yield SwapStep(verb="disconnect", container=container.id, network=network)
        yield SwapStep(verb="connect", container=container.id, network=network, endpoint=endpoint)


def auto_restarts(policy: Mapping[str, Any]) -> bool:
    """Return True if the engine restarts containers with this policy."""
    return policy.get("Name") not in (None, "", "no")


def _networks(container: InspectedContainer) -> dict[str, Any]:
    networks: Mapping[str, Any] = (container.raw.get("NetworkSettings") or {}).get("Networks") or {}
    return {network: endpoint or {} for network, endpoint in networks.items()}


def _reachable_networks(container: InspectedContainer, endpoints: Mapping[str, Any]) -> Iterator[str]:
    """Return the given networks in which a container has one of its aliases, or needs none to be found."""
    for network, endpoint in sorted(_networks(container).items()):
        aliases = set((endpoints.get(network) or {}).get("Aliases") or ())
        if network in endpoints and (not aliases or aliases & set(endpoint.get("Aliases") or ())):
            yield network


def _aliased(swap: Swap) -> dict[str, Any]:
    return {
        network: endpoint
        for network, endpoint in without_default_bridge(swap.endpoints).items()
        if endpoint.get("Aliases")
    }


SETTLE_TRIES = 50
SETTLE_PAUSE_S = 0.2
_MAX_STEPS = 20

Decide = Callable[[Swap, str, InspectedContainer | None, InspectedContainer | None], SwapStep | None]


def advance(
    context: ActionContext, decide: Decide, swap: Swap, *, until_deadline: bool = False
) -> InspectedContainer | None:
    """Apply one step after another until `decide` returns None. Return the new container.

    Args:
        until_deadline: Begin no step after a limit of the run is exceeded.

    Raises:
        EngineRefusedError: The engine refuses a step, the steps do not end, or a limit of the run is exceeded.
    """
    # The process may have been killed before it could save the ID of the new container.
    reference = swap.new or next_name(swap.name, context.run_id)
    new, old = context.api.container(reference), inspect_old(context, swap)
    for _ in range(_MAX_STEPS + 2 * len(swap.endpoints)):  # disconnect and connect
        step = decide(swap, context.run_id, old, new)
        if step is None:
            return new
        if until_deadline and context.run.remaining_s() <= 0:
            raise EngineRefusedError(unfinished(context.run, "it was not started"))
        context.api.apply(step, context.run)
        # Start-first, the step changed only its own container; the other one keeps running.
        is_old, is_new = (each is not None and each.id == step.container for each in (old, new))
        if is_new or not swap.start_first:
            new = context.api.container(reference)
        if is_old or not swap.start_first:
            old = inspect_old(context, swap)
    raise EngineRefusedError(f"{swap.name} does not settle: something else keeps changing its containers")


def inspect_old(context: ActionContext, swap: Swap) -> InspectedContainer | None:
    """Inspect the old container, or its spare if the stop deleted it."""
    old = context.api.container(swap.old)
    for _ in range(SETTLE_TRIES):
        if not swap.spare or old is None or old.is_active:
            break
        # The engine is about to delete it.
        context.run.sleep(SETTLE_PAUSE_S)
        old = context.api.container(swap.old)
    return context.api.container(swap.spare) if old is None and swap.spare else old


def other_holder(context: ActionContext, swap: Swap) -> InspectedContainer | None:
    """Return a container outside the swap that has the swap's name; None if there is none."""
    holder = context.api.container(swap.name)
    is_other = holder is not None and holder.name == swap.name and holder.id not in (swap.old, swap.new, swap.spare)
    return holder if is_other else None


def park(context: ActionContext, swap: Swap) -> None:
    """Stop the old container so that nothing starts it again."""
    while (step := park_step(context.api.container(swap.old))) is not None:
        context.api.apply(step, context.run)


def hide(context: ActionContext, swap: Swap) -> None:
    """Remove the names of an old container, and reconnect it so that open connections survive."""
    before = context.api.container(swap.old)
    advance(context, partial(detach_step, in_swarm=context.api.facts().in_swarm), swap)
    # Podman assigns another address each time, so the connections are lost in any case.
    if not context.api.client.is_podman:
        for step in reattach_steps(swap, before, context.api.container(swap.old)):
            _reattach(context, step)


def _reattach(context: ActionContext, step: SwapStep) -> None:
    """Connect an old container with its address if the engine allows that, otherwise with another address.

    Engine API NetworkConnect: an address can be chosen only in a network that was created with a subnet. Otherwise the
    engine mostly assigns the lowest free address, which is the same address again.
    """
    try:
        context.api.apply(step, context.run)
    except EngineRefusedError:
        any_address = replace(step, endpoint={**(step.endpoint or {}), "IPAMConfig": {}})
        try:
            context.api.apply(any_address, context.run)
        except EngineRefusedError as error:
            context.run.log(f"open connections of the old container are cut: {error}")
