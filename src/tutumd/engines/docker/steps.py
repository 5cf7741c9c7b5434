"""The next step of a swap, decided from what is there now and nothing else, so that any step may be the first."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from tutumd.engines.docker.journal import Swap
from tutumd.engines.docker.seen import Seen
from tutumd.engines.docker.selectors import next_name, prev_name

NEVER: Mapping[str, Any] = {"Name": "no", "MaximumRetryCount": 0}
"""The restart policy of a parked container, so that an engine's restart does not bring up both."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One change of one container.

    Attributes:
        verb: `policy`, `stop`, `rename`, `start`, `pause` or `remove`.
        name: The new name, of a rename.
        policy: The restart policy to set.
    """

    verb: str
    container: str
    name: str = ""
    policy: Mapping[str, Any] | None = None


def forward(swap: Swap, run: str, old: Seen | None, new: Seen | None) -> Step | None:
    """Decide the next step towards the new container; None when only waiting for it is left."""
    if new is None:
        return None
    if old is not None:
        if revives(old.policy):
            return Step(verb="policy", container=old.id, policy=NEVER)
        if old.runs:
            return Step(verb="stop", container=old.id)
        if old.name == swap.name:
            return Step(verb="rename", container=old.id, name=prev_name(swap.name, run))
    if new.name != swap.name:
        return Step(verb="rename", container=new.id, name=swap.name)
    if swap.run and new.started is None:
        return Step(verb="start", container=new.id)
    return None


def backward(swap: Swap, run: str, old: Seen | None, new: Seen | None) -> Step | None:
    """Decide the next step back to the old container; None when it is as it was.

    Where the old one is gone (somebody else removed it), the new one stays: it is all that is left.
    """
    if old is None:
        return None
    if new is not None:
        if new.runs:
            return Step(verb="stop", container=new.id)
        if new.name == swap.name:
            return Step(verb="rename", container=new.id, name=next_name(swap.name, run))
    if old.name != swap.name:
        return Step(verb="rename", container=old.id, name=swap.name)
    if not same_policy(old.policy, swap.policy):
        return Step(verb="policy", container=old.id, policy=swap.policy)
    if swap.ran and not old.runs:
        return Step(verb="start", container=old.id)
    if swap.paused and old.status == "running":
        return Step(verb="pause", container=old.id)
    if new is not None:
        return Step(verb="remove", container=new.id)
    return None


def revives(policy: Mapping[str, Any]) -> bool:
    """Tell whether the engine would start the container again by itself."""
    return policy.get("Name") not in (None, "", "no")


def same_policy(one: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    """Tell whether two restart policies mean the same."""
    return _policy(one) == _policy(other)


def _policy(policy: Mapping[str, Any]) -> tuple[str, int]:
    return policy.get("Name") or "no", int(policy.get("MaximumRetryCount") or 0)
