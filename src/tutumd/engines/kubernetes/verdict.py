"""How a rollout stands: decided from the workload and its pods as they are now, and from what was ordered."""

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum, auto

from tutumd.engines.kubernetes.pods import Pod, blamed, words_of
from tutumd.engines.kubernetes.workloads import Kind, Workload, fingerprint
from tutumd.engines.labels import Json


@dataclass(frozen=True, slots=True, kw_only=True)
class View:
    """A workload and its own pods at one moment."""

    workload: Workload
    pods: tuple[Pod, ...]

    @property
    def alive(self) -> tuple[Pod, ...]:
        """The pods that run or shall run."""
        return tuple(pod for pod in self.pods if pod.alive)

    @property
    def ready(self) -> tuple[Pod, ...]:
        """The pods that do their work."""
        return tuple(pod for pod in self.alive if pod.ready)

    @property
    def leaving(self) -> int:
        """How many pods are on their way to a stop."""
        return sum(pod.deleting for pod in self.pods)

    def of(self, restarted_at: str) -> tuple[Pod, ...]:
        """Return the living pods that a restart at that time made."""
        return tuple(pod for pod in self.alive if pod.restarted_at == restarted_at)


class Finding(Enum):
    """How a rollout stands."""

    WAIT = auto()
    ARRIVED = auto()
    """Every pod that moves is new and available."""
    FAILED = auto()
    """It will not end well, and the template is still ours."""
    SUPERSEDED = auto()
    """The template is no longer the one that we ordered."""


def judge(view: View, ordered: str, restarted_at: str) -> Finding:
    """Tell how the rollout of the template with the fingerprint `ordered` stands."""
    if fingerprint(view.workload.template) != ordered:
        return Finding.SUPERSEDED
    if _whole(view):
        return Finding.ARRIVED
    if overran(view.workload) or any(pod.trouble for pod in view.of(restarted_at)):
        return Finding.FAILED
    return Finding.WAIT


def finished(workload: Workload) -> bool:
    """Tell whether every pod that moves is of the present template and available.

    kubectl: pkg/polymorphichelpers/rollout_status.go. Before its controller has seen the specification, a workload's
    status is that of the one before.
    """
    return workload.observed and _FINISHED[workload.kind](workload)


def _whole(view: View) -> bool:
    workload = view.workload
    # kubernetes: pkg/controller/daemon/daemon_controller.go counts pods that are on their way to a stop, too.
    stays = workload.kind is not Kind.DAEMON_SET or len(view.ready) >= workload.replicas
    return stays and finished(workload)


def overran(workload: Workload) -> bool:
    """Tell whether the cluster has given a rollout up: only Deployments have such a word, and go on all the same."""
    progressing = condition(workload, "Progressing")
    return workload.observed and progressing.get("reason") == "ProgressDeadlineExceeded"


def condition(workload: Workload, kind: str) -> Json:
    """Return the condition of that type; empty where there is none."""
    found: Json = next((one for one in workload.status.get("conditions") or () if one["type"] == kind), {})
    return found


def restored(view: View, restarted_at: str, ready_before: int) -> bool:
    """Tell whether the pods from before work again as far as they did; a service that was not whole need not become so.

    Args:
        restarted_at: Of the rollout that was taken back.
    """
    if _whole(view):
        return True
    return view.workload.observed and not view.of(restarted_at) and len(view.ready) >= ready_before


def progress(view: View, restarted_at: str) -> str:
    """Say how far a rollout is."""
    ready = sum(pod.ready for pod in view.of(restarted_at))
    return f"{ready} of {view.workload.moving} new pods are ready"


def failure(view: View, restarted_at: str) -> tuple[str, Pod | None]:
    """Say why a rollout failed, and whose fault it is."""
    pod = blamed(view.of(restarted_at))
    if overran(view.workload):
        what = "the cluster says that the rollout made no progress (ProgressDeadlineExceeded)"
    elif pod is not None and pod.trouble is not None:
        what = "the rollout failed"
    else:
        what = f"the rollout did not end before the deadline ({progress(view, restarted_at)})"
    if view.workload.spec.get("paused"):
        what = f"{what}; {view.workload.address.words} was paused meanwhile"
    if pod is not None:
        return f"{what}: {words_of(pod)}", pod
    trouble = condition(view.workload, "ReplicaFailure")
    return (f"{what}: {trouble['message']}" if trouble.get("message") else what), None


def _deployment(workload: Workload) -> bool:
    status = _counts(workload)
    updated = status("updatedReplicas")
    return (
        updated >= workload.replicas
        and status("replicas") <= updated
        and status("availableReplicas") >= updated
        and not overran(workload)
    )


def _stateful_set(workload: Workload) -> bool:
    status = _counts(workload)
    if status("readyReplicas") < workload.replicas or status("updatedReplicas") < workload.moving:
        return False
    if "availableReplicas" in workload.status and status("availableReplicas") < workload.replicas:
        return False
    if workload.moving < workload.replicas:
        return True
    return workload.status.get("currentRevision") == workload.status.get("updateRevision")


def _daemon_set(workload: Workload) -> bool:
    status = _counts(workload)
    wanted = workload.replicas
    return status("updatedNumberScheduled") >= wanted and status("numberAvailable") >= wanted


def _counts(workload: Workload) -> Callable[[str], int]:
    # Counts that are 0 are left out of the API's JSON.
    return lambda name: int(workload.status.get(name) or 0)


_FINISHED = {Kind.DEPLOYMENT: _deployment, Kind.STATEFUL_SET: _stateful_set, Kind.DAEMON_SET: _daemon_set}
