"""Labels that mean something to us: the same names on every engine (Kubernetes: annotations)."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

Json = Mapping[str, Any]
"""An object of the engine's own JSON, not to be changed."""

OWNER = "tutum.owner"
SERVICE = "tutum.service"
IGNORE = "tutum.ignore"
ORDER = "tutum.redeploy.order"
TIMEOUT = "tutum.redeploy.timeout"
STABLE = "tutum.redeploy.stable"
SKIP_UNCHANGED = "tutum.redeploy.skip-unchanged"
KEEP_IMAGES = "tutum.redeploy.keep-images"
MAX_CONTAINERS = "tutum.scale.max"
AUTOSCALER = "tutum.scale.hpa"
STOPPED_REPLICAS = "tutum.stopped.replicas"
"""Ours: how many containers a service had when it was stopped."""

_OURS = "tutum."
_KNOWN = (
    OWNER,
    SERVICE,
    IGNORE,
    ORDER,
    TIMEOUT,
    STABLE,
    SKIP_UNCHANGED,
    KEEP_IMAGES,
    MAX_CONTAINERS,
    AUTOSCALER,
    STOPPED_REPLICAS,
)
_TRUE, _FALSE = ("true", "1", "yes", "on"), ("false", "0", "no", "off", "")
_SECONDS = re.compile(r"[0-9]{1,5}(\.[0-9]{1,3})?", re.ASCII)
_NUMBER = re.compile(r"[0-9]{1,5}", re.ASCII)


class Order(StrEnum):
    """Whether a new container comes before the old one goes."""

    AUTO = "auto"
    START_FIRST = "start-first"
    STOP_FIRST = "stop-first"


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """What a service's labels ask for. A bad value counts as absent, and is told in `problems`.

    Attributes:
        timeout_s: Seconds that one redeploy may take; None means the worker's own.
        stable_s: Seconds that a new container without a health check must run; None means the engine's own.
        skip_unchanged: A redeploy that finds no newer image does nothing.
        keep_images: How many superseded images of the service's repository stay, beside the one in use and the one
            before it.
        service_cap: The most that the service may be scaled to; None means the server's own.
        raise_min: Where an autoscaler of Kubernetes sets the number, scaling raises its minimum.
        problems: Sentences for people.
    """

    order: Order = Order.AUTO
    timeout_s: float | None = None
    stable_s: float | None = None
    skip_unchanged: bool = False
    keep_images: int = 0
    service_cap: int | None = None
    raise_min: bool = False
    problems: tuple[str, ...] = ()


def read_wanted(labels: Sequence[Mapping[str, str]]) -> Wanted:
    """Read the labels of a service's containers, without those inherited from an image.

    Where containers of one service differ, the value is bad.
    """
    problems: list[str] = []
    values: dict[str, Any] = {}
    for name, field, parse, wanted in _FIELDS:
        given = sorted({one[name] for one in labels if name in one})
        if len(given) > 1:
            problems.append(f"the label {name} differs between its containers ({', '.join(given)}) and is not used")
        elif given:
            value = parse(given[0].strip().lower())
            if value is None:
                problems.append(f"the label {name} must be {wanted}, got {given[0][:40]!r}: it is not used")
            else:
                values[field] = value
    unknown = sorted({name for one in labels for name in one if name.startswith(_OURS) and name not in _KNOWN})
    problems += [f"the label {name[:60]} is unknown and not used" for name in unknown]
    return Wanted(**values, problems=tuple(problems))


def read_stopped(labels: Mapping[str, str]) -> int:
    """Read how many containers a stopped service had; 0 where nobody noted it."""
    return _number(labels.get(STOPPED_REPLICAS, "")) or 0


def _order(text: str) -> Order | None:
    return Order(text) if text in tuple(Order) else None


def _seconds(text: str) -> float | None:
    return float(text) if _SECONDS.fullmatch(text) else None


def _timeout(text: str) -> float | None:
    seconds = _seconds(text)
    return seconds if seconds and seconds >= 1 else None


def _number(text: str) -> int | None:
    return int(text) if _NUMBER.fullmatch(text) else None


def _positive(text: str) -> int | None:
    return _number(text) or None


def _switch(text: str) -> bool | None:
    if text in _TRUE:
        return True
    return False if text in _FALSE else None


def _raise_min(text: str) -> bool | None:
    return True if text == "raise-min" else None


_FIELDS = (
    (ORDER, "order", _order, "start-first, stop-first or auto"),
    (TIMEOUT, "timeout_s", _timeout, "seconds, 1 to 99999"),
    (STABLE, "stable_s", _seconds, "seconds, 0 to 99999"),
    (SKIP_UNCHANGED, "skip_unchanged", _switch, "true or false"),
    (KEEP_IMAGES, "keep_images", _number, "a number, 0 to 99999"),
    (MAX_CONTAINERS, "service_cap", _positive, "a number, 1 to 99999"),
    (AUTOSCALER, "raise_min", _raise_min, "raise-min"),
)


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
    return (value or "").strip().lower() in _TRUE
