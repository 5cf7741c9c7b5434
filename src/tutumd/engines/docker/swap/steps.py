"""The next step of a swap, decided from what is there now and nothing else, so that any step may be the first."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from tutumd.engines.docker.inspect.inspected_container import InspectedContainer
from tutumd.engines.docker.inspect.selectors import next_name, prev_name
from tutumd.engines.docker.recreate.networks import DEFAULT_BRIDGE, without_aliases
from tutumd.engines.docker.swap.journal import Swap

NEVER: Mapping[str, Any] = {"Name": "no", "MaximumRetryCount": 0}
"""The restart policy of a parked container, so that an engine's restart does not bring up both."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SwapStep:
    """One change of one container.

    Attributes:
        verb: `policy`, `stop`, `rename`, `start`, `pause`, `remove`, `connect` or `disconnect`.
        name: The new name, of a rename.
        policy: The restart policy to set.
        network, endpoint: Where to connect, and the settings there.
    """

    verb: str
    container: str
    name: str = ""
    policy: Mapping[str, Any] | None = None
    network: str = ""
    endpoint: Mapping[str, Any] | None = None


def forward(swap: Swap, run: str, old: InspectedContainer | None, new: InspectedContainer | None) -> SwapStep | None:
    """Decide the next step towards the new container; None when only waiting for it is left."""
    if new is None:
        return None
    if swap.start_first:
        return SwapStep(verb="start", container=new.id) if new.started is None else None
    if old is not None:
        if auto_restarts(old.policy):
            return SwapStep(verb="policy", container=old.id, policy=NEVER)
        if old.runs:
            return SwapStep(verb="stop", container=old.id)
        if old.name == swap.name:
            return SwapStep(verb="rename", container=old.id, name=prev_name(swap.name, run))
    if new.name != swap.name:
        return SwapStep(verb="rename", container=new.id, name=swap.name)
    if swap.run and new.started is None:
        return SwapStep(verb="start", container=new.id)
    return None


def aside(old: InspectedContainer | None) -> SwapStep | None:
    """Decide the next step towards an old container that has ended, for the sake of the one that it depends on."""
    if old is not None and auto_restarts(old.policy):
        return SwapStep(verb="policy", container=old.id, policy=NEVER)
    if old is not None and old.runs:
        return SwapStep(verb="stop", container=old.id)
    return None


def join(swap: Swap, run: str, *, renaming_reaches_names: bool) -> tuple[SwapStep, ...]:
    """Return the steps after which clients find the new container by name and aliases, beside the old one.

    To be taken from the first one on, however far an earlier process came.

    Args:
        renaming_reaches_names: Renaming a running container changes the name by which others find it. On an engine in
            Swarm mode it does not: a container is found by the name that it had when it was connected, for ever, so
            that the new one must be connected while it has its final name, and the old one disconnected while it has.
    """
    renames = (
        SwapStep(verb="rename", container=swap.old, name=prev_name(swap.name, run)),
        SwapStep(verb="rename", container=swap.new, name=swap.name),
    )
    if _has_alias_for_name(swap):
        return tuple(_reconnect(swap, _aliased(swap)))
    if renaming_reaches_names:
        return (*_reconnect(swap, _aliased(swap)), *renames)
    return (*renames, *_reconnect(swap, _named(swap)))


def leave(
    swap: Swap,
    run: str,
    old: InspectedContainer | None,
    new: InspectedContainer | None,
    *,
    renaming_reaches_names: bool,
) -> SwapStep | None:
    """Decide the next step towards an old container that no client finds; None when there is none.

    Args:
        renaming_reaches_names: As in `join`.
    """
    if old is not None:
        stuck = not (renaming_reaches_names or _has_alias_for_name(swap))
        found_in = _named(swap) if stuck or old.name == swap.name else _aliased(swap)
        for network in _findable(old, found_in):
            if stuck and new is not None and new.name == swap.name:
                return SwapStep(verb="rename", container=new.id, name=next_name(swap.name, run))
            if stuck and old.name != swap.name:
                return SwapStep(verb="rename", container=old.id, name=swap.name)
            return SwapStep(verb="disconnect", container=old.id, network=network)
        if old.name == swap.name:
            return SwapStep(verb="rename", container=old.id, name=prev_name(swap.name, run))
    if new is not None and new.name != swap.name:
        return SwapStep(verb="rename", container=new.id, name=swap.name)
    return None


