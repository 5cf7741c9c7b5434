"""Images: the newest one of a name, names put back after a failure, and old ones that nothing needs any more."""

from collections.abc import Collection, Mapping

from tutumd.engines.docker.host import Host
from tutumd.engines.dockerapi import ImageReference, Json, parse_reference
from tutumd.engines.dockerapi.references import DOCKER_HUB
from tutumd.errors import EngineRefusedError
from tutumd.ports import Run

_NO_REGISTRY = "localhost"
"""What Podman writes before the name of an image that was built or loaded without a registry in its name."""


def is_local_build(reference: ImageReference, image: Json | None) -> bool:
    """Tell whether an image was built or loaded here and has never been in the registry of its name.

    Such a name is not pulled: without a host in it, it would be somebody else's repository on Docker Hub. A name with
    a host says where to pull from. That the image was pushed to a registry under another name changes nothing.
    """
    if image is None or reference.registry not in (DOCKER_HUB, _NO_REGISTRY):
        return False
    return not any(parse_reference(entry).same_repository(reference) for entry in _digests(image))


def fetch(host: Host, name: str, run: Run) -> Json:
    """Bring the newest image of a name to the engine, and return its inspect document.

    Raises:
        EngineRefusedError: it cannot be pulled.
    """
    reference = parse_reference(name)
    present = host.image(name)
    if present is not None and reference.digest:
        run.log(f"{name} is pinned by its digest: nothing to pull")
        return present
    if present is not None and is_local_build(reference, present):
        run.log(f"{name} was never in a registry: using the local image")
        return present
    host.pull(reference, run)
    pulled = host.image(name)
    if pulled is None:
        raise EngineRefusedError(f"{name} was pulled, but the engine does not have it: was it removed meanwhile?")
    return pulled


def put_names_back(host: Host, names: Mapping[str, str], tried: Collection[str], run: Run) -> None:
    """Let each name mean the image again that it meant before a pull, so that nothing else picks up a failed one.

    Args:
        names: Image IDs by name.
        tried: IDs of the images that failed. A name that means another one by now was changed by somebody else, for
            example by the redeploy of another service, which put it back already. Empty where none was tried.
    """
    for name, image_id in names.items():
        reference = parse_reference(name)
        now = host.image(name)
        if reference.digest or (now is not None and now["Id"] == image_id) or host.image(image_id) is None:
            continue
        if tried and now is not None and now["Id"] not in tried:
            continue
        run.check()
        host.tag(image_id, reference.repository, reference.tag or "latest")


def superseded(images: Collection[Json], names: Collection[str], needed: Collection[str]) -> list[str]:
    """Return the IDs of images that once were those of `names` and are of no use any more.

    Only images with no tag left, known by digests of these repositories alone, and not `needed`.
    """
    wanted = [parse_reference(name) for name in names]
    result = []
    for image in images:
        tags = [tag for tag in image.get("RepoTags") or () if not tag.startswith("<none>")]
        known = [parse_reference(entry) for entry in _digests(image)]
        ours = known and all(any(one.same_repository(name) for name in wanted) for one in known)
        if ours and not tags and image["Id"] not in needed:
            result.append(str(image["Id"]))
    return result


def remove_superseded(host: Host, names: Collection[str], keep: Collection[str], run: Run) -> None:
    """Remove superseded images of these names; the engine itself refuses to remove one that is in use."""
    candidates = superseded(host.dangling_images(), names, keep)
    if not candidates:
        return
    needed = {one.image_id for one in host.containers()}
    for image_id in candidates:
        if image_id not in needed:
            run.check()
            if host.remove_image(image_id):
                run.log(f"removed the old image {image_id[:19]}")


def _digests(image: Json) -> list[str]:
    """Return the names by digest that an image has."""
    return [entry for entry in image.get("RepoDigests") or () if not entry.startswith("<none>")]
