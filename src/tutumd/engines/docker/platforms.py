"""Facts about an engine, platforms of an image in its registry, and the check that one can run the other."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from tutumd.engines.labels import Json
from tutumd.errors import EngineRefusedError

_ALSO_RUNS = {"amd64": ("386",), "arm64": ("arm",)}


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineFacts:
    """Properties of an engine that decisions depend on.

    Attributes:
        host_name: Name of the machine.
        system, architecture: As registries write them: `linux`, `amd64`.
        in_swarm: It is a Swarm node, where renaming a running container does not change its name in networks.
        is_podman: It is Podman, which cannot look up images in a registry.
        by_manifest: It has the containerd image store, which identifies images by the digests of their manifests.
            There, every image has a digest in the repository of its name, even if it was never pushed. An image that
            loses its last name to a pull is gone, though containers run it (moby/moby#46866), or loses its digest
            (since Engine 27.2).
    """

    host_name: str
    system: str
    architecture: str
    in_swarm: bool
    is_podman: bool = False
    by_manifest: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifest:
    """What a registry has under a name: a digest, and pairs of system and architecture."""

    digest: str
    platforms: tuple[tuple[str, str], ...]


def parse_facts(info: Json, version: Json, *, is_podman: bool) -> EngineFacts:
    """Return the facts in the documents of Docker Engine API SystemInfo and SystemVersion."""
    return EngineFacts(
        host_name=str(info.get("Name", "")),
        system=str(version.get("Os", "")),
        architecture=str(version.get("Arch", "")),
        in_swarm=(info.get("Swarm") or {}).get("LocalNodeState") == "active",
        is_podman=is_podman,
        by_manifest=["driver-type", "io.containerd.snapshotter.v1"] in (info.get("DriverStatus") or ()),
    )


def parse_manifest(document: Json) -> Manifest:
    """Return the manifest in the document of Docker Engine API DistributionInspect."""
    listed = document.get("Platforms") or ()
    platforms = {(str(each.get("os", "")), str(each.get("architecture", ""))) for each in listed}
    return Manifest(
        digest=str((document.get("Descriptor") or {}).get("digest", "")),
        # Attestations are listed as platforms of their own.
        platforms=tuple(sorted(platforms - {("unknown", "unknown"), ("", "")})),
    )


def check_platform(
    name: str, platforms: Sequence[tuple[str, str]], engine: EngineFacts, running: Collection[str] = ()
) -> None:
    """Check that an engine can run an image. An image without known platforms passes.

    Args:
        running: Architectures of images that the engine runs already, by emulation or not.

    Raises:
        EngineRefusedError: The image is for other platforms only.
    """
    usable = {engine.architecture, *_ALSO_RUNS.get(engine.architecture, ()), *running}
    if platforms and engine.architecture and not {(engine.system, each) for each in usable} & set(platforms):
        available = ", ".join("/".join(platform) for platform in platforms)
        raise EngineRefusedError(
            f"{name} is available for {available} only, and this engine is {engine.system}/{engine.architecture}: "
            "build and push the image for it"
        )