def linger(swap: Swap, before: InspectedContainer | None, after: InspectedContainer | None) -> Iterator[SwapStep]:
    """Return the steps that connect an old container again where it was found by aliases, without these.

    At the same address its connections go on, which are cut otherwise.

    Args:
        before, after: The old container, before and after clients were led away from it.
    """
    if before is None or after is None or not after.runs or after.name == swap.name:
        return
    given = _networks(before)
    for network, endpoint in sorted(without_aliases(_aliased(swap)).items()):
        address = {
            field: given.get(network, {})[source]
            for field, source in (("IPv4Address", "IPAddress"), ("IPv6Address", "GlobalIPv6Address"))
            if given.get(network, {}).get(source)
        }
        if network not in _networks(after):
            yield SwapStep(
                verb="connect", container=after.id, network=network, endpoint={**endpoint, "IPAMConfig": address}
            )


def backward(
    swap: Swap,
    run: str,
    old: InspectedContainer | None,
    new: InspectedContainer | None,
    *,
    renaming_reaches_names: bool = True,
) -> SwapStep | None:
    """Decide the next step back to the old container; None when it is as it was.

    Where the old one is gone (somebody else removed it), the new one stays: it is all that is left.

    Args:
        renaming_reaches_names: As in `join`. Where both may run at once and no name sticks to the new one, that is
            stopped only after clients find the old one again.
    """
    if old is None:
        return None
    stays = swap.start_first and (renaming_reaches_names or _has_alias_for_name(swap))
    if new is not None:
        if new.runs and not stays:
            return SwapStep(verb="stop", container=new.id)
        if new.name == swap.name:
            return SwapStep(verb="rename", container=new.id, name=next_name(swap.name, run))
    if old.name != swap.name:
        return SwapStep(verb="rename", container=old.id, name=swap.name)
    for step in reconnections(old, swap.endpoints):
        return step
    if not same_policy(old.policy, swap.policy):
        return SwapStep(verb="policy", container=old.id, policy=swap.policy)
    if swap.ran and not old.runs:
        return SwapStep(verb="start", container=old.id)
    if swap.paused and old.status == "running":
        return SwapStep(verb="pause", container=old.id)
    if new is not None and new.runs:
        return SwapStep(verb="stop", container=new.id)
    if new is not None:
        return SwapStep(verb="remove", container=new.id)
    return None


def reconnections(one: InspectedContainer, endpoints: Mapping[str, Any]) -> Iterator[SwapStep]:
    """Return the steps that connect a container to those of these networks that it is not in with all its aliases."""
    present = _networks(one)
    for network, endpoint in sorted(endpoints.items()):
        if network in present:
            if set(endpoint.get("Aliases") or ()) <= set(present[network].get("Aliases") or ()):
                continue
            yield SwapStep(verb="disconnect", container=one.id, network=network)
        yield SwapStep(verb="connect", container=one.id, network=network, endpoint=endpoint)


def _networks(one: InspectedContainer) -> dict[str, Any]:
    """Return the settings of the networks that a container is in, running or not."""
    networks: Mapping[str, Any] = (one.raw.get("NetworkSettings") or {}).get("Networks") or {}
    return {network: endpoint or {} for network, endpoint in networks.items()}


def _findable(one: InspectedContainer, networks: Mapping[str, Any]) -> list[str]:
    """Return those of these networks in which a container has one of its aliases, or none to be found by."""
    return [
        network
        for network, endpoint in sorted(_networks(one).items())
        if network in networks
        and (
            not networks[network].get("Aliases")
            or set(networks[network]["Aliases"]) & set(endpoint.get("Aliases") or ())
        )
    ]


def _named(swap: Swap) -> dict[str, Any]:
    return {network: endpoint for network, endpoint in swap.endpoints.items() if network != DEFAULT_BRIDGE}


def _has_alias_for_name(swap: Swap) -> bool:
    """Tell whether the container's name is an alias as well, wherever others find it; compose sees to that."""
    return all(swap.name in (endpoint.get("Aliases") or ()) for endpoint in _named(swap).values())


def _aliased(swap: Swap) -> dict[str, Any]:
    return {network: endpoint for network, endpoint in _named(swap).items() if endpoint.get("Aliases")}


def _reconnect(swap: Swap, networks: Mapping[str, Any]) -> Iterator[SwapStep]:
    for network, endpoint in sorted(networks.items()):
        yield SwapStep(verb="disconnect", container=swap.new, network=network)
        yield SwapStep(verb="connect", container=swap.new, network=network, endpoint=endpoint)


def auto_restarts(policy: Mapping[str, Any]) -> bool:
    """Tell whether the engine would start the container again by itself."""
    return policy.get("Name") not in (None, "", "no")


def same_policy(one: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    """Tell whether two restart policies mean the same."""
    return _policy(one) == _policy(other)


def _policy(policy: Mapping[str, Any]) -> tuple[str, int]:
    return policy.get("Name") or "no", int(policy.get("MaximumRetryCount") or 0)
