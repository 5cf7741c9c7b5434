"""A copy of what a namespace holds of one kind, kept up to date by a watch, so that looking at all costs little."""

from collections.abc import Callable
from threading import Event, Lock
from typing import Any, Generic, TypeVar

from tutumd.engines.kubernetes.api import Cluster, ExpiredError, events
from tutumd.engines.labels import Json
from tutumd.errors import EngineUnavailableError

T = TypeVar("T")


class Mirror(Generic[T]):
    """All objects of one kind in one namespace (empty: in all), each as `read` makes it.

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

    def look(self) -> list[T]:
        """Return the objects: from the copy, or from the cluster while nobody follows it."""
        with self._lock:
            if self._objects is not None:
                return list(self._objects.values())
        return [self._read(one) for one in self._cluster.all_of(self.kind, self.namespace)[0]]

    def follow(self, changed: Callable[[], None], stopping: Event) -> None:
        """Keep the copy up to date, and tell of each change, until `stopping` is set.

        Raises:
            EngineUnavailableError, EngineRefusedError: it cannot be followed any more.
        """
        try:
            while not stopping.is_set():
                try:
                    self._follow_from_a_list(changed, stopping)
                except ExpiredError:
                    continue  # the API has forgotten where we were
        except EngineUnavailableError:
            if not stopping.is_set():
                raise
        finally:
            self._objects = None

    def interrupt(self) -> None:
        """End a read that is under way, once `stopping` is set."""
        response = self._response
        if response is not None:
            try:
                response.shutdown()
            except (OSError, ValueError, RuntimeError):
                return  # it has ended by itself

    def _follow_from_a_list(self, changed: Callable[[], None], stopping: Event) -> None:
        found, version = self._cluster.all_of(self.kind, self.namespace)
        self._objects = {one["metadata"]["uid"]: self._read(one) for one in found}
        changed()
        while not stopping.is_set():
            self._response = self._cluster.watch(self.kind, self.namespace, version)
            try:
                for what, one in events(self._response):
                    version = one["metadata"]["resourceVersion"]
                    if what != "BOOKMARK" and self._take(what, one):
                        changed()
                    if stopping.is_set():
                        return
            finally:
                self._response.close()
                self._response = None

    def _take(self, what: str, one: Json) -> bool:
        """Bring one event into the copy; answer whether that changed anything that matters."""
        uid = one["metadata"]["uid"]
        value = None if what == "DELETED" else self._read(one)
        with self._lock:
            objects = self._objects
            if objects is None or objects.get(uid) == value:
                return False
            if value is None:
                del objects[uid]
            else:
                objects[uid] = value
        return True
