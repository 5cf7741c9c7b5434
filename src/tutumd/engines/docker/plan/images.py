"""Images of redeploys and rollbacks: checks and pulls, tags that are restored after a failure, and the removal of old
images.
"""

from collections.abc import Collection, Iterator, Mapping, Sequence
from functools import partial

from tutumd.engines.docker.api import DockerApi
from tutumd.engines.docker.look.containers import InspectedContainer, image_digest, platform_of
from tutumd.engines.docker.look.facts import EngineFacts, check_platform, foreign_part, is_same_platform
from tutumd.engines.docker.look.podman import unkept_setting
from tutumd.engines.docker.look.snapshot import base_image
from tutumd.engines.dockerapi.documents import digest_names, digests_in
from tutumd.engines.dockerapi.failures import status_of
from tutumd.engines.dockerapi.registry import find_in_registry, has_digest
from tutumd.engines.labels import (
    DOCKER_HUB,
    NO_REGISTRY,
    ImageReference,
    Json,
    names_image_by_id,
    parse_reference,
)
from tutumd.errors import EngineRefusedError, ReasonCode
from tutumd.model import Availability, ImageFacts, Phase, WantedImage
from tutumd.ports import Run

# Prefix of a tag that keeps the previous image, on engines that would lose it in a pull.
KEPT_TAG = "tutum-prev-"


def is_local_build(api: DockerApi, reference: ImageReference, image: Json | None) -> bool:
    """Return True if an image was built or loaded here, and no registry has its name.

    Such a name is not pulled: on Docker Hub, it may be another user's repository. A name with a host names its
    registry. A push of the image under another name makes no difference.

    Raises:
        EngineRefusedError: Only the registry knows, and it cannot be reached.
    """
    if image is None or reference.digest or reference.registry not in (DOCKER_HUB, NO_REGISTRY):
        return False
    if not digests_in(image, reference):
        return True
    return api.facts().by_manifest and not _is_pushed(api, reference.with_digest(str(image["Id"])))


def check_images(
    api: DockerApi,
    images: Mapping[str, Json | None],
    containers: Collection[InspectedContainer],
    platform: str,
    wanted: WantedImage | None = None,
) -> dict[str, str | None]:
    """Check, before any change, that images can be pulled and run here, and that settings will be kept.

    Args:
        images: The present image of each name; None if there is none.
        containers: The service's containers.
        platform: The containers' platform if it differs from the engine's own.
        wanted: The image of a rollback.

    Returns:
        The current digest of each name; None if only a pull can find it.

    Raises:
        EngineRefusedError: The image does not exist or is for another platform, access is denied, or a setting would be
            lost.
    """
    engine = api.facts()
    for container in containers if api.client.is_podman else ():
        if setting := unkept_setting(api.podman_details("containers", container.id)):
            raise EngineRefusedError(
                f"the container {container.name} {setting}, which Podman does not keep for a new container: replace it "
                "with what created it"
            )
    if wanted is not None:
        return {name: check_wanted(api, name, image, wanted, platform) for name, image in images.items()}
    return {name: _check_image(api, name, image, engine, containers, platform) for name, image in images.items()}


