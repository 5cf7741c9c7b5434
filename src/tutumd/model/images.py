"""Images: what a service runs, what it ran before, and the image that a rollback requests."""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from datetime import datetime
from enum import StrEnum


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
    platform: str = ""
    seal: str = ""


def read_wanted(document: object) -> WantedImage:
    """Return the image of a stored document. A document of another shape names no image."""
    given = document if isinstance(document, Mapping) else {}
    known = {each.name: given[each.name] for each in fields(WantedImage) if each.name in given}
    return WantedImage(**{"number": 0, **known})
