"""Swaps of a redeploy, the steps of a swap, and the journal with which a later process finishes the redeploy or rolls
it back.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from tutumd.ports import LOST_JOURNAL


@dataclass(frozen=True, slots=True, kw_only=True)
class Swap:
    """The replacement of one container.

    Attributes:
        name: Name of the old container, and later of the new one.
        old, new: IDs. `new` is empty until the container is created; the container of a dependent is created last.
        spare: ID of a copy of the old container, which can replace it, because stopping a `--rm` container deletes it.
        image: Name of the new container's image.
        start_first: Whether the new container is started while the old container still runs.
        endpoints: Network settings of the old container, with the aliases that a start-first replacement gets later.
        dependence: Why it is replaced although it belongs to another service, as a phrase that follows its name.
        run: Whether the new container is started: the old container ran, or had failed.
        ran: Whether the old container ran, and must run again after a rollback.
        paused: Whether the old container was paused, and the new container must be.
        auto_remove: Whether both were started with `--rm`: the engine deletes each when it ends.
        policy: The old container's restart policy, which is off while the container is parked.
    """

    name: str
    old: str
    image: str
    run: bool
    ran: bool
    paused: bool
    policy: Mapping[str, Any]
    new: str = ""
    spare: str = ""
    start_first: bool = False
    endpoints: Mapping[str, Any] = field(default_factory=dict)
    dependence: str = ""
    auto_remove: bool = False

    @property
    def follows(self) -> bool:
        """Whether the container depends on a container of the service, and is re-created after it."""
        return bool(self.dependence)

    @property
    def needs_spare(self) -> bool:
        """Whether a copy of the old container is created first, because a stop deletes it."""
        return self.auto_remove and self.ran and not self.start_first


@dataclass(frozen=True, slots=True, kw_only=True)
class SwapStep:
    """One change of one container.

    Attributes:
        verb: `policy`, `stop`, `rename`, `start`, `pause`, `unpause`, `remove`, `connect` or `disconnect`.
        name: The new name, for `rename`.
        policy: The restart policy, for `policy`.
        network, endpoint: Network and endpoint settings, for `connect` and `disconnect`.
    """

    verb: str
    container: str
    name: str = ""
    policy: Mapping[str, Any] | None = None
    network: str = ""
    endpoint: Mapping[str, Any] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class RedeployJournal:
    """Progress of a redeploy.

    Attributes:
        phase: The current phase. `pull`: nothing of the service has changed. `swap`: new containers are started.
            `join`: clients find the start-first containers. `leave`: clients no longer find the old containers.
            `commit`: the old containers are removed. Or `restore` after a failure, or `unchanged` if there was nothing
            to do.
        local: Whether a local image was used, since no registry has it.
        tagged_before: Image IDs by name before the pull, to be restored after a failure.
        images_before: IDs of the images of the old containers.
        images_tried: IDs of the images of the new containers.
        digest_before, digest_tried: Digests of the images of the service's first container, old and new.
        left_tags: Sentences about tags of earlier calls that the redeploy replaces.
        reason, reason_code, log_tail: The failure that caused `restore`.
    """

    phase: str
    local: bool = False
    tagged_before: Mapping[str, str] | None = None
    images_before: Sequence[str] = ()
    images_tried: Sequence[str] = ()
    digest_before: str | None = None
    digest_tried: str | None = None
    left_tags: Sequence[str] = ()
    swaps: tuple[Swap, ...] = ()
    reason: str = ""
    reason_code: str = ""
    log_tail: str = ""

    @property
    def own_swaps(self) -> tuple[Swap, ...]:
        """The swaps of the service's own containers."""
        return tuple(swap for swap in self.swaps if not swap.follows)


def load_journal(stored: Mapping[str, Any]) -> RedeployJournal | None:
    """Return a stored journal; None if there is none or it cannot be trusted."""
    if not stored or stored == LOST_JOURNAL:
        return None
    return RedeployJournal(**{**stored, "swaps": tuple(Swap(**swap) for swap in stored["swaps"])})
