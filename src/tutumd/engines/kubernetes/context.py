"""One action on one workload: what each of its steps needs."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import TypeVar

from tutumd.engines.kubernetes.api import Cluster
from tutumd.engines.kubernetes.view import Pod, WorkloadView
from tutumd.engines.kubernetes.workloads import Address, Workload
from tutumd.engines.rollout.conflicts import retry_on_conflict
from tutumd.engines.rollout.log_lines import merge_log_lines
from tutumd.engines.rollout.outcome import LOG_LINES
from tutumd.engines.rollout.timing import Timing
from tutumd.errors import EngineRefusedError, EngineUnavailableError
from tutumd.ports.engine import Run

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkloadContext:
    """One run on the workload at `address`."""

    cluster: Cluster
    address: Address
    run: Run
    timing: Timing

    def workload(self) -> Workload | None:
        """Return the workload as it is now; None if it is gone."""
        return self.cluster.workload(self.address)

    def view(self) -> WorkloadView | None:
        """Return the workload and its pods as they are now; None if it is gone."""
        return self.cluster.view(self.address)

    def log_tail(self, pod: Pod | None, main: str) -> str:
        """Return the last lines of a pod's failing container, else of its `main` one; empty if they cannot be read."""
        if pod is None:
            return ""
        container = pod.failing or pod.container(main)
        read = partial(self.cluster.log, pod.namespace, pod.name, container.name, lines=LOG_LINES)
        try:
            # A container that waits for its next start has written nothing; its predecessor has.
            text = read(previous=True) if container.restarts else ""
            text = text or read()
        except (EngineRefusedError, EngineUnavailableError):
            # That must not hide how the rollout went.
            return ""
        return merge_log_lines([text], LOG_LINES)

    def change(self, change: Callable[[], T]) -> T:
        """Return what `change` returns, after as many attempts as conflicts make necessary."""
        return retry_on_conflict(self.run, self.timing, change)
