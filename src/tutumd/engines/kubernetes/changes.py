"""Changing what others change too: read, change what was read, and begin again where somebody came in between."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import TypeVar

from tutumd.engines.kubernetes.api import ChangedError, Cluster, NotAllowedError
from tutumd.engines.kubernetes.pods import read_pod
from tutumd.engines.kubernetes.verdict import View
from tutumd.engines.kubernetes.workloads import Address, Workload
from tutumd.errors import EngineRefusedError, EngineUnavailableError
from tutumd.ports import Run

T = TypeVar("T")

_ATTEMPTS = 12
_ATTEMPTS_NOT_ALLOWED = 6
"""How often a change that the cluster does not allow is tried again, within about two seconds."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Tempo:
    """How long things may take, and what tells the time.

    Attributes:
        now: The time in UTC.
        clock: Seconds that only ever grow.
        jitter: A number from 0 to 1, another one each time.
        stable_s: How long a new container without a readiness probe has to run before it counts.
        poll_s: How often the cluster is looked at.
        undo_s: How long we watch something being put back, beyond the time that its pods may take to stop.
    """

    now: Callable[[], datetime]
    clock: Callable[[], float]
    jitter: Callable[[], float]
    stable_s: float
    poll_s: float = 0.5
    undo_s: float = 60.0


@contextmanager
def looking() -> Iterator[None]:
    """While we only look, a missing permission is no answer about a service: it may be granted at any moment.

    Whoever is in the middle of a change must look again, not give up and leave the change behind.

    Raises:
        EngineUnavailableError: the cluster refused to tell.
    """
    try:
        yield
    except EngineRefusedError as error:
        raise EngineUnavailableError(str(error)) from error


def read_workload(cluster: Cluster, address: Address) -> Workload | None:
    """Read a workload alone; None where it is gone."""
    with looking():
        return cluster.workload(address)


def look(cluster: Cluster, address: Address) -> View | None:
    """Look at a workload and its own pods; None where it is gone."""
    workload = read_workload(cluster, address)
    if workload is None:
        return None
    with looking():
        found = cluster.pods(workload)
    pods = (read_pod(pod) for pod in found)
    return View(workload=workload, pods=tuple(pod for pod in pods if pod.owner == address))


def must_look(cluster: Cluster, address: Address) -> View:
    """Look at a workload that has to be there. Raises EngineRefusedError."""
    view = look(cluster, address)
    if view is None:
        raise EngineRefusedError(f"{address.words} is gone from the namespace {address.namespace}")
    return view


def insist(run: Run, tempo: Tempo, change: Callable[[], T]) -> T:
    """Make a change, again and again while others come in between.

    Args:
        change: Reads, decides and sends; ChangedError from it means that somebody was faster.

    Raises:
        EngineUnavailableError: others kept changing it; nothing of ours is in it.
        EngineRefusedError: the cluster refused it; a missing permission only after a few more tries.
    """
    for attempt in range(_ATTEMPTS):
        try:
            return change()
        except ChangedError:
            pass
        except NotAllowedError:
            if attempt >= _ATTEMPTS_NOT_ALLOWED:
                raise
        run.sleep((0.02 + 0.2 * tempo.jitter()) * (attempt + 1))
    raise EngineUnavailableError(f"others changed the service each of {_ATTEMPTS} times that we tried to")
