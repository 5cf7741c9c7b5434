"""What an engine is, what a registry has under a name, and whether the one can run the other."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from tutumd.engines.labels import Json
from tutumd.errors import EngineRefusedError

_ALSO_RUNS = {"amd64": ("386",), "arm64": ("arm",)}


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineFacts:
    """What matters of an engine itself.

    Attributes:
        host_name: Of the machine.
        system, architecture: As registries write them: `linux`, `amd64`.
        in_swarm: It is a Swarm node; renaming a running container then does not reach the names in its networks.
        is_podman: Podman answers in Docker's place. It cannot be asked what a registry has.
        by_manifest: It has the containerd image store, whose images are known by the digests of their manifests. Each
            has a digest in the repository of its name, whether it was ever there or not. An image that loses its last
            name to a pull is gone at once, though containers run it (moby/moby#46866), or since Engine 27.2 has no
            digest any more.
    """

    host_name: str
    system: str
    architecture: str
    in_swarm: bool
    is_podman: bool = False
    by_manifest: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifest:
    """What a name stands for in its registry: a digest, and pairs of system and architecture."""

    digest: str
    platforms: tuple[tuple[str, str], ...]


def facts(info: Json, version: Json, *, is_podman: bool) -> EngineFacts:
    """Read the documents of Docker Engine API SystemInfo and SystemVersion."""
    return EngineFacts(
        host_name=str(info.get("Name", "")),
        system=str(version.get("Os", "")),
        architecture=str(version.get("Arch", "")),
        in_swarm=(info.get("Swarm") or {}).get("LocalNodeState") == "active",
        is_podman=is_podman,
        by_manifest=["driver-type", "io.containerd.snapshotter.v1"] in (info.get("DriverStatus") or ()),
    )


def manifest(answer: Json) -> Manifest:
    """Read the document of Docker Engine API DistributionInspect."""
    found = {(str(one.get("os", "")), str(one.get("architecture", ""))) for one in answer.get("Platforms") or ()}
    return Manifest(
        digest=str((answer.get("Descriptor") or {}).get("digest", "")),
        # Attestations are listed as platforms of their own.
        platforms=tuple(sorted(found - {("unknown", "unknown"), ("", "")})),
    )


def check_platform(
    name: str, platforms: Sequence[tuple[str, str]], engine: EngineFacts, running: Collection[str] = ()
) -> None:
    """Check that an engine can run an image. Where the registry tells no platform, it is taken to fit.

    Args:
        running: Architectures of images that run on the engine already, by emulation or not.

    Raises:
        EngineRefusedError: what the registry has, and what is needed.
    """
    able = {engine.architecture, *_ALSO_RUNS.get(engine.architecture, ()), *running}
    fitting = {(engine.system, one) for one in able}
    if platforms and engine.architecture and not fitting & set(platforms):
        found = ", ".join("/".join(one) for one in platforms)
        raise EngineRefusedError(
            f"{name} is there for {found} only, and this engine is {engine.system}/{engine.architecture}: "
            "build and push the image for it"
        )
