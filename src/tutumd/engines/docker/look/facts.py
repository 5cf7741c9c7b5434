"""Facts about an engine, and the check that the engine can run an image."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from itertools import product

from tutumd.engines.dockerapi.documents import parse_time
from tutumd.engines.labels import Json
from tutumd.errors import EngineRefusedError

_ALSO_RUNS = {"amd64": ("386",), "arm64": ("arm",)}


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineFacts:
    """Properties of an engine that decisions depend on.

    Attributes:
        host_name: Name of the machine.
        system, architecture: As registries write them: `linux`, `amd64`.
        in_swarm: Whether it is a Swarm node, where the rename of a running container does not change its name in
            networks.
        by_manifest: Whether it has the containerd image store, which identifies images by the digests of their
            manifests. In that store, every image has a digest in the repository of its name, even if it was never
            pushed. An image that loses its last name to a pull is removed, though containers run it
            (moby/moby#46866), or loses its digest (since Engine 27.2).
        now: The engine's time when it returned these facts.
    """

    host_name: str
    system: str
    architecture: str
    in_swarm: bool
    by_manifest: bool = False
    now: datetime = field(default_factory=partial(datetime.now, UTC), compare=False)


def parse_facts(info: Json, version: Json) -> EngineFacts:
    """Return the facts in the documents of Docker Engine API SystemInfo and SystemVersion."""
    return EngineFacts(
        host_name=str(info.get("Name", "")),
        system=str(version.get("Os", "")),
        architecture=str(version.get("Arch", "")),
        in_swarm=(info.get("Swarm") or {}).get("LocalNodeState") == "active",
        by_manifest=["driver-type", "io.containerd.snapshotter.v1"] in (info.get("DriverStatus") or ()),
        now=parse_time(info.get("SystemTime")) or datetime.now(UTC),
    )


def foreign_part(platform: str, engine: EngineFacts) -> str:
    """Return a platform if it differs from the engine's own, else an empty text."""
    return "" if is_same_platform(platform, f"{engine.system}/{engine.architecture}") else platform


def is_same_platform(first: str, second: str) -> bool:
    """Return whether two platforms have the same system and architecture. Few images state a variant."""
    return first.split("/")[:2] == second.split("/")[:2]


def kept_platform(platforms: Iterable[str], engine: EngineFacts) -> str:
    """Return the platform for the new containers of a service; empty if it is the engine's own.

    Args:
        platforms: Platforms of the images of its containers; empty if unknown.

    Raises:
        EngineRefusedError: The containers have several platforms, but a name refers to one image only.
    """
    kept = sorted({foreign_part(platform, engine) for platform in platforms if platform})
    if len(kept) > 1:
        raise EngineRefusedError(
            f"its containers run on several platforms ({', '.join(filter(None, kept))} and others), but an image's "
            "name refers to one of them only: give each platform a service of its own"
        )
    return "".join(kept)


def platform_note(platform: str) -> str:
    """Return a sentence for people about a platform that is kept."""
    return f"the platform {platform} is kept, which is not the engine's own"


def check_platform(name: str, platforms: Sequence[tuple[str, str]], engine: EngineFacts, kept: str = "") -> None:
    """Check that an engine can run an image. An image without known platforms passes.

    Args:
        kept: The platform of the service's containers if it differs from the engine's own.

    Raises:
        EngineRefusedError: The image is for other platforms only.
    """
    wanted = kept or f"{engine.system}/{engine.architecture}"
    usable = (
        [wanted] if kept else [wanted, *(f"{engine.system}/{each}" for each in _ALSO_RUNS.get(engine.architecture, ()))]
    )
    available = ["/".join(platform) for platform in platforms]
    if available and engine.architecture and not any(is_same_platform(*pair) for pair in product(usable, available)):
        whose = "the service runs on" if kept else "this engine is"
        raise EngineRefusedError(
            f"{name} is available for {', '.join(available)} only, and {whose} {wanted}: build and push the image for "
            "that, or create the container again"
        )
