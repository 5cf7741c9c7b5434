"""The status of a rollout or of a change of replicas, decided from what is seen of the workload and its pods."""

from collections.abc import Iterable

from tutumd.engines.kubernetes.view import Pod, WorkloadView, describe_pod, find_culprit
from tutumd.engines.kubernetes.workloads import Kind, Workload, fingerprint
from tutumd.engines.labels import Json, parse_labels
from tutumd.engines.rollout.journal import RolloutStatus, ScaleJournal
from tutumd.engines.rollout.timing import Timing


def check_rollout(view: WorkloadView, ordered: str, restarted_at: str, *, was_stopped: bool = False) -> RolloutStatus:
    """Return the status of the rollout of the template with the fingerprint `ordered`, by its own new pods.

    The workload's status alone is not believed: it may be that of a moment ago.

    Args:
        was_stopped: The service was stopped when the rollout began.
    """
    if fingerprint(view.workload.template) != ordered:
        return RolloutStatus.SUPERSEDED
    new = view.of(restarted_at)
    if _is_given_up(view.workload) or any(pod.exited for pod in new):
        return RolloutStatus.FAILED
    is_whole = sum(pod.ready for pod in new) >= view.workload.moving
    is_shown = is_whole and not describe_emptied(view.workload, was_stopped=was_stopped)
    return RolloutStatus.SUCCEEDED if is_shown else RolloutStatus.IN_PROGRESS


def describe_emptied(workload: Workload, *, was_stopped: bool) -> str:
    """Return why a rollout replaces no pod any more; empty if it does, or if the service was stopped all the time."""
    if workload.moving or (was_stopped and workload.is_stopped):
        return ""
    if workload.kind is Kind.DAEMON_SET:
        what = f"no node fits {workload.address.words} any more, or the nodes that fit are not ready"
    elif workload.is_stopped:
        what = f"somebody else scaled {workload.address.words} to 0"
    else:
        what = f"the partition of {workload.address.words} now keeps all its pods as they are"
    return f"{what}, so nothing shows that the new version runs"


def describe_unobserved(workload: Workload) -> str:
    """Return that the controller has not seen the present specification; empty if it has."""
    if workload.observed:
        return ""
    seen, present = workload.count("observedGeneration"), workload.generation
    return (
        f"kube-controller-manager does not react to the change of {workload.address.words} (observedGeneration is "
        f"{seen}, wanted is {present}): check that it runs"
    )


def window_s(view: WorkloadView, timing: Timing) -> float:
    """Return for how long all new pods have to stay ready before they count.

    Probes have tried all their containers already. Without one, a dead container may be shown as ready for several
    seconds.
    """
    if view.workload.is_stopped or not view.unprobed:
        return timing.poll_s / 2
    stable_s = parse_labels([view.workload.annotations]).stable_s
    return timing.stable_s if stable_s is None else stable_s


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
    if view.of(restarted_at):
        return False
    as_before = view.workload.observed and len(view.ready) >= ready_before
    # kubernetes: pkg/controller/daemon/daemon_controller.go also counts pods that are stopping.
    return as_before or (is_finished(view.workload) and len(view.ready) >= view.workload.replicas)


def target_of(journal: ScaleJournal, workload: Workload) -> int:
    """Return the number of pods that must be ready. An autoscaler may have changed the one that we set."""
    return workload.replicas if journal.shared_with and journal.target and workload.replicas else journal.target


def is_scaled(view: WorkloadView, journal: ScaleJournal) -> bool:
    """Return whether as many pods are ready as wanted, no new one has ended, and the surplus ones are gone."""
    target = target_of(journal, view.workload)
    has_exited = any(pod.exited for pod in view.alive if pod.uid not in journal.present_before)
    if has_exited or not view.workload.observed or len(view.ready) < target:
        return False
    if journal.autoscaler:
        return view.workload.replicas >= journal.target
    return len(view.alive) == target and (journal.target > journal.least or not view.stopping)


def describe_progress(view: WorkloadView, restarted_at: str) -> str:
    """Return a sentence about the progress of a rollout."""
    ready = sum(pod.ready for pod in view.of(restarted_at))
    return f"{ready} of {view.workload.moving} new pods are ready"


def describe_failure(
    view: WorkloadView, restarted_at: str, failed: Pod | None, refusal: str, overdue: str
) -> tuple[str, Pod | None]:
    """Return why a rollout failed, and the pod to blame.

    Args:
        failed: A new pod that has failed for good.
        refusal: Why the cluster creates no pod; empty if it does.
        overdue: Which limit is over; empty if none is.
    """
    new = view.of(restarted_at)
    culprit = failed or find_culprit(new) or (None if refusal else find_culprit(view.alive))
    if failed is not None:
        what = "the rollout failed"
    elif _is_given_up(view.workload):
        what = "the cluster says that the rollout made no progress (ProgressDeadlineExceeded)"
    else:
        progress = f" ({describe_progress(view, restarted_at)})" if view.workload.moving else ""
        what = f"{overdue or 'the rollout was not complete'}{progress}"
    if view.workload.spec.get("paused"):
        what = f"{what}; {view.workload.address.words} was paused in the meantime"
    cause = describe_pod(culprit) if culprit is not None else refusal
    return (f"{what}: {cause}" if cause else what), culprit


def replica_failure(workload: Workload) -> str:
    """Return why the cluster creates no pods of a Deployment, such as a quota; empty if it does."""
    return str(_condition(workload, "ReplicaFailure").get("message") or "") if workload.observed else ""


def _is_given_up(workload: Workload) -> bool:
    """Return whether the cluster has given the rollout up: only Deployments report that, and continue all the same."""
    progressing = _condition(workload, "Progressing")
    return workload.observed and progressing.get("reason") == "ProgressDeadlineExceeded"


def _condition(workload: Workload, kind: str) -> Json:
    conditions: Iterable[Json] = workload.status.get("conditions") or ()
    return next((condition for condition in conditions if condition["type"] == kind), {})
