"""Containers of one engine: inspected by discovery, kept current by events, with a closer look at a few.

A container that cannot be inspected hides no other container: it is represented by its entry in the engine's list.
"""

import json
import re
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import replace
from email.utils import parsedate_to_datetime
from threading import Event, Lock
from typing import Any

import requests.exceptions
import urllib3.exceptions

from tutumd.engines.docker.api import DockerApi
from tutumd.engines.docker.look.containers import InspectedContainer, listed_name, parse_container, parse_entry
from tutumd.engines.docker.look.services import base_name, group_by_service
from tutumd.engines.docker.plan.constraints import find_dependents
from tutumd.engines.dockerapi.connection import EVENTS_SILENCE_S, Client
from tutumd.engines.dockerapi.failures import timed_out, translated
from tutumd.engines.labels import Json
from tutumd.errors import EngineRefusedError, EngineUnavailableError

# Pause between attempts to inspect a failing container: each attempt may take as long as a call may.
_RETRY_S = 60.0


class ContainerCache:
    """The containers of one engine.

    Discovery needs events because the engine's container list lags behind its inspect documents.
    """

    def __init__(self, api: DockerApi, clock: Callable[[], float] = time.monotonic) -> None:
        self._api = api
        self._clock = clock
        self._lock = Lock()
        self._refreshing = Lock()
        self._enabled = False
        self._is_stale = True
        self._touched: set[str] = set()
        self._touched_images: set[str] = set()
        self._containers: dict[str, InspectedContainer] = {}
        self._summaries: dict[str, tuple[Any, ...]] = {}
        self._events = 0
        # Of the last look at one service.
        self._known: dict[str, InspectedContainer] = {}
        self._next_retry = 0.0

    def enable(self) -> None:
        """Start with an empty cache; the caller now passes every event to `invalidate`."""
        self._enabled, self._is_stale = True, True

    def disable(self) -> None:
        """Stop caching: the event stream has ended."""
        self._enabled = False

    def invalidate(self, event: Mapping[str, Any]) -> None:
        """Mark the container or image of an event for inspection."""
        if reference := str((event.get("Actor") or {}).get("ID", "")):
            with self._lock:
                self._events += 1
                (self._touched_images if event.get("Type") == "image" else self._touched).add(reference)

    def activity(self) -> int | None:
        """Return the number of events so far; None while no events arrive."""
        return self._events if self._enabled else None

    def containers(self) -> tuple[InspectedContainer, ...]:
        """Return all containers, running or not; inspect new and possibly changed containers."""
        with self._refreshing:
            with self._lock:
                touched, self._touched = self._touched, set()
                images, self._touched_images = self._touched_images, set()
                is_stale = self._is_stale or not self._enabled
                self._is_stale = not self._enabled
            try:
                return self._refresh(self._with_images({} if is_stale else self._containers, images), touched)
            except BaseException:
                self._is_stale = True
                raise

    def around(self, selector: str) -> tuple[InspectedContainer, ...]:
        """Return all containers; inspect the containers of one service, their dependents, and containers that are being
        replaced.

        Every other container is inspected only if it never was. Its name and status are taken from the list; its other
        used fields, such as namespaces and mounts, never change.
        """
        entries = {entry["Id"]: entry for entry in self._api.list_containers()}
        known = {**self._known, **self._containers}
        images = self._api.known_images = dict[str, Json | None]()
        if self._enabled and not self._touched_images:  # otherwise an image may be gone, or have other names
            images.update({each.image_id: each.image for each in known.values() if each.image and not each.fault})
        looked = {
            key: self._inspect(entry, images)
            for key, entry in entries.items()
            if key not in known or not listed_name(entry)
        }
        listed = {
            key: replace(known[key], name=listed_name(entry), status=str(entry.get("State")))
            for key, entry in entries.items()
            if key not in looked
        }
        shown = [container for container in (*listed.values(), *looked.values()) if container is not None]
        members = [
            each for group in group_by_service(shown) if group.selector == selector for each in group.all_containers
        ]
        dependents = [dependent.container for dependent in find_dependents(members, shown)]
        replaced = {base_name(each.name) for each in shown if base_name(each.name) != each.name}
        for each in (*members, *dependents, *(each for each in shown if base_name(each.name) in replaced)):
            if each.id not in looked:
                looked[each.id] = self._inspect(entries[each.id], images)
        current = {key: each for key, each in {**listed, **looked}.items() if each is not None}
        self._known = current
        return tuple(current.values())

    def _refresh(self, known: Mapping[str, InspectedContainer], touched: set[str]) -> tuple[InspectedContainer, ...]:
        """Read the list, and inspect the containers that are unknown, were touched, or differ in the list."""
        entries = {entry["Id"]: entry for entry in self._api.list_containers()}
        summaries = {key: summarize(entry) for key, entry in entries.items()}
        retries = self._clock() >= self._next_retry
        if retries:
            self._next_retry = self._clock() + _RETRY_S
        images = {container.image_id: container.image for container in known.values() if not container.fault}
        containers: dict[str, InspectedContainer] = {}
        # The list may lack a container that was just created, and still contain a container that was just removed.
        for container_id in [*summaries, *sorted(touched - summaries.keys())]:
            container = known.get(container_id)
            is_unchanged = self._summaries.get(container_id) == summaries.get(container_id)
            if container is None or container_id in touched or not is_unchanged or (container.fault and retries):
                container = self._inspect(entries.get(container_id, {"Id": container_id}), images)
            if container is not None:
                containers[container_id] = container
        self._containers, self._summaries = containers, summaries
        return tuple(containers.values())

    def _inspect(self, entry: Json, images: dict[str, Json | None]) -> InspectedContainer | None:
        """Inspect a container. A container that cannot be inspected is represented by its list entry, or omitted if it
        has none.

        Raises:
            EngineUnavailableError: The engine itself does not respond.
        """
        try:
            return self._api.container(entry["Id"], images)
        except (EngineRefusedError, EngineUnavailableError) as error:
            self._api.client.probe()
            if "Names" not in entry:
                return None
            with suppress(EngineRefusedError):
                images.setdefault(entry["ImageID"], self._api.image(entry["ImageID"]))
            return parse_entry(entry, images.get(entry["ImageID"]), str(error))

    def _with_images(
        self, known: Mapping[str, InspectedContainer], touched: set[str]
    ) -> Mapping[str, InspectedContainer]:
        """Return containers with the current documents of the images that events named by ID or by name.

        An image whose name moved is affected as well: its document still has the name.
        """
        changed = {*touched, *(f"sha256:{reference}" for reference in touched)}
        for reference in touched:
            with suppress(EngineRefusedError):
                changed.add(str((self._api.image(reference) or {}).get("Id")))
        images: dict[str, Json | None] = {}
        for image_id, image in {each.image_id: each.image for each in known.values() if not each.fault}.items():
            if image_id in changed or not touched.isdisjoint((image or {}).get("RepoTags") or ()):
                with suppress(EngineRefusedError):
                    images[image_id] = self._api.image(image_id)
        return {
            key: parse_container(each.raw, images[each.image_id])
            if each.image_id in images and not each.fault
            else each
            for key, each in known.items()
        }


