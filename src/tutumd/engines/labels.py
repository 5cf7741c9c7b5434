"""Labels of services and names of images, which all engines of containers read alike."""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any

from tutumd.errors import EngineRefusedError, ReasonCode
from tutumd.model import TAG, WantedImage

DOCKER_HUB = "docker.io"
# Podman's registry for an image that was built or loaded under a name without a registry.
NO_REGISTRY = "localhost"
_DIGEST = re.compile(r"[a-z0-9]+(?:[.+_-][a-z0-9]+)*:[0-9a-fA-F]{32,}")
_PATH = re.compile(r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*(?:/[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*)*")
_NOT_FOUND = re.compile(r"not found|unknown|no such image|does not exist", re.IGNORECASE)


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageReference:
    """The name of an image.

    Attributes:
        registry: Host with port; `docker.io` if the name has none.
        path: Path in the registry; on Docker Hub, with `library/` if the name has no user.
    """

    registry: str
    path: str
    tag: str | None = None
    digest: str | None = None

    @property
    def repository(self) -> str:
        """The repository as the engine writes it: `nginx`, `me/app`, `host:5000/app`."""
        if self.registry == DOCKER_HUB:
            bare = self.path.removeprefix("library/")
            name = self.path if "/" in bare else bare
            if _host_and_path(name)[0] == DOCKER_HUB:
                return name
        return f"{self.registry}/{self.path}"

    @property
    def name(self) -> str:
        """The whole name as the engine writes it; with `:latest` if there is neither tag nor digest."""
        tag = self.tag or ("" if self.digest else "latest")
        return self.repository + (f":{tag}" if tag else "") + (f"@{self.digest}" if self.digest else "")

    def with_digest(self, digest: str | None) -> "ImageReference":
        """Return the same repository and tag with another digest, or with none."""
        return replace(self, digest=digest)


def pull_code(error: str) -> ReasonCode:
    """Return the code of an engine's error about an image that cannot be pulled. The words are those of registries."""
    return ReasonCode.IMAGE_NOT_FOUND if _NOT_FOUND.search(error) else ReasonCode.PULL_FAILED


def parse_reference(text: str) -> ImageReference:
    """Parse the name of an image. A colon that is followed by a slash is a port, never a tag.

    Raises:
        EngineRefusedError: It is an image ID, which names no repository, or no name at all.
    """
    if re.fullmatch(r"(?:sha256:)?[0-9a-f]{64}", text):
        raise EngineRefusedError(
            f"the image is given by its ID, {text}, which belongs to no repository, so there is nothing to pull: "
            "create the service from a name such as repository:tag"
        )
    rest, at, digest = text.partition("@")
    host, path = _host_and_path(rest)
    path, colon, tag = path.partition(":")
    if host == DOCKER_HUB and "/" not in path:
        path = f"library/{path}"
    if not _PATH.fullmatch(path) or (colon and not TAG.fullmatch(tag)) or (at and not _DIGEST.fullmatch(digest)):
        raise EngineRefusedError(f"an image must be named as [host[:port]/]repository[:tag][@digest], got {text!r}")
    return ImageReference(registry=host, path=path, tag=tag or None, digest=digest or None)


def names_image_by_id(text: str, image_id: str) -> bool:
    """Return True if a container was created with `text`, a full or shortened ID of its image, as the image's name."""
    bare = text.removeprefix("sha256:")
    return bool(re.fullmatch("[0-9a-f]{4,64}", bare)) and image_id.removeprefix("sha256:").startswith(bare)


def _host_and_path(text: str) -> tuple[str, str]:
    # distribution/reference normalize.go: the first component is a host only if it has a dot or a colon, or is
    # `localhost`.
    first, slash, rest = text.partition("/")
    if slash and ("." in first or ":" in first or first == "localhost" or first.lower() != first):
        return (DOCKER_HUB if first == "index.docker.io" else first), rest
    return DOCKER_HUB, text


# A read-only object of an engine's JSON.
Json = Mapping[str, Any]

OWNER = "tutum.owner"
SERVICE = "tutum.service"
IGNORE = "tutum.ignore"
ORDER = "tutum.redeploy.order"
TIMEOUT = "tutum.redeploy.timeout"
STALL = "tutum.redeploy.stall"
STABLE = "tutum.redeploy.stable"
DRAIN = "tutum.redeploy.drain"
SKIP_UNCHANGED = "tutum.redeploy.skip-unchanged"
KEEP_IMAGES = "tutum.redeploy.keep-images"
MAX_CONTAINERS = "tutum.scale.max"
AUTOSCALER = "tutum.scale.hpa"
# For calls of groups: the stack, and the services of the stack that come first.
STACK = "tutum.stack"
AFTER = "tutum.after"
# Written by tutumd: the action that created a container, the time limit of that action in seconds by its server's
# settings, the installation of that action, and the number of containers that a stopped service had.
ACTION = "tutum.action"
ACTION_TIMEOUT = "tutum.action.timeout"
INSTALLATION = "tutum.installation"
STOPPED_REPLICAS = "tutum.stopped.replicas"
# Written by tutumd: the image name that results from the tag of a call. It counts while that image is the service's.
IMAGE_TAGGED = "tutum.image.tagged"
# Written by tutumd on clusters: the image name that a rollback has set, a space, and the name before the rollback. It
# counts while the first name is the service's.
IMAGE_ROLLED_BACK = "tutum.image.rolled-back"
# Written by tutumd beside `IMAGE_TAGGED`, on docker: the previous image name.
IMAGE_BASE = "tutum.image.base"

_PREFIX = "tutum."
_KNOWN = {
    OWNER,
    SERVICE,
    IGNORE,
    ORDER,
    TIMEOUT,
    STALL,
    STABLE,
    DRAIN,
    SKIP_UNCHANGED,
    KEEP_IMAGES,
    MAX_CONTAINERS,
    AUTOSCALER,
    STACK,
    AFTER,
    ACTION,
    ACTION_TIMEOUT,
    INSTALLATION,
    STOPPED_REPLICAS,
    IMAGE_TAGGED,
    IMAGE_BASE,
    IMAGE_ROLLED_BACK,
}
_WRITTEN = {ACTION, ACTION_TIMEOUT, INSTALLATION, STOPPED_REPLICAS, IMAGE_TAGGED, IMAGE_BASE, IMAGE_ROLLED_BACK}
_MAX_SHOWN = 200
_MAX_NAMES = 50


class Order(StrEnum):
    """Whether a new container starts before or after the old container stops."""

    AUTO = "auto"
    START_FIRST = "start-first"
    STOP_FIRST = "stop-first"


@dataclass(frozen=True, slots=True, kw_only=True)
class ServiceLabels:
    """The configuration in a service's labels. An invalid value counts as absent and is reported in `problems`.

    Attributes:
        timeout_s: Maximum duration of a redeploy in seconds; None means the server's setting.
        stall_s: Maximum time of a redeploy without progress in seconds; None means the server's setting.
        stable_s: Seconds that a new container without a health check must run; None means the server's setting.
        drain_s: Seconds that an old container stays after its successor is reachable, for clients that still use its
            address; 0 means that it is not kept. None means the server's setting.
        skip_unchanged: Whether a redeploy without a newer image does nothing.
        keep_images: Number of superseded images of the repository to keep, in addition to the current and the previous
            image.
        service_cap: Maximum number of containers of the service; None means the server's cap.
        raise_min: On Kubernetes, whether scaling raises the minimum of an autoscaler.
        problems: Sentences for people.
    """

    order: Order = Order.AUTO
    timeout_s: float | None = None
    stall_s: float | None = None
    stable_s: float | None = None
    drain_s: float | None = None
    skip_unchanged: bool = False
    keep_images: int = 0
    service_cap: int | None = None
    raise_min: bool = False
    problems: tuple[str, ...] = ()

    def limits(self, least_stall_s: float, *, is_pulling: bool = False) -> dict[str, Any]:
        """Return the arguments of `Run.set_limits` for an action on the service."""
        return {
            "timeout_s": self.timeout_s,
            "stall_s": self.stall_s,
            "least_stall_s": least_stall_s,
            "is_pulling": is_pulling,
        }


def parse_labels(containers: Sequence[Mapping[str, str]]) -> ServiceLabels:
    """Return the configuration in a service's labels.

    Args:
        containers: The labels of each container, without those inherited from an image. A label whose value differs
            between containers is invalid.
    """
    problems: list[str] = []
    values: dict[str, Any] = {}
    for name, field, pattern, convert, expected in _FIELDS:
        given = sorted({labels[name] for labels in containers if name in labels})
        if len(given) > 1:
            problems.append(f"the label {name} differs between its containers ({', '.join(given)}) and is not used")
        elif given:
            text = given[0].strip().lower()
            if re.fullmatch(pattern, text):
                values[field] = convert(text)
            else:
                problems.append(f"the label {name} must be {expected}, got {given[0][:40]!r}: it is not used")
    names = {name for labels in containers for name in labels if name.startswith(_PREFIX)}
    problems += [f"the label {name[:60]} is unknown and not used" for name in sorted(names - _KNOWN)]
    return ServiceLabels(**values, problems=tuple(problems))


def describe_skip(digest: str | None) -> str:
    """Return the reason of a redeploy that does nothing. None: the digest is unknown, or nothing runs."""
    return f"Skipped: {digest[:19]} is already running" if digest else "Skipped: the image has not changed"


def found_settings(containers: Sequence[Mapping[str, str]]) -> tuple[tuple[str, str], ...]:
    """Return the labels that configure a service, by name, with their original values.

    Args:
        containers: As in `parse_labels`. Values that differ between containers are joined.
    """
    names = sorted({name for labels in containers for name in labels if name in _KNOWN - _WRITTEN})
    values = {name: sorted({labels[name] for labels in containers if name in labels}) for name in names}
    return tuple((name, ", ".join(found)[:_MAX_SHOWN]) for name, found in values.items())


def group_facts(labels: Mapping[str, str]) -> dict[str, Any]:
    """Return `ServiceFacts.part_of` and `after` of a service. `tutum.after` replaces the dependencies of Compose."""
    # Compose: NAME:CONDITION:RESTART for each dependency, separated by commas (docker/compose, pkg/compose/create.go).
    after = labels.get(AFTER, re.sub(":[^,]*", "", labels.get("com.docker.compose.depends_on", "")))
    names = dict.fromkeys(filter(None, (name.strip()[:255] for name in after.split(","))))
    return {"part_of": labels.get(STACK, "").strip(), "after": tuple(names)[:_MAX_NAMES]}


def written_number(labels: Mapping[str, str], name: str) -> int:
    """Return the number in a label that tutumd has written; 0 if there is none."""
    text = labels.get(name, "")
    return int(text) if re.fullmatch("[0-9]{1,8}", text) else 0


def describe_lasting_tag(labels: Mapping[str, str], image: str) -> tuple[str, ...]:
    """Return a note that a redeploy without a tag keeps an image, if an earlier call set it in the definition."""
    return (
        (f"without a tag, it stays at {image}, which the tag of an earlier call chose",)
        if labels.get(IMAGE_TAGGED) == image
        else ()
    )


def original_image(labels: Mapping[str, str | None], image: str) -> str:
    """Return the image name to which the next redeploy returns: `image`, or the name that a rollback replaced by it."""
    rolled_back, _, original = (labels.get(IMAGE_ROLLED_BACK) or "").partition(" ")
    return original if rolled_back == image else image


def rollback_image(original: str, wanted: WantedImage) -> str:
    """Return the image name of a rollback: the service's own repository and tag, with the wanted digest.

    Raises:
        EngineRefusedError: The wanted image has no digest.
    """
    if not wanted.digest:
        raise EngineRefusedError(
            f"the image #{wanted.number} has no digest of a registry, so the nodes could not pull it: "
            "the service was left as it is"
        )
    return f"{original.partition('@')[0]}@{wanted.digest}"


def is_true(value: str | None) -> bool:
    """Return whether a label's value means "on"."""
    return (value or "").strip().lower() in ("true", "1", "yes", "on")


_NUMBER = "[0-9]{1,5}"
_DECIMALS = r"(\.[0-9]{1,3})?"
_NOT_ZERO = r"(?!0+(\.|$))"
_FIELDS: tuple[tuple[str, str, str, Callable[[str], object], str], ...] = (
    (ORDER, "order", "start-first|stop-first|auto", Order, "start-first, stop-first or auto"),
    (TIMEOUT, "timeout_s", _NOT_ZERO + _NUMBER + _DECIMALS, float, "seconds, 1 to 99999"),
    (STALL, "stall_s", _NOT_ZERO + _NUMBER + _DECIMALS, float, "seconds, 1 to 99999"),
    (STABLE, "stable_s", _NUMBER + _DECIMALS, float, "seconds, 0 to 99999"),
    (DRAIN, "drain_s", _NUMBER + _DECIMALS, float, "seconds, 0 to 99999"),
    (SKIP_UNCHANGED, "skip_unchanged", "true|1|yes|on|false|0|no|off|", is_true, "true or false"),
    (KEEP_IMAGES, "keep_images", _NUMBER, int, "a number, 0 to 99999"),
    (MAX_CONTAINERS, "service_cap", _NOT_ZERO + _NUMBER, int, "a number, 1 to 99999"),
    (AUTOSCALER, "raise_min", "raise-min", bool, "raise-min"),
)


def own_labels(labels: Mapping[str, str] | None, image_labels: Mapping[str, str] | None) -> dict[str, str]:
    """Return the labels without the `tutum.*` labels of the image: an image must not choose its owner."""
    inherited = image_labels or {}
    return {
        name: value
        for name, value in (labels or {}).items()
        if not (name.startswith(_PREFIX) and inherited.get(name) == value)
    }


def owner_of(containers: Sequence[Mapping[str, str]]) -> tuple[str | None, tuple[str, ...]]:
    """Return the owner named by the labels of a service's containers, and warnings about the owner.

    Args:
        containers: The labels of each container, without those inherited from the image.
    """
    owners = sorted({labels[OWNER] for labels in containers if labels.get(OWNER)})
    if len(owners) > 1:
        return None, (f"the label {OWNER} names several owners ({', '.join(owners)}): the first admin owns it",)
    return (owners[0] if owners else None), ()
