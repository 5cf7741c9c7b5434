"""The image that a redeploy brings: the newest that the registry has under the service's tag."""

from dataclasses import dataclass, replace

from tutumd.engines.dockerapi.health_checks import is_health_check
from tutumd.engines.dockerapi.registry import resolve_digest
from tutumd.engines.images.reference import ImageReference, parse_reference
from tutumd.engines.labels import Json
from tutumd.engines.swarm.api import SwarmApi
from tutumd.engines.swarm.view import ServiceView
from tutumd.errors import EngineRefusedError


@dataclass(frozen=True, slots=True, kw_only=True)
class ResolvedImage:
    """The image that a redeploy brings.

    Attributes:
        image: Its name as it goes into the specification.
        digest: `sha256:…` of the manifest if known, else of the image.
        platforms: Its platforms; None if unknown.
        note: A sentence about what is unusual; empty if nothing is.
        health_checked: It has a health check, as far as this node knows. If this node does not have it yet: the image
            that runs has one.
    """

    image: str
    digest: str | None
    platforms: tuple[Json, ...] | None = None
    note: str = ""
    health_checked: bool = False


def resolve_image(api: SwarmApi, view: ServiceView, tag: str | None) -> ResolvedImage:
    """Return the image that the service's tag stands for now. An old digest beside a tag is ignored.

    Args:
        tag: Replaces the service's own tag; the repository stays.

    Raises:
        EngineRefusedError: The image cannot be found.
    """
    image = view.version.image
    reference = parse_reference(image)
    if tag is not None:
        reference = replace(reference, tag=tag, digest=None)
    if reference.digest and not reference.tag:
        note = f"the service names its image by digest, so it was redeployed at the same one: {image}"
        return ResolvedImage(
            image=image, digest=reference.digest, note=note, health_checked=_is_health_checked(api, image)
        )
    auth = api.auth(reference.name)
    try:
        digest = resolve_digest(api.client, reference, auth)
    except EngineRefusedError as error:
        local_id = _local_image_id(api, view, reference)
        if local_id is None:
            raise
        note = f"the image of this node was used without a digest, because no registry knows it ({error})"
        return ResolvedImage(
            image=reference.name, digest=local_id, note=note, health_checked=_is_health_checked(api, reference.name)
        )
    pinned = reference.with_digest(digest)
    return ResolvedImage(
        image=pinned.name,
        digest=digest,
        platforms=api.platforms(pinned, auth),
        health_checked=_is_health_checked(api, pinned.name, image),
    )


def _is_health_checked(api: SwarmApi, *names: str) -> bool:
    """Return whether the first of these images that this node has defines a health check."""
    config: Json = next((image["Config"] or {} for name in names if (image := api.local_image(name))), {})
    return is_health_check((config.get("Healthcheck") or {}).get("Test"))


def _local_image_id(api: SwarmApi, view: ServiceView, reference: ImageReference) -> str | None:
    """Return the ID of an image that was built on the only node of the swarm and was never in a registry."""
    if reference.digest or len(view.nodes.names) != 1:
        return None
    image = api.local_image(reference.name)
    return str(image["Id"]) if image is not None and is_built_here(image, reference) else None


def is_built_here(image: Json, reference: ImageReference) -> bool:
    """Return whether no registry is known to have the image under that name.

    Engines with the containerd image store list every image's own ID as a digest of its repository.
    """
    digests = [str(digest).partition("@") for digest in image.get("RepoDigests") or ()]
    return not any(
        parse_reference(name).same_repository(reference) and digest != image["Id"] for name, _, digest in digests
    )
