"""Container cache, invalidated by Docker events; disabled while no event stream is open."""

import re
from collections.abc import Mapping
from threading import Lock
from typing import Any

from tutumd.engines.docker.api import DockerApi
from tutumd.engines.docker.inspect.inspected_container import InspectedContainer
from tutumd.engines.labels import Json

_IN_PARENTHESES = re.compile(r"\(([^)]*)\)")


class ContainerCache:
    """The containers of one engine.

    Events are needed because the engine's container list lags behind its inspect documents.
    """

    def __init__(self, api: DockerApi) -> None:
        self._api = api
        self._lock = Lock()
        self._refreshing = Lock()
        self._enabled = False
        self._is_stale = True
        self._touched: set[str] = set()
        self._touched_images: set[str] = set()
        self._containers: dict[str, InspectedContainer] = {}
        self._summaries: dict[str, tuple[Any, ...]] = {}
        self._images: dict[str, Json | None] = {}

    def enable(self) -> None:
        """Start with an empty cache; the caller now passes every event to `invalidate`."""
        with self._lock:
            self._enabled, self._is_stale = True, True

    def disable(self) -> None:
        """Stop caching: the event stream has ended."""
        with self._lock:
            self._enabled = False

    def invalidate(self, event: Mapping[str, Any]) -> None:
        """Mark the container or image of an event for inspection."""
        reference = str((event.get("Actor") or {}).get("ID", ""))
        with self._lock:
            (self._touched_images if event.get("Type") == "image" else self._touched).add(reference)

    def containers(self) -> tuple[InspectedContainer, ...]:
        """Return all containers, running or not; inspect those that are new or may have changed."""
        with self._refreshing:
            with self._lock:
                touched, self._touched = self._touched, set()
                images, self._touched_images = self._touched_images, set()
                if self._is_stale or not self._enabled:
                    touched, images = set(), set()
                    self._containers, self._summaries, self._images = {}, {}, {}
                self._is_stale = not self._enabled
            try:
                return self._refresh(touched, images)
            except BaseException:
                with self._lock:
                    self._is_stale = True
                raise

    def _refresh(self, touched: set[str], images: set[str]) -> tuple[InspectedContainer, ...]:
        self._drop_images(images)
        summaries = {entry["Id"]: summarize(entry) for entry in self._api.list_containers()}
        containers: dict[str, InspectedContainer] = {}
        # The list may lack a container that was just created, and still have one that was just removed.
        for container_id in [*summaries, *sorted(touched - summaries.keys())]:
            container = self._containers.get(container_id)
            is_unchanged = self._summaries.get(container_id) == summaries.get(container_id)
            if container is None or container_id in touched or not is_unchanged:
                container = self._api.container(container_id, self._images)
            if container is not None:
                containers[container_id] = container
        self._containers, self._summaries = containers, summaries
        used = {container.image_id for container in containers.values()}
        self._images = {image_id: image for image_id, image in self._images.items() if image_id in used}
        return tuple(containers.values())

    def _drop_images(self, references: set[str]) -> None:
        """Drop images, given by ID or name, and the containers that were inspected with them."""
        for reference in references:
            named = None if reference.startswith("sha256:") else self._api.image(reference)
            dropped = {reference, f"sha256:{reference}", (named or {}).get("Id")}
            dropped |= {key for key, each in self._images.items() if reference in ((each or {}).get("RepoTags") or ())}
            self._images = {key: image for key, image in self._images.items() if key not in dropped}
            self._containers = {
                key: container for key, container in self._containers.items() if container.image_id not in dropped
            }


def summarize(entry: Json) -> tuple[Any, ...]:
    """Return the parts of a list entry that differ after a change. The time in its status is not one of them."""
    # `Up 2 minutes (healthy)`, `Exited (3) 2 days ago`.
    remarks = _IN_PARENTHESES.findall(str(entry.get("Status", "")))
    return (tuple(entry.get("Names") or ()), entry.get("ImageID"), entry.get("State"), *remarks)