def fetch_image(
    api: DockerApi, name: str, present: Json | None, run: Run, *, is_local: bool, platform: str = ""
) -> Json:
    """Pull the newest image of a name, or the image of a rollback, and return its inspect document. Record the image as
    pulled if it did not exist there before.

    Args:
        present: The present image of the name; None if there is none.
        is_local: Whether it is a local build, which is not pulled.
        platform: The requested platform if it differs from the engine's own.

    Raises:
        EngineRefusedError: It cannot be pulled.
    """
    if present is not None and run.image is not None:
        run.log(f"image #{run.image.number} is on the engine: nothing to pull", Phase.CREATING)
        return present
    reference = parse_reference(name)
    if present is not None and reference.digest and _fits(present, platform):
        run.log(f"{name} is pinned by its digest: nothing to pull", Phase.CREATING)
        return present
    if present is not None and is_local:
        run.log(f"{name} was never in a registry: using the local image", Phase.CREATING)
        return present
    by_manifest = api.facts().by_manifest
    if present is not None and by_manifest:
        api.tag(str(present["Id"]), reference.repository, _kept_tag(str(present["Id"])), run)
    before = {image["Id"] for image in api.images()}
    api.pull(reference, run, platform)
    pulled = api.image(name)
    if pulled is None:
        raise EngineRefusedError(f"{name} was pulled, but the engine does not have it: was it removed?")
    if pulled["Id"] not in before:
        run.update_pulled(added=digests_in(pulled, reference))
    if run.image is not None:
        check_runs_here(name, pulled, api.facts(), platform)
    if not _fits(pulled, platform):
        raise EngineRefusedError(f"{name} was pulled for {platform}, but its image is for {platform_of({}, pulled)}")
    if by_manifest:
        api.remove_image(f"{reference.repository}:{_kept_tag(str(pulled['Id']))}", run)
    return pulled


def refetch_missing_images(api: DockerApi, containers: Collection[InspectedContainer], run: Run) -> bool:
    """Pull the missing images of running containers, by digest; return False if one cannot be pulled.

    Raises:
        EngineRefusedError: The registry no longer has an image.
    """
    missing = [
        each for each in containers if each.image is None and not names_image_by_id(each.image_name, each.image_id)
    ]
    if not missing or not api.facts().by_manifest:
        return False
    for container in missing:
        if api.image(container.image_id) is None:
            run.log(f"the image that {container.name} runs is gone from the engine: pulling it by digest")
            try:
                api.pull(
                    parse_reference(container.image_name).with_digest(container.image_id),
                    run,
                    foreign_part(container.platform, api.facts()),
                )
            except EngineRefusedError as error:
                raise EngineRefusedError(
                    f"the image that {container.name} runs is gone from the engine, so its settings cannot be told "
                    f"apart from the container's own, and it cannot be pulled again: {error}",
                    error.code,
                ) from error
    return True


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
    elif not api.client.is_podman:
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
    if api.client.is_podman:
        return Availability.UNKNOWN
    return find_in_registry(lambda: api.manifest(parse_reference(pinned)))


def restore_tags(api: DockerApi, image_ids: Mapping[str, str], tried: Collection[str], run: Run) -> None:
    """Restore the image of each name before the pull, so that nothing else uses a failed image.

    Args:
        image_ids: Image IDs by name.
        tried: IDs of the images that failed; empty if none was tried. A name that refers to any other image was changed
            by somebody else, for example by the redeploy of another service, and stays.
    """
    by_manifest = bool(image_ids) and api.facts().by_manifest
    for name, image_id in image_ids.items():
        reference = parse_reference(name)
        current = (api.image(name) or {}).get("Id")
        was_changed = current is not None and current != image_id
        if reference.digest or api.image(image_id) is None or (was_changed and tried and current not in tried):
            continue
        if current is not None and was_changed and by_manifest:
            # Without a name in its repository, the image would never be removed.
            api.tag(current, reference.repository, _kept_tag(current), run)
        if current != image_id:
            api.tag(image_id, reference.repository, reference.tag or "latest", run)
        if by_manifest:
            api.remove_image(f"{reference.repository}:{_kept_tag(image_id)}", run)


def remove_superseded(api: DockerApi, names: Collection[str], needed: Collection[str], keep: int, run: Run) -> None:
    """Remove the superseded images of these names that runs pulled and nobody else uses; keep the `keep` images that
    the service ran last.
    """
    pulled, images, history = run.pulled_images(), api.images(), run.image_history() if keep else ()
    present = {digest for image in images for digest in digest_names(image)}
    candidates = sorted(superseded_images(images, names, needed, pulled), key=partial(_age, history))[keep:]
    if candidates:
        used = {entry.get("ImageID") for entry in api.list_containers()}
        # A pull by digest of an existing image leaves no other trace.
        wanted = api.pulled_by_digest() & pulled
        for image in candidates:
            digests = set(digest_names(image))
            if image["Id"] not in used and not digests & wanted and api.remove_image(image["Id"], run):
                run.log(f"removed the old image {image['Id'][:19]}")
                present -= digests
    if gone := pulled - present:
        run.update_pulled(removed=gone)


