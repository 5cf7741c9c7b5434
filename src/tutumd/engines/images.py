"""Image references: registry, repository, tag and digest, parsed as the Docker Engine does it."""

import re
from dataclasses import dataclass, replace

from tutumd.errors import EngineRefusedError
from tutumd.model import TAG
from tutumd.reasons import ReasonCode

DOCKER_HUB = "docker.io"
# Podman's registry for an image that was built or loaded under a name without a registry.
NO_REGISTRY = "localhost"
_DIGEST = re.compile(r"[a-z0-9]+(?:[.+_-][a-z0-9]+)*:[0-9a-fA-F]{32,}")
_PATH = re.compile(r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*(?:/[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*)*")
_NOT_FOUND = re.compile(r"not found|unknown|no such image|does not exist", re.IGNORECASE)
_HEX = re.compile(r"[0-9a-f]{4,64}")


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

    def same_repository(self, other: "ImageReference") -> bool:
        """Return True if both name the same repository."""
        return (self.registry, self.path) == (other.registry, other.path)


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
    return bool(_HEX.fullmatch(bare)) and image_id.removeprefix("sha256:").startswith(bare)


def _host_and_path(text: str) -> tuple[str, str]:
    # distribution/reference normalize.go: the first component is a host only if it has a dot or a colon, or is
    # `localhost`.
    first, slash, rest = text.partition("/")
    if slash and ("." in first or ":" in first or first == "localhost" or first.lower() != first):
        return (DOCKER_HUB if first == "index.docker.io" else first), rest
    return DOCKER_HUB, text
