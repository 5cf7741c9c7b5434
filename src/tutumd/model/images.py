"""Images: what a service runs, what it ran before, and the image that a rollback requests."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from datetime import datetime
from enum import StrEnum

from tutumd.errors import ConflictError, InvalidInputError


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageFacts:
    """An image that a service runs.

    Attributes:
        reference: Name under which the containers use it, such as `ghcr.io/me/shop:1.4`.
        digest: `sha256:…` of the manifest in the registry; empty if the image comes from no registry.
        image_id: `sha256:…` of the image on the engine's host; empty if the engine does not report it.
        platform: Such as `linux/amd64`; empty if unknown.
        version, revision: Labels `org.opencontainers.image.version` and `org.opencontainers.image.revision`.
        seal: Proof of a worker that the service ran `image_id`, needed only without `digest`.
    """

    reference: str = ""
    digest: str = ""
    image_id: str = ""
    platform: str = ""
    version: str = ""
    revision: str = ""
    seal: str = ""

    def is_same(self, other: "ImageFacts") -> bool:
        """Return whether both are the same image, whatever its name."""
        return bool(
            (self.digest and self.digest == other.digest) or (self.image_id and self.image_id == other.image_id)
        )


class Availability(StrEnum):
    """Where the image of a rollback would come from.

    LOCAL: It is on the engine's host.
    NO: It is neither there nor in the registry.
    """

    LOCAL = "local"
    REGISTRY = "registry"
    NO = "no"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True, kw_only=True)
class ServiceImage(ImageFacts):
    """A row of the image history of a service.

    Attributes:
        number: Number within the service; increases.
        previous: Number of the row to which a rollback returns; None if there is none.
        is_verified: A successful action of tutumd ran it, or discovery found it first. Changes by others are not
            verified, and are no target.
        first_success, last_success: Times at which it was first and last known to run.
        action_uuid: Action that made the row; None if there is none.
        requested_by: Who requested that action, for people.
        is_running: Whether it is the newest row.
    """

    number: int
    previous: int | None
    is_verified: bool
    first_success: datetime
    last_success: datetime
    action_uuid: str | None = None
    requested_by: str = ""
    is_running: bool = False

    @property
    def wanted(self) -> "WantedImage":
        """The image as an action or a request to a worker names it."""
        return WantedImage(**{each.name: getattr(self, each.name) for each in fields(WantedImage)})

    def __str__(self) -> str:
        return f"#{self.number} ({self.version or (self.digest or self.image_id)[:19]})"


@dataclass(frozen=True, slots=True, kw_only=True)
class WantedImage:
    """The image that a ROLLBACK requests, as its action stores it.

    Attributes:
        number: Number of its row in the history of the service.
        digest, image_id: As in `ImageFacts`. An engine uses `image_id` only if `digest` is empty.
        seal: As in `ImageFacts`.
    """

    number: int
    digest: str = ""
    image_id: str = ""
    seal: str = ""


def find_target(images: Sequence[ServiceImage], image: str | None, refusal: str) -> ServiceImage:
    """Return the image to which a rollback returns.

    Args:
        images: The image history of the service, newest first.
        image: Number or digest of a verified image; None: the `previous` of the newest.
        refusal: `rollback_refusal` of the service.

    Raises:
        InvalidInputError: There is no such image, or it is not verified.
        ConflictError: The service cannot be rolled back, has no older image, or runs this image.
    """
    if refusal:
        raise ConflictError(refusal)
    if image is None:
        target = next((each for each in images if each.number == images[0].previous), None)
        if target is None:
            raise ConflictError("there is no older version of the service in its image history")
        return target
    verified = [each for each in images if each.is_verified]
    target = next((each for each in verified if image in (str(each.number), each.digest)), None)
    if target is None:
        raise InvalidInputError(
            f"image must be the number or digest of a verified image in the service's history, got {image[:100]!r}"
        )
    if target.is_same(images[0]):
        raise ConflictError(f"the service already runs {target}")
    return target


def read_wanted(document: object) -> WantedImage:
    """Return the image of a stored document. A document of another shape names no image."""
    given = document if isinstance(document, Mapping) else {}
    known = {each.name: given[each.name] for each in fields(WantedImage) if each.name in given}
    return WantedImage(**{"number": 0, **known})


_DOCKER_HUB = "docker.io"
_HUB_HOSTS = frozenset({"index.docker.io", "registry-1.docker.io", "registry.hub.docker.com"})


def split_image(name: str) -> tuple[str, str]:
    """Return the normalized repository of an image's name, with its registry, and its tag.

    The tag is `latest` if there is neither a tag nor a digest, and empty if there is a digest only.
    """
    bare, has_digest, _ = name.partition("@")
    host, slash, path = bare.partition("/")
    if not slash or not ("." in host or ":" in host or host == "localhost"):
        host, path = _DOCKER_HUB, bare
    host = host.lower().removesuffix(":443")
    path, _, tag = path.partition(":")
    if host in _HUB_HOSTS:
        host = _DOCKER_HUB
    if host == _DOCKER_HUB and "/" not in path:
        path = f"library/{path}"
    return f"{host}/{path.lower()}", tag or ("" if has_digest else "latest")
