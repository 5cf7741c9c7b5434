"""Objects of a small cluster, with versions, generations, conflicts and events."""

import copy
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

from tests.support.kubernetes.patches import PATCHES

Key = tuple[str, str, str]
"""Resource, namespace, name."""


class Refusal(Exception):
    """An error response of the API."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.message = message


@dataclass(frozen=True)
class Event:
    """One change, numbered by the version that it made."""

    version: int
    what: str
    key: Key
    object: dict[str, Any]


@dataclass
class Store:
    """All objects. Everything happens under `lock`."""

    lock: threading.Condition = field(default_factory=lambda: threading.Condition(threading.RLock()))
    version: int = 1
    objects: dict[Key, dict[str, Any]] = field(default_factory=dict)
    events: list[Event] = field(default_factory=list)
    forgotten: int = 0
    """Watches that begin before this version get the error that it is gone."""
    watch_error: Refusal | None = None
    """Ends every watch."""
    on_change: Callable[[], None] = lambda: None
    """Called after each change, under the lock."""

    def create(self, resource: str, given: dict[str, Any]) -> dict[str, Any]:
        with self.lock:
            metadata = given["metadata"]
            key = (resource, metadata["namespace"], metadata["name"])
            assert key not in self.objects
            metadata.setdefault("uid", f"uid-{self.version}-{metadata['name']}")
            metadata.setdefault("generation", 1)
            return self._put("ADDED", key, given)

    def get(self, key: Key) -> dict[str, Any]:
        with self.lock:
            if key not in self.objects:
                raise Refusal(404, f'{key[0]} "{key[2]}" not found')
            return copy.deepcopy(self.objects[key])

    def list(self, resource: str, namespace: str = "") -> list[dict[str, Any]]:
        with self.lock:
            keys = sorted(key for key in self.objects if key[0] == resource and namespace in ("", key[1]))
            return [copy.deepcopy(self.objects[key]) for key in keys]

    def replace(self, key: Key, new: dict[str, Any]) -> dict[str, Any]:
        """Store a changed object. Its version must be the last one; a changed `spec` makes a new generation."""
        with self.lock:
            old = self.get(key)
            if new["metadata"].get("resourceVersion") != old["metadata"]["resourceVersion"]:
                raise Refusal(
                    409, f'Operation cannot be fulfilled on {key[0]} "{key[2]}": the object has been modified'
                )
            if new.get("spec") != old.get("spec"):
                new["metadata"]["generation"] = old["metadata"]["generation"] + 1
            if new == old:
                return old
            return self._put("MODIFIED", key, new)

    def patch(self, key: Key, content_type: str, body: Any) -> dict[str, Any]:
        with self.lock:
            return self.replace(key, PATCHES[content_type](self.get(key), body))

    def change(self, key: Key, change: Callable[[dict[str, Any]], None]) -> None:
        """Change an object as a controller or another client would."""
        with self.lock:
            new = self.get(key)
            change(new)
            self.replace(key, new)

    def delete(self, key: Key) -> None:
        with self.lock:
            gone = self.get(key)
            del self.objects[key]
            self.version += 1
            gone["metadata"]["resourceVersion"] = str(self.version)
            self._tell(Event(self.version, "DELETED", key, gone))

    def follow(
        self, resource: str, namespace: str, version: int, ends: float, is_over: Callable[[], bool]
    ) -> Iterator[Event]:
        """Yield the events of a resource after a version, until the monotonic time `ends`, or until `is_over`."""
        at = version
        if self.watch_error:
            raise self.watch_error
        while True:
            with self.lock:
                if at < self.forgotten:
                    raise Refusal(410, "too old resource version")
                found = [
                    event
                    for event in self.events
                    if event.version > at and event.key[0] == resource and namespace in ("", event.key[1])
                ]
                at = self.version
                if not found:
                    if time.monotonic() >= ends or is_over():
                        return
                    self.lock.wait(0.05)
            yield from found

    def _put(self, what: str, key: Key, new: dict[str, Any]) -> dict[str, Any]:
        self.version += 1
        new["metadata"]["resourceVersion"] = str(self.version)
        self.objects[key] = copy.deepcopy(new)
        self._tell(Event(self.version, what, key, copy.deepcopy(new)))
        return copy.deepcopy(new)

    def _tell(self, event: Event) -> None:
        self.events.append(event)
        self.lock.notify_all()
        self.on_change()
