"""Images of services: the newest image, the image of a rollback, the image that runs, and where images are."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from tutumd.engines.dockerapi.documents import is_health_check
from tutumd.engines.dockerapi.registry import find_available, find_in_registry, has_digest, inspect_manifest
from tutumd.engines.labels import ImageReference, Json, original_image, parse_reference, rollback_image
from tutumd.engines.swarm import spec as specs
from tutumd.engines.swarm.api import SwarmApi
from tutumd.engines.swarm.view import ServiceView
from tutumd.errors import EngineRefusedError
from tutumd.model import Availability, ImageFacts, WantedImage

# Docker Engine: daemon/cluster/executor/container/adapter.go `pullImage`. A node does not pull an image by its ID.
_ID = "sha256:"


def split_digest(image: str) -> tuple[str, str | None]:
    """Return the name and the digest of an image."""
    name, _, digest = image.partition("@")
    return name, digest or None


def running_image(view: ServiceView) -> ImageFacts | None:
    """Return the image that the tasks run; None if they differ, or if its name has neither a digest nor an ID."""
    images = {task.version.image for task in view.running}
    if view.updating or len(images) != 1:
        return None
    image = images.pop()
    reference = split_digest(original_image(specs.label_sets(view.spec)[0], image))[0]
    if image.startswith(_ID):
        return ImageFacts(reference=reference, image_id=image)
    digest = split_digest(image)[1]
    return ImageFacts(reference=reference, digest=digest) if digest else None


def rollback_refusal(image: str) -> str:
    """Return why the service cannot be rolled back: its image is given by an ID; empty if it can."""
    try:
        parse_reference(image)
    except EngineRefusedError as error:
        return str(error)
    return ""


def redeployed_image(
    api: SwarmApi, changed: Mapping[str, str | None], name: str, image_after: str | None
) -> ImageFacts:
    """Return the image of a redeploy, with its labels if this node has it.

    Args:
        changed: Labels of the service that the redeploy set.
        image_after: ID of the image if `name` has no digest.
    """
    digest = split_digest(name)[1]
    labels: Json = ((api.local_image(name) or {}).get("Config") or {}).get("Labels") or {}
    return ImageFacts(
        reference=split_digest(original_image(changed, name))[0],
        digest=digest or "",
        image_id="" if digest else image_after or "",
        version=labels.get("org.opencontainers.image.version", ""),
        revision=labels.get("org.opencontainers.image.revision", ""),
    )


def find_availability(api: SwarmApi, view: ServiceView, images: Sequence[WantedImage]) -> Mapping[int, Availability]:
    """Return where the images of rollbacks would come from."""
    repository = parse_reference(original_image(specs.label_sets(view.spec)[0], view.version.image))
    auth = api.stored_or_fresh_auth(repository.name)

    def find(image: WantedImage) -> Availability:
        if not image.digest:
            return Availability.LOCAL if _is_loaded(api, view, image) else Availability.NO
        pinned = replace(repository, tag=None, digest=image.digest)
        if has_digest(api.local_image(pinned.name), pinned):
            return Availability.LOCAL
        return find_in_registry(lambda: inspect_manifest(api.client, pinned, auth, f"find {pinned.name}"))

    return find_available(images, find)


@dataclass(frozen=True, slots=True, kw_only=True)
class ResolvedImage:
    """The image of a redeploy.

    Attributes:
        image: Its name in the specification.
        digest: `sha256:…` of the manifest if known, else of the image.
        platforms: Its platforms; None if unknown.
        note: Sentence about a peculiarity; empty if there is none.
        replaced: Of a rollback: the name to which the next redeploy returns; else empty.
    """

    image: str
    digest: str | None
    platforms: tuple[Json, ...] | None = None
    note: str = ""
    replaced: str = ""


def resolve_image(
    api: SwarmApi, view: ServiceView, tag: str | None, wanted: WantedImage | None = None
) -> ResolvedImage:
    """Return the image to which the service's tag refers now. An old digest beside a tag is ignored.

    Args:
        tag: Replaces the service's own tag; the repository stays.
        wanted: The image of a rollback, instead of the newest one.

    Raises:
        EngineRefusedError: The image cannot be found.
    """
    image = original_image(specs.label_sets(view.spec)[0], view.version.image)
    if wanted is not None:
        return _resolve_rollback(api, view, image, wanted)
    reference = parse_reference(image)
    if tag is not None:
        reference = replace(reference, tag=tag, digest=None)
    if reference.digest and not reference.tag:
        note = f"the service names its image by digest, so it was redeployed at the same one: {image}"
        return ResolvedImage(image=image, digest=reference.digest, note=note)
    auth = api.auth(reference.name)
    try:
        unpinned = reference.with_digest(None)
        manifest = inspect_manifest(api.client, unpinned, auth, f"find out which image {unpinned.name} is now")
    except EngineRefusedError as error:
        # Built on the only node of the swarm, it was never in a registry.
        local = None if reference.digest or len(view.nodes.names) != 1 else api.local_image(reference.name)
        if local is None or not is_built_here(local, reference):
            raise
        note = f"the image of this node was used without a digest, because no registry knows it ({error})"
        return ResolvedImage(image=reference.name, digest=str(local["Id"]), note=note)
    return ResolvedImage(
        image=reference.with_digest(manifest.digest).name,
        digest=manifest.digest,
        platforms=placement_platforms(manifest.platforms),
    )


def _resolve_rollback(api: SwarmApi, view: ServiceView, original: str, wanted: WantedImage) -> ResolvedImage:
    """Return the image of a rollback: from the registry, else from this node."""
    if not wanted.digest and _is_loaded(api, view, wanted):
        return ResolvedImage(image=wanted.image_id, digest=wanted.image_id, replaced=original)
    image, note, platforms = rollback_image(original, wanted), "", None
    pinned = replace(parse_reference(image), tag=None)
    try:
        manifest = inspect_manifest(
            api.client, pinned, api.auth(pinned.name), f"find the image #{wanted.number} in its registry"
        )
        platforms = placement_platforms(manifest.platforms)
    except EngineRefusedError as error:
        if not has_digest(api.local_image(pinned.name), pinned):
            raise
        note = f"only nodes that have the image #{wanted.number} can start it ({error})"
    return ResolvedImage(image=image, digest=wanted.digest, platforms=platforms, note=note, replaced=original)


def _is_loaded(api: SwarmApi, view: ServiceView, wanted: WantedImage) -> bool:
    """Return whether the only node of the swarm has an image that is in no registry."""
    return bool(wanted.image_id) and len(view.nodes.names) == 1 and api.local_image(wanted.image_id) is not None


def placement_platforms(platforms: Iterable[tuple[str, str]]) -> tuple[Json, ...]:
    """Return Placement.Platforms for the systems and architectures of an image, as the engine's own client does."""
    # docker/swarmkit#2294: an image says `arm` and the node `armv7l`, so that architecture is left open.
    return tuple({"Architecture": "" if built == "arm" else built, "OS": system} for system, built in platforms)


def is_health_checked(api: SwarmApi, *names: str) -> bool:
    """Return whether the first of these images that this node has defines a health check."""
    config: Json = next((image["Config"] or {} for name in names if (image := api.local_image(name))), {})
    return is_health_check((config.get("Healthcheck") or {}).get("Test"))


def is_built_here(image: Json, reference: ImageReference) -> bool:
    """Return whether no registry is known to have the image under that name.

    Engines with the containerd image store list every image's own ID as a digest of its repository.
    """
    digests = [str(digest).partition("@") for digest in image.get("RepoDigests") or ()]
    return not any(
        parse_reference(name).repository == reference.repository and digest != image["Id"]
        for name, _, digest in digests
    )
