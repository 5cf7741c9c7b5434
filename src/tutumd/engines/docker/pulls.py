"""Images: the newest one of a name, names put back after a failure, and old ones that nothing needs any more."""

from collections.abc import Collection, Mapping

from tutumd.engines.docker.api import DockerApi
from tutumd.engines.docker.discover import image_digest
from tutumd.engines.docker.inspect.inspected_container import InspectedContainer
from tutumd.engines.docker.platforms import EngineFacts, check_platform
from tutumd.engines.images.reference import DOCKER_HUB, NO_REGISTRY, ImageReference, names_image_by_id, parse_reference
from tutumd.engines.labels import Json
from tutumd.errors import EngineRefusedError
from tutumd.ports import Run

_KEPT = "tutum-prev-"
"""Begins a tag that keeps the image before a pull, on engines where that would lose it."""


def is_local_build(host: DockerApi, reference: ImageReference, image: Json | None) -> bool:
    """Tell whether an image was built or loaded here and has never been in the registry of its name.

    Such a name is not pulled: without a host in it, it would be somebody else's repository on Docker Hub. A name with
    a host says where to pull from. That the image was pushed to a registry under another name changes nothing.

    Raises:
        EngineRefusedError: on an engine where only the registry can tell, it does not.
    """
    if image is None or reference.digest or reference.registry not in (DOCKER_HUB, NO_REGISTRY):
        return False
    if not any(parse_reference(entry).same_repository(reference) for entry in _digests(image)):
        return True
    return host.facts().by_manifest and not host.has_been_pushed(reference.with_digest(str(image["Id"])))


def fetch(host: DockerApi, name: str, run: Run, *, local: bool) -> Json:
    """Bring the newest image of a name to the engine, and return its inspect document.

    Args:
        local: It is a local build.

    Raises:
        EngineRefusedError: it cannot be pulled.
    """
    reference = parse_reference(name)
    present = host.image(name)
    if present is not None and reference.digest:
        run.log(f"{name} is pinned by its digest: nothing to pull")
        return present
    if present is not None and local:
        run.log(f"{name} was never in a registry: using the local image")
        return present
    by_manifest = host.facts().by_manifest
    if present is not None and by_manifest:
        run.check()
        _keep(host, reference, str(present["Id"]))
    host.pull(reference, run)
    pulled = host.image(name)
    if pulled is None:
        raise EngineRefusedError(f"{name} was pulled, but the engine does not have it: was it removed meanwhile?")
    if by_manifest:
        _let_go(host, reference, str(pulled["Id"]))
    return pulled


def fetch_again(host: DockerApi, holders: Collection[InspectedContainer], run: Run) -> bool:
    """Fetch by their digests the images that containers run and that are gone; False where there is nothing to fetch.

    Raises:
        EngineRefusedError: the registry does not have one any more.
    """
    gone = [one for one in holders if one.image is None and not names_image_by_id(one.image_name, one.image_id)]
    if not gone or not host.facts().by_manifest:
        return False
    for one in gone:
        if host.image(one.image_id) is None:
            run.log(f"the image that {one.name} runs is gone from the engine: fetching it again")
            try:
                host.pull(parse_reference(one.image_name).with_digest(one.image_id), run)
            except EngineRefusedError as error:
                raise EngineRefusedError(
                    f"the image that {one.name} runs is gone from the engine, so that its settings cannot be told from "
                    f"the container's own, and it cannot be fetched again: {error}"
                ) from error
    return True


def put_names_back(host: DockerApi, names: Mapping[str, str], tried: Collection[str], run: Run) -> None:
    """Let each name mean the image again that it meant before a pull, so that nothing else picks up a failed one.

    Args:
        names: Image IDs by name.
        tried: IDs of the images that failed. A name that means another one by now was changed by somebody else, for
            example by the redeploy of another service, which put it back already. Empty where none was tried.
    """
    by_manifest = bool(names) and host.facts().by_manifest
    for name, image_id in names.items():
        reference = parse_reference(name)
        now = host.image(name)
        is_back = now is not None and now["Id"] == image_id
        if reference.digest or host.image(image_id) is None:
            continue
        if tried and now is not None and not is_back and now["Id"] not in tried:
            continue
        run.check()
        if not is_back:
            if now is not None and by_manifest:
                # Without a name of its repository, nobody would ever remove it.
                _keep(host, reference, str(now["Id"]))
            host.tag(image_id, reference.repository, reference.tag or "latest")
        if by_manifest:
            _let_go(host, reference, image_id)


