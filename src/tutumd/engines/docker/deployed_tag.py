"""Tags that calls named: the labels that keep what the image's name was before, and sentences about both."""

from collections.abc import Iterable, Sequence

from tutumd.engines.docker.inspect.inspected_container import InspectedContainer
from tutumd.engines.labels import IMAGE_BASE, IMAGE_TAGGED, Json
from tutumd.model import WITHOUT_TAG

_FILE_NOTE = "the compose file was not read: changes in it or in an env_file take effect with docker compose up -d"


def base_image(container: InspectedContainer) -> str:
    """Return the image's name that a person or Compose gave a container, whatever tags calls have named since."""
    if container.labels.get(IMAGE_TAGGED) != container.image_name:
        return container.image_name  # also if it was made from a container that has the labels, but of another image
    # Not from `container.labels`: an image that was committed from a container of this service has the same base.
    return str(container.raw["Config"]["Labels"].get(IMAGE_BASE) or container.image_name)


def with_base(labels: Json, base: str, image: str) -> dict[str, str]:
    """Return the labels of a new container of `image`, for a service whose image has the name `base` without tags."""
    kept = {name: value for name, value in labels.items() if name not in (IMAGE_BASE, IMAGE_TAGGED)}
    return kept if image == base else {**kept, IMAGE_BASE: base, IMAGE_TAGGED: image}


def describe_left_tags(containers: Sequence[InspectedContainer], images: Iterable[str]) -> tuple[str, ...]:
    """Return which images a redeploy to `images` leaves that the tags of earlier calls chose."""
    pairs = {(old.image_name, base_image(old), new) for old, new in zip(containers, images, strict=True)}
    return tuple(
        f"{WITHOUT_TAG}it goes back from {old}, which the tag of an earlier call chose, to {base}"
        for old, base, new in sorted(pairs)
        if new == base != old
    )


def describe_file(containers: Iterable[InspectedContainer]) -> tuple[str, ...]:
    """Return that the compose file is not read, if Compose made one of the containers."""
    is_from_file = any(
        each.compose and each.labels.get("com.docker.compose.project.config_files") for each in containers
    )
    return (_FILE_NOTE,) if is_from_file else ()
