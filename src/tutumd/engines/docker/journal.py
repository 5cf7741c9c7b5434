"""What a run must remember to finish, or to put back, what a killed process began."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True, slots=True, kw_only=True)
class Swap:
    """One container to be replaced.

    Attributes:
        name: What the old one is called, and the new one will be.
        old, new: IDs.
        run: The new one is to be started: the old one ran, or failed by itself.
        ran: The old one ran, and is to run again if it is put back.
        paused: The old one was paused, and so will the new one be.
        policy: The old one's restart policy, which is switched off while it is parked.
    """

    name: str
    old: str
    new: str
    run: bool
    ran: bool
    paused: bool
    policy: Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Journal:
    """How far a redeploy came.

    Attributes:
        phase: `pull` (nothing of the service is touched yet), `swap`, `commit` or `restore`.
        local: The local image was used, because no registry knows it.
        tagged_before: ID of the image that each name meant before the pull, to be put back on failure.
        images_before: IDs of the images that the old containers ran.
        images_tried: IDs of the images that the new ones are made from.
        reason, log_tail: Why it is being restored.
    """

    phase: str
    local: bool = False
    tagged_before: Mapping[str, str] | None = None
    images_before: Sequence[str] = ()
    images_tried: Sequence[str] = ()
    digest_before: str | None = None
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
