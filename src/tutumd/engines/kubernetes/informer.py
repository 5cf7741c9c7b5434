"""Informers: copies of the objects of one kind in one namespace, kept current by a watch."""

from collections.abc import Callable
from contextlib import closing, suppress
from threading import Event, Lock
from typing import Any, Generic, TypeVar

from tutumd.engines.kubernetes.api import Cluster
from tutumd.engines.kubernetes.requests import events
from tutumd.engines.labels import Json
from tutumd.errors import EngineUnavailableError

T = TypeVar("T")


class Informer(Generic[T]):
    """All objects of one kind in one namespace (empty: in all), each as the result of `read`.

    One thread follows; any thread may read.
    """

    def __init__(self, cluster: Cluster, kind: str, namespace: str, read: Callable[[Json], T]) -> None:
        self.kind = kind
        self.namespace = namespace
        self._cluster = cluster
        self._read = read
        self._objects: dict[str, T] | None = None
        self._response: Any = None
        self._lock = Lock()

    def objects(self) -> list[T]:
        """Return the objects: the copies, or the cluster's objects while nobody follows it."""
        with self._lock:
            if self._objects is not None:
                return list(self._objects.values())
        return [self._read(json) for json in self._cluster.list_all(self.kind, self.namespace)[0]]

    def follow(self, changed: Callable[[], None], stopping: Event) -> None:
        """Keep the copies current and call `changed` after each change, until `stopping` is set.

        Raises:
            EngineUnavailableError, EngineRefusedError: The objects cannot be followed any more.
        """
        try:
            listed, version = self._cluster.list_all(self.kind, self.namespace)
            self._objects = {json["metadata"]["uid"]: self._read(json) for json in listed}
            changed()
            while not stopping.is_set():
                version = self._follow_from(version, changed, stopping)
        except EngineUnavailableError:
            if not stopping.is_set():
                raise
        finally:
            self._objects = None

    def interrupt(self) -> None:
        """End a read in progress, after `stopping` is set."""
        response = self._response
        if response is not None:
            with suppress(OSError, ValueError, RuntimeError):  # it has ended by itself
                response.shutdown()

    def _follow_from(self, version: str, changed: Callable[[], None], stopping: Event) -> str:
        """Follow until the API ends the watch, as it does after a while; return the last version."""
        with closing(self._cluster.watch(self.kind, self.namespace, version)) as self._response:
            for event, json in events(self._response):
                version = json["metadata"]["resourceVersion"]
                if event != "BOOKMARK" and self._apply(event, json):
                    changed()
                if stopping.is_set():
                    break
        return version

    def _apply(self, event: str, json: Json) -> bool:
        """Apply one event to the copies; return whether that changed the result of `read`."""
        uid = json["metadata"]["uid"]
        value = None if event == "DELETED" else self._read(json)
        with self._lock:
            objects = self._objects
            if objects is None or objects.get(uid) == value:
                return False
            if value is None:
                del objects[uid]
            else:
                objects[uid] = value
        return True
