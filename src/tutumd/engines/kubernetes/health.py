"""The status of a rollout or of a change of replicas, decided from what is seen of the workload and its pods."""

from collections.abc import Iterable

from tutumd.engines.kubernetes.journal import ScaleJournal
from tutumd.engines.kubernetes.view import Pod, WorkloadView, describe_pod, find_culprit
from tutumd.engines.kubernetes.workloads import Kind, Workload, fingerprint
from tutumd.engines.labels import Json
from tutumd.engines.rollout.outcome import RolloutStatus


def check_rollout(view: WorkloadView, ordered: str, restarted_at: str) -> RolloutStatus:
    """Return the status of the rollout of the template with the fingerprint `ordered`."""
    if fingerprint(view.workload.template) != ordered:
        return RolloutStatus.SUPERSEDED
    if _is_complete(view):
        return RolloutStatus.SUCCEEDED
    if _is_given_up(view.workload) or any(pod.failing for pod in view.of(restarted_at)):
        return RolloutStatus.FAILED
    return RolloutStatus.IN_PROGRESS


def is_finished(workload: Workload) -> bool:
    """Return whether every pod that a restart replaces is of the present template and available.

    kubectl: pkg/polymorphichelpers/rollout_status.go. Until the controller has observed the specification, the status
    is that of the previous one.
    """
    replicas, updated = workload.replicas, workload.count("updatedReplicas")
    if not workload.observed or _is_given_up(workload):
        return False
    if workload.kind is Kind.DAEMON_SET:
        return min(workload.count("updatedNumberScheduled"), workload.count("numberAvailable")) >= replicas
    if workload.kind is Kind.DEPLOYMENT:
        return max(replicas, workload.count("replicas")) <= updated <= workload.count("availableReplicas")
    if workload.count("readyReplicas") < replicas or updated < workload.moving:
        return False
    if "availableReplicas" in workload.status and workload.count("availableReplicas") < replicas:
        return False
    return workload.moving < replicas or workload.status.get("currentRevision") == workload.status.get("updateRevision")


def is_rolled_back(view: WorkloadView, restarted_at: str, ready_before: int) -> bool:
    """Return whether as many pods are ready as before the rollout, and none of the rollout is left.

    A workload that was incomplete before need not become complete.

    Args:
        restarted_at: Of the rollout that is rolled back.
    """
    as_before = view.workload.observed and not view.of(restarted_at) and len(view.ready) >= ready_before
    return as_before or _is_complete(view)


def is_scaled(view: WorkloadView, journal: ScaleJournal) -> bool:
    """Return whether as many pods are ready as wanted, and the surplus ones are gone."""
    target = journal.target_of(view.workload)
    if not view.workload.observed or len(view.ready) < target:
        return False
    if journal.autoscaler:
        return view.workload.replicas >= journal.target
    return len(view.alive) == target and (journal.target > journal.least or not view.stopping)


def describe_progress(view: WorkloadView, restarted_at: str) -> str:
    """Return a sentence about the progress of a rollout."""
    ready = sum(pod.ready for pod in view.of(restarted_at))
    return f"{ready} of {view.workload.moving} new pods are ready"


def describe_failure(view: WorkloadView, restarted_at: str, overdue: str) -> tuple[str, Pod | None]:
    """Return why a rollout failed, and the pod to blame.

    Args:
        overdue: Which limit is over; empty if none is.
    """
    culprit = find_culprit(view.of(restarted_at))
    if _is_given_up(view.workload):
        what = "the cluster says that the rollout made no progress (ProgressDeadlineExceeded)"
    elif culprit is not None and culprit.failing is not None:
        what = "the rollout failed"
    else:
        what = f"{overdue or 'the rollout was not complete'} ({describe_progress(view, restarted_at)})"
    if view.workload.spec.get("paused"):
        what = f"{what}; {view.workload.address.words} was paused in the meantime"
    cause = describe_pod(culprit) if culprit is not None else replica_failure(view.workload)
    return (f"{what}: {cause}" if cause else what), culprit


def replica_failure(workload: Workload) -> str:
    """Return why the cluster creates no pods, such as a quota; empty if it does."""
    return str(_condition(workload, "ReplicaFailure").get("message") or "")


def _is_complete(view: WorkloadView) -> bool:
    # kubernetes: pkg/controller/daemon/daemon_controller.go also counts pods that are stopping.
    enough = view.workload.kind is not Kind.DAEMON_SET or len(view.ready) >= view.workload.replicas
    return enough and is_finished(view.workload)


def _is_given_up(workload: Workload) -> bool:
    """Return whether the cluster has given the rollout up: only Deployments report that, and continue all the same."""
    progressing = _condition(workload, "Progressing")
    return workload.observed and progressing.get("reason") == "ProgressDeadlineExceeded"


def _condition(workload: Workload, kind: str) -> Json:
    conditions: Iterable[Json] = workload.status.get("conditions") or ()
    return next((condition for condition in conditions if condition["type"] == kind), {})
