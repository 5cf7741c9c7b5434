"""Removal of the images that redeploys have superseded."""

from collections.abc import Collection, Iterator, Sequence
from functools import partial

from tutumd.engines.docker.api import DockerApi
from tutumd.engines.docker.look.containers import digest_names
from tutumd.engines.docker.plan.images import KEPT_TAG, digests_in
from tutumd.engines.labels import Json, parse_reference
from tutumd.model import ImageFacts
from tutumd.ports.engine import Run


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
        digests = digests_in(image, references)
        if (
            digests
            and digests == digest_names(image)
            and set(digests) <= set(pulled)
            and not named
            and image["Id"] not in needed
        ):
            yield image


def _age(history: Sequence[ImageFacts], image: Json) -> int:
    """Return how many images a service ran after an image; all if it never ran the image."""
    digests = {parse_reference(name).digest for name in digest_names(image)}
    found = (age for age, each in enumerate(history) if each.image_id == image["Id"] or each.digest in digests)
    return next(found, len(history))
