"""The image that a rollback requests: its name, where it comes from, and whether the engine can run it."""

from tutumd.engines.docker.api import DockerApi
from tutumd.engines.docker.look.containers import platform_of
from tutumd.engines.docker.look.facts import EngineFacts, check_platform
from tutumd.engines.dockerapi.registry import find_in_registry, has_digest
from tutumd.engines.labels import Json, parse_reference
from tutumd.errors import EngineRefusedError, ReasonCode
from tutumd.model import Availability, WantedImage


def wanted_name(name: str, wanted: WantedImage, *, keeps_tag: bool = True) -> str:
    """Return the name of the image that a rollback requests: its digest in the repository of `name`, else its ID.

    Args:
        keeps_tag: Whether the name keeps its tag. Podman drops the tag of a name with a digest.

    Raises:
        EngineRefusedError: The image has a digest, but `name` has no repository.
    """
    if not wanted.digest:
        return wanted.image_id
    reference, bare = parse_reference(name), name.partition("@")[0]
    return f"{bare if keeps_tag else bare.removesuffix(f':{reference.tag}')}@{wanted.digest}"


def find_wanted(api: DockerApi, name: str) -> Json | None:
    """Return the image that the engine has under a name; None if it has none in the repository of a name by digest."""
    image = api.image(name)
    return image if "@" not in name or has_digest(image, parse_reference(name)) else None


def check_wanted(api: DockerApi, name: str, present: Json | None, wanted: WantedImage, platform: str) -> str:
    """Check, before any change, that the image of a rollback exists and can run here; return its digest or ID.

    Args:
        present: The image, if the engine has it.
        platform: The containers' platform if it differs from the engine's own.

    Raises:
        EngineRefusedError: It is gone, or is for another platform.
    """
    if present is not None:
        check_runs_here(name, present, api.facts(), platform)
    elif not wanted.digest:
        raise EngineRefusedError(
            f"image #{wanted.number} is gone from this engine, and it was never in a registry",
            ReasonCode.IMAGE_NOT_FOUND,
        )
    elif not api.facts().is_podman:
        check_platform(name, api.manifest(parse_reference(name)).platforms, api.facts(), platform)
    return wanted.digest or wanted.image_id


def check_runs_here(name: str, image: Json, facts: EngineFacts, platform: str) -> None:
    """Raise EngineRefusedError if an image on the engine is for another platform. Arguments as in `check_wanted`."""
    system, _, architecture = platform_of({}, image).partition("/")
    check_platform(name, [(system, architecture)] if architecture else (), facts, platform)


def find_availability(api: DockerApi, name: str, wanted: WantedImage) -> Availability:
    """Return where the image would come from.

    Args:
        name: Name of the image of the service.
    """
    pinned = wanted_name(name, wanted)
    if find_wanted(api, pinned) is not None:
        return Availability.LOCAL
    if not wanted.digest:
        return Availability.NO
    if api.facts().is_podman:
        return Availability.UNKNOWN
    return find_in_registry(lambda: api.manifest(parse_reference(pinned)))
