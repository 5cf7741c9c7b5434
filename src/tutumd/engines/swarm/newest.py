"""Which image a redeploy brings: the newest that the registry has under the service's tag."""

from dataclasses import dataclass, replace

from tutumd.engines.dockerapi.registry import resolve_digest
from tutumd.engines.images.reference import ImageReference, parse_reference
from tutumd.engines.labels import Json
from tutumd.engines.swarm import spec as specs
from tutumd.engines.swarm.api import SwarmApi
from tutumd.engines.swarm.verdict import View
from tutumd.errors import EngineRefusedError


@dataclass(frozen=True, slots=True, kw_only=True)
class Newest:
    """An image to bring.

    Attributes:
        image: Its name as it goes into the specification.
        digest: `sha256:…`, of the manifest where known, else of the image.
        platforms: What it was built for; None where unknown.
        note: What is unusual about it, for people.
        checked: The image that runs now has a health check, as far as this node knows: so will the new one.
    """

    image: str
    digest: str | None
    platforms: tuple[Json, ...] | None = None
    note: str = ""
    checked: bool = False


def newest_image(api: SwarmApi, view: View, tag: str | None) -> Newest:
    """Resolve the tag of the service's image to the digest it has now; a digest beside a tag is an old one.

    Args:
        tag: Taken instead of its own; the repository stays.

    Raises:
        EngineRefusedError: that cannot be found out.
    """
    image = specs.version(view.spec).image
    reference = parse_reference(image)
    if tag is not None:
        reference = replace(reference, tag=tag, digest=None)
    if reference.digest and not reference.tag:
        note = f"the service names its image by digest, so it was redeployed at the same one: {image}"
        return Newest(image=image, digest=reference.digest, note=note)
    auth = api.auth(reference.name)
    try:
        digest = resolve_digest(api.client, reference, auth)
    except EngineRefusedError as error:
        local = _local_only(api, view, reference)
        if local is None:
            raise
        note = f"the image of this node was used as it is, by no digest, since no registry knows it ({error})"
        return Newest(image=reference.name, digest=local, note=note)
    pinned = reference.with_digest(digest)
    return Newest(
        image=pinned.name, digest=digest, platforms=api.platforms(pinned, auth), checked=_is_checked(api, image)
    )


def _is_checked(api: SwarmApi, image: str) -> bool:
    found = api.local_image(image) or {}
    return specs.is_health_check(((found.get("Config") or {}).get("Healthcheck") or {}).get("Test"))


def _local_only(api: SwarmApi, view: View, reference: ImageReference) -> str | None:
    """Return the ID of an image that was built on the only node of the swarm and never was in a registry."""
    if reference.digest or len(view.nodes.names) != 1:
        return None
    found = api.local_image(reference.name)
    return str(found["Id"]) if found is not None and built_here(found, reference) else None


def built_here(image: Json, reference: ImageReference) -> bool:
    """Tell whether no registry is known to have the image under that name.

    Engines with the containerd image store list every image's own ID as a digest of its repository.
    """
    digests = [str(digest).partition("@") for digest in image.get("RepoDigests") or ()]
    return not any(
        parse_reference(name).same_repository(reference) and digest != image["Id"] for name, _, digest in digests
    )
