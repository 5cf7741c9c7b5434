"""What is remembered of an engine's containers between two looks, so that only what changed is looked at again."""

import re
from collections.abc import Mapping
from threading import Lock
from typing import Any

from tutumd.engines.docker.api import DockerApi
from tutumd.engines.docker.inspect.inspected_container import InspectedContainer
from tutumd.engines.labels import Json

_Outline = tuple[Any, ...]
_IN_PARENTHESES = re.compile(r"\(([^)]*)\)")


class ContainerCache:
    """The containers of one engine, as its events and its list tell that they are now.

    While nobody follows the events, nothing is remembered: the list alone runs behind what the engine knows.
    """

    def __init__(self, host: DockerApi) -> None:
        self._host = host
        self._lock = Lock()
        self._looking = Lock()
        self._follows = False
        self._forget = True
        self._touched: set[str] = set()
        self._touched_images: set[str] = set()
        self._seen: dict[str, InspectedContainer] = {}
        self._outlines: dict[str, _Outline] = {}
        self._images: dict[str, Json | None] = {}

    def begin(self) -> None:
        """Begin to trust events: from now on every one is told to `touch`, and those before may have been missed."""
        with self._lock:
            self._follows, self._forget = True, True

    def end(self) -> None:
        """Trust events no longer: the connection that they came by is gone."""
        with self._lock:
            self._follows = False

    def touch(self, record: Mapping[str, Any]) -> None:
        """Note what an event is about: it is looked at again."""
        reference = str((record.get("Actor") or {}).get("ID", ""))
        with self._lock:
            (self._touched_images if record.get("Type") == "image" else self._touched).add(reference)

    def containers(self) -> tuple[InspectedContainer, ...]:
        """Look at all containers, running or not: at each one that is new or may have changed."""
        with self._looking:
            return self._containers()

    def _containers(self) -> tuple[InspectedContainer, ...]:
        with self._lock:
            remembers = self._follows and not self._forget
            self._forget = not self._follows
            touched, self._touched = self._touched, set()
            images, self._touched_images = self._touched_images, set()
        try:
            return self._look(touched, images) if remembers else self._look_afresh()
        except BaseException:
            with self._lock:
                self._forget = True
            raise

    def _look_afresh(self) -> tuple[InspectedContainer, ...]:
        self._seen, self._outlines, self._images = {}, {}, {}
        return self._look(set(), set())

    def _look(self, touched: set[str], images: set[str]) -> tuple[InspectedContainer, ...]:
        self._forget_images(images)
        outlines = {entry["Id"]: outline(entry) for entry in self._host.listed()}
        seen: dict[str, InspectedContainer] = {}
        # The list may lack a container that was just made, and still have one that was just removed.
        for container in [*outlines, *sorted(touched - outlines.keys())]:
            known = self._seen.get(container)
            if known is None or container in touched or self._outlines.get(container) != outlines.get(container):
                known = self._host.look(container, self._images)
            if known is not None:
                seen[container] = known
        self._seen, self._outlines = seen, outlines
        used = {one.image_id for one in seen.values()}
        self._images = {image_id: image for image_id, image in self._images.items() if image_id in used}
        return tuple(seen.values())

    def _forget_images(self, touched: set[str]) -> None:
        """Forget these images, given by ID or name, and the containers that were seen with them."""
        for reference in touched:
            named = None if reference.startswith("sha256:") else self._host.image(reference)
            gone = {reference, f"sha256:{reference}", (named or {}).get("Id")}
            gone |= {key for key, image in self._images.items() if reference in ((image or {}).get("RepoTags") or ())}
            self._images = {key: image for key, image in self._images.items() if key not in gone}
            self._seen = {key: one for key, one in self._seen.items() if one.image_id not in gone}


def outline(entry: Json) -> _Outline:
    """Return what of a list's entry tells that the container changed; how long it has run is not of it."""
    # `Up 2 minutes (healthy)`, `Exited (3) 2 days ago`.
    notes = _IN_PARENTHESES.findall(str(entry.get("Status", "")))
    return (tuple(entry.get("Names") or ()), entry.get("ImageID"), entry.get("State"), *notes)