def superseded_images(
    images: Collection[Json],
    names: Collection[str],
    needed: Collection[str],
    pulled: Collection[str],
) -> Iterator[Json]:
    """Yield the images that formerly had one of these names, and now have no name except tutumd's own.

    All of their digests are `pulled`, and they are not `needed`. The newest is the first.
    """
    references = [parse_reference(name) for name in names]
    # The build time, in RFC 3339 or, in lists, in seconds: the same kind for all.
    for image in sorted(images, key=lambda image: image.get("Created") or 0, reverse=True):
        named = any(f":{KEPT_TAG}" not in tag for tag in image.get("RepoTags") or () if not tag.startswith("<none>"))
        digests = set(digest_names(image))
        if (
            digests
            and digests == {digest for reference in references for digest in digests_in(image, reference)}
            and digests <= set(pulled)
            and not named
            and image["Id"] not in needed
        ):
            yield image


def _age(history: Sequence[ImageFacts], image: Json) -> int:
    """Return how many images a service ran after an image; all if it never ran the image."""
    digests = {parse_reference(name).digest for name in digest_names(image)}
    found = (age for age, each in enumerate(history) if each.image_id == image["Id"] or each.digest in digests)
    return next(found, len(history))


def _check_image(
    api: DockerApi,
    name: str,
    present: Json | None,
    engine: EngineFacts,
    containers: Collection[InspectedContainer],
    platform: str,
) -> str | None:
    reference = parse_reference(name)
    is_local = present is not None and is_local_build(api, reference, present)
    if present is not None and is_local and not _fits(present, platform):
        raise EngineRefusedError(
            f"{name} on this engine is for {platform_of({}, present)}, and the service runs on {platform}: build it "
            "for that, or create the container again"
        )
    if present is not None and (is_local or (reference.digest and _fits(present, platform))):
        return image_digest(name, str(present["Id"]), present)
    if present is None and any(_is_built_here(api, container, reference) for container in containers):
        raise EngineRefusedError(
            f"{name} is not on this engine, and {reference.repository} was never in a registry: build or load it here"
        )
    if api.client.is_podman:
        return None
    manifest = api.manifest(reference)
    check_platform(name, manifest.platforms, engine, platform)
    return manifest.digest


def _fits(image: Json, platform: str) -> bool:
    """Return whether an image is for the requested platform. An empty text means the engine's own platform, which the
    engine itself checks.
    """
    return not platform or is_same_platform(platform_of({}, image), platform)


def _is_built_here(api: DockerApi, container: InspectedContainer, reference: ImageReference) -> bool:
    current = parse_reference(base_image(container))
    return current.repository == reference.repository and is_local_build(api, current, container.image)


def _is_pushed(api: DockerApi, reference: ImageReference) -> bool:
    """Return True if the registry has an image with this digest in the repository.

    Raises:
        EngineRefusedError: The registry cannot be reached, or denies access to a repository that may be a user's.
    """
    try:
        api.manifest(reference)
    except EngineRefusedError as error:
        status = status_of(error)
        # Docker Hub's repositories without a user are public, so a denial means that the repository does not exist.
        is_missing = status == 404 or (status in (401, 403) and reference.path.startswith("library/"))
        if is_missing or reference.registry == NO_REGISTRY:
            return False
        hint = f"name what was built here {NO_REGISTRY}/{reference.repository}"
        raise EngineRefusedError(f"{error}; {hint}", error.code) from error
    return True


def _kept_tag(image_id: str) -> str:
    return f"{KEPT_TAG}{image_id.removeprefix('sha256:')[:12]}"
