"""One lock per service: an action holds it from beginning to end, supervision only in between."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from tutumd.errors import EngineUnavailableError


class Locks:
    """Locks by service UUID, made when first needed."""

    def __init__(self) -> None:
        self._guard = threading.Lock()
        self._locks: dict[str, threading.Lock] = {}

    @contextmanager
    def holding(self, uuid: str, *, timeout_s: float) -> Iterator[None]:
        """Hold a service's lock. Raises EngineUnavailableError where it is not free within `timeout_s`."""
        lock = self._of(uuid)
        if not lock.acquire(timeout=timeout_s):
            raise EngineUnavailableError(f"waited {timeout_s:g} s for an earlier action on the service to leave")
        try:
            yield
        finally:
            lock.release()

    @contextmanager
    def trying(self, uuid: str) -> Iterator[bool]:
        """Hold a service's lock if it is free, without waiting, and say whether it was."""
        lock = self._of(uuid)
        is_free = lock.acquire(blocking=False)
        try:
            yield is_free
        finally:
            if is_free:
                lock.release()

    def _of(self, uuid: str) -> threading.Lock:
        with self._guard:
            return self._locks.setdefault(uuid, threading.Lock())
