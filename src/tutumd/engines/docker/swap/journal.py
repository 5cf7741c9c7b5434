"""What a run must remember to finish, or to put back, what a killed process began."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True, kw_only=True)
class Swap:
    """One container to be replaced.

    Attributes:
        name: What the old one is called, and the new one will be.
        old, new: IDs. `new` is empty as long as it is not made: one that follows is made when it is its turn.
        spare: ID of a copy of the old one that is put back in its stead: stopping a `--rm` container deletes it.
        image: The name of the new one's image.
        start_first: The new one is started beside the old one.
        endpoints: Settings of the old one's networks, with the aliases that a start-first one gets only late.
        follows: It belongs to another service, and only depends on a container of this one.
        run: The new one is to be started: the old one ran, or failed by itself.
        ran: The old one ran, and is to run again if it is put back.
        paused: The old one was paused, and so will the new one be.
        auto_remove: They were started with `--rm`: the engine deletes each of them when it ends.
        policy: The old one's restart policy, which is switched off while it is parked.
    """

    name: str
    old: str
    new: str
    run: bool
    ran: bool
    paused: bool
    policy: Mapping[str, Any]
    spare: str = ""
    image: str = ""
    start_first: bool = False
    endpoints: Mapping[str, Any] = field(default_factory=dict)
    follows: bool = False
    auto_remove: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Journal:
    """How far a redeploy came.

    Attributes:
        phase: `pull` (nothing of the service is touched yet), `swap` (new ones are started, in stop-first order in
            the place of the old ones), then `join` and `leave` for what is start-first (clients find the new ones, and
            then no more the old ones), `commit` or `restore`; or
            `unchanged` where there was nothing to do.
        timeout_s, stable_s, keep_images: What the service's labels ask for, None where they do not.
        local: The local image was used, because no registry knows it.
        tagged_before: ID of the image that each name meant before the pull, to be put back on failure.
        images_before: IDs of the images that the old containers ran.
        images_tried: IDs of the images that the new ones are made from.
        containers_before: IDs of the service's containers.
        reason, log_tail: Why it is being restored.
    """

    phase: str
    timeout_s: float | None = None
    stable_s: float | None = None
    keep_images: int = 0
    local: bool = False
    tagged_before: Mapping[str, str] | None = None
    images_before: Sequence[str] = ()
    images_tried: Sequence[str] = ()
    digest_before: str | None = None
    containers_before: Sequence[str] = ()
    swaps: tuple[Swap, ...] = ()
    reason: str = ""
    log_tail: str = ""

    def dump(self) -> dict[str, object]:
        """Return JSON values for `Run.save`."""
        return asdict(self)


def load(stored: Mapping[str, Any]) -> Journal | None:
    """Read a journal back; None where nothing was saved yet."""
    if not stored:
        return None
    swaps = tuple(Swap(**swap) for swap in stored["swaps"])
    return Journal(**{**stored, "swaps": swaps})
