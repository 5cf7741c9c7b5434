"""Labels that mean something to us, and whose they are."""

from collections.abc import Mapping, Sequence
from typing import Any

Json = Mapping[str, Any]
"""An object of the engine's own JSON, not to be changed."""

OWNER = "tutum.owner"
SERVICE = "tutum.service"
IGNORE = "tutum.ignore"
_OURS = "tutum."


def own_labels(labels: Mapping[str, str] | None, image_labels: Mapping[str, str] | None) -> dict[str, str]:
    """Return the labels without those of `tutum.*` that came with the image: an image must not choose its owner."""
    inherited = image_labels or {}
    return {
        name: value
        for name, value in (labels or {}).items()
        if not (name.startswith(_OURS) and inherited.get(name) == value)
    }


def owner_of(labels: Sequence[Mapping[str, str]]) -> tuple[str | None, tuple[str, ...]]:
    """Return the owner that the containers of one service name, and warnings about it.

    Args:
        labels: Of each container, without those inherited from the image.
    """
    owners = sorted({one[OWNER] for one in labels if one.get(OWNER)})
    if len(owners) > 1:
        return None, (f"the label {OWNER} names several owners ({', '.join(owners)}): the first admin owns it",)
    return (owners[0] if owners else None), ()


def is_true(value: str | None) -> bool:
    """Tell whether a label's value switches something on."""
    return (value or "").strip().lower() in ("true", "1", "yes", "on")
