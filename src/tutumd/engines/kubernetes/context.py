"""One action on one workload: what each of its steps needs."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from tutumd.engines.kubernetes.api import Cluster
from tutumd.engines.kubernetes.view import WorkloadView
from tutumd.engines.kubernetes.workloads import Address, Workload
from tutumd.engines.rollout.conflicts import retry_on_conflict
from tutumd.engines.rollout.timing import Timing
from tutumd.ports import Run

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

    def change(self, change: Callable[[], T]) -> T:
        """Return what `change` returns, after as many attempts as conflicts make necessary."""
        return retry_on_conflict(self.run, self.timing, change)