def preflight(
    host: DockerApi, names: Collection[str], holders: Collection[InspectedContainer]
) -> dict[str, str | None]:
    """Check, before anything is touched, that the images can be had and run here.

    Returns:
        The digest that each name stands for now; None where that shows only at the pull.

    Raises:
        EngineRefusedError: why an image cannot be had: no such image, no access, another platform.
    """
    engine = host.facts()
    running = {str(one.image["Architecture"]) for one in holders if one.image and one.image.get("Architecture")}
    return {name: _look_up(host, name, engine, running, holders) for name in names}


def _look_up(
    host: DockerApi, name: str, engine: EngineFacts, running: Collection[str], holders: Collection[InspectedContainer]
) -> str | None:
    reference = parse_reference(name)
    present = host.image(name)
    if present is not None and (reference.digest or is_local_build(host, reference, present)):
        return image_digest(name, str(present["Id"]), present)
    if present is None and any(_is_built_here(host, one, reference) for one in holders):
        raise EngineRefusedError(
            f"{name} is not on this engine, and {reference.repository} was never in a registry: build or load it here"
        )
    if engine.is_podman:
        return None
    found = host.manifest(reference)
    check_platform(name, found.platforms, engine, running)
    return found.digest or None


def _is_built_here(host: DockerApi, one: InspectedContainer, reference: ImageReference) -> bool:
    own = parse_reference(one.image_name)
    return own.same_repository(reference) and is_local_build(host, own, one.image)


def superseded(images: Collection[Json], names: Collection[str], needed: Collection[str], keep: int = 0) -> list[str]:
    """Return the IDs of images that once were those of `names` and are of no use any more.

    Only images with no tag left but ours, known by digests of these repositories alone, and not `needed`; of those
    the newest `keep` stay.
    """
    wanted = [parse_reference(name) for name in names]
    result = []
    # The time is that of the build, in RFC 3339 or, in lists, seconds: the same kind for all.
    for image in sorted(images, key=lambda one: one.get("Created") or 0, reverse=True):
        tags = [tag for tag in image.get("RepoTags") or () if not (tag.startswith("<none>") or f":{_KEPT}" in tag)]
        known = [parse_reference(entry) for entry in _digests(image)]
        ours = known and all(any(one.same_repository(name) for name in wanted) for one in known)
        if ours and not tags and image["Id"] not in needed:
            result.append(str(image["Id"]))
    return result[keep:]


def remove_superseded(host: DockerApi, names: Collection[str], needed: Collection[str], keep: int, run: Run) -> None:
    """Remove superseded images of these names; the engine itself refuses to remove one that is in use."""
    candidates = superseded(host.all_images(), names, needed, keep)
    if not candidates:
        return
    used = {one.image_id for one in host.containers()}
    for image_id in candidates:
        if image_id not in used:
            run.check()
            if host.remove_image(image_id):
                run.log(f"removed the old image {image_id[:19]}")


def _keep(host: DockerApi, reference: ImageReference, image_id: str) -> None:
    """Give an image a second tag in its repository."""
    host.tag(image_id, reference.repository, _kept_tag(image_id))


def _let_go(host: DockerApi, reference: ImageReference, image_id: str) -> None:
    """Take the second tag of an image away, where it has one."""
    host.remove_image(f"{reference.repository}:{_kept_tag(image_id)}")


def _kept_tag(image_id: str) -> str:
    return f"{_KEPT}{image_id.removeprefix('sha256:')[:12]}"


def _digests(image: Json) -> list[str]:
    """Return the names by digest that an image has."""
    return [entry for entry in image.get("RepoDigests") or () if not entry.startswith("<none>")]