def summarize(entry: Json) -> tuple[Any, ...]:
    """Return the parts of a list entry that differ after a change. The time in its status is excluded."""
    # `Up 2 minutes (healthy)`, `Exited (3) 2 days ago`.
    remarks = re.findall(r"\(([^)]*)\)", str(entry.get("Status", "")))
    return (tuple(entry.get("Names") or ()), entry.get("ImageID"), entry.get("State"), *remarks)


def watch_events(client: Client, cache: ContainerCache, changed: Callable[[], None], stop: Event) -> None:
    """Call `changed` at each event of a container or image, until `stop` is set or the connection breaks.

    A connection that is silent for a minute is replaced, since its other end may be gone. The new connection repeats
    the events from then on.
    """
    since: float | None = None
    try:
        while not stop.is_set():
            with translated("follow the engine's events"):
                since = _follow(client, cache, changed, stop, since)
    finally:
        cache.disable()


def _follow(
    client: Client, cache: ContainerCache, changed: Callable[[], None], stop: Event, since: float | None
) -> float | None:
    """Follow one connection until it is silent for too long, or `stop` is set.

    Returns:
        The engine's time from which on events may be missing.

    Raises:
        EngineUnavailableError: The engine closed the connection.
    """
    parameters = {"filters": json.dumps({"type": ["container", "image"]}), "since": since and f"{since:.0f}"}
    with client.follow("GET", "/events", EVENTS_SILENCE_S, stop.is_set, params=parameters) as (records, date):
        if since is None:
            cache.enable()
            changed()
        latest = parsedate_to_datetime(date).timestamp() if date else None
        try:
            for record in records:
                if stop.is_set():
                    break
                latest = record.get("time", latest)
                if not str(record.get("Action", "")).startswith(("exec", "top", "resize", "attach", "detach")):
                    cache.invalidate(record)
                    changed()
        except (requests.exceptions.RequestException, urllib3.exceptions.HTTPError, OSError) as error:
            if not (stop.is_set() or timed_out(error)):
                raise
            return latest
    if stop.is_set():
        return None
    raise EngineUnavailableError("the engine ended the stream of its events")
