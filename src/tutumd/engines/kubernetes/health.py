"""The status of a rollout or of a change of replicas, decided from a view of the workload and its pods.

A StatefulSet waits until each pod is ready before it replaces one, even by a template that would repair that pod
(kubernetes/kubernetes#67250; its docs call the solution a forced rollback: the pod must be deleted).
"""

import re
from collections.abc import Iterable, Sequence
from contextlib import suppress
from datetime import datetime

from tutumd.engines.kubernetes.context import WorkloadContext
from tutumd.engines.kubernetes.view import Pod, WorkloadView, describe_pod, find_culprit
from tutumd.engines.kubernetes.workloads import Kind, Workload
from tutumd.engines.labels import Json, parse_labels
from tutumd.engines.rollout import HoldTimer, RolloutStatus, ScaleJournal, Timing, blame, join_sentences
from tutumd.errors import Cause, EngineRefusedError, ReasonCode, code_of


def describe_emptied(workload: Workload, *, was_stopped: bool) -> str:
    """Return why a rollout no longer replaces pods; empty if it does, or if the service was stopped all the time."""
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
    """Return a note if the controller has not observed the current specification; empty if it has."""
    if workload.observed:
        return ""
    seen, present = workload.count("observedGeneration"), workload.metadata["generation"]
    return (
        f"kube-controller-manager does not react to the change of {workload.address.words} (observedGeneration is "
        f"{seen}, wanted is {present}): check that it runs"
    )


def window_s(view: WorkloadView, timing: Timing) -> float:
    """Return for how many seconds all new pods must stay ready before they count.

    With probes, all containers have already been checked. Without a probe, a dead container may be shown as ready for
    several seconds.
    """
    if view.workload.is_stopped or not view.unprobed:
        return timing.poll_s
    stable_s = parse_labels([view.workload.annotations]).stable_s
    return timing.stable_s if stable_s is None else stable_s


def is_finished(workload: Workload) -> bool:
    """Return whether every pod that a restart replaces has the current template and is available.

    kubectl: pkg/polymorphichelpers/rollout_status.go. Until the controller has observed the specification, the status
    belongs to the previous one.
    """
    replicas, updated = workload.replicas, workload.count("updatedReplicas")
    if not workload.observed or is_given_up(workload):
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
    """Return whether as many pods are ready as before the rollout, and no pod of the rollout is left.

    A workload that was incomplete before need not become complete.

    Args:
        restarted_at: Time of the rollout that is rolled back.
    """
    if view.of(restarted_at):
        return False
    as_before = view.workload.observed and len(view.ready) >= ready_before
    # kubernetes: pkg/controller/daemon/daemon_controller.go also counts stopping pods.
    return as_before or (is_finished(view.workload) and len(view.ready) >= view.workload.replicas)


def target_of(journal: ScaleJournal, workload: Workload) -> int:
    """Return the number of pods that must be ready. An autoscaler may have changed the number that was set."""
    return workload.replicas if journal.shared_with and journal.target and workload.replicas else journal.target


def is_scaled(view: WorkloadView, journal: ScaleJournal) -> bool:
    """Return whether as many pods are ready as requested, and the surplus pods are gone."""
    target = target_of(journal, view.workload)
    if not view.workload.observed or len(view.ready) < target:
        return False
    if journal.autoscaler:
        return view.workload.replicas >= journal.target
    return len(view.alive) == target and (journal.target > journal.before or not view.stopping)


def describe_progress(view: WorkloadView, restarted_at: str) -> str:
    """Return a sentence about the progress of a rollout."""
    ready = sum(pod.ready for pod in view.of(restarted_at))
    return f"{ready} of {view.workload.moving} new pods are ready"


def describe_failure(
    view: WorkloadView, restarted_at: str, failed: Pod | None, refusal: str, overdue: str
) -> tuple[str, Pod | None]:
    """Return why a rollout failed, and the culprit.

    Args:
        failed: A new pod that has failed permanently.
        refusal: Why the cluster creates no pod; empty if it does.
        overdue: The exceeded limit as text; empty if none is exceeded.
    """
    culprit = failed or find_culprit(view.of(restarted_at)) or (None if refusal else find_culprit(view.alive))
    if failed is not None:
        what = "the rollout failed"
    elif is_given_up(view.workload):
        what = Cause(
            "the cluster says that the rollout made no progress (ProgressDeadlineExceeded)", ReasonCode.NO_PROGRESS
        )
    else:
        progress = f" ({describe_progress(view, restarted_at)})" if view.workload.moving else ""
        what = Cause(f"{overdue or 'the rollout was not complete'}{progress}", code_of(overdue))
    if view.workload.spec.get("paused"):
        what = join_sentences(what, f"{view.workload.address.words} was paused in the meantime")
    return blame(what, describe_pod(culprit) if culprit is not None else refusal), culprit


def is_given_up(workload: Workload) -> bool:
    """Return whether the cluster has given up the rollout: only Deployments report that, and they continue
    nevertheless.
    """
    return workload.observed and _condition(workload, "Progressing").get("reason") == "ProgressDeadlineExceeded"


def _condition(workload: Workload, kind: str) -> Json:
    conditions: Iterable[Json] = workload.status.get("conditions") or ()
    return next((condition for condition in conditions if condition["type"] == kind), {})


# A pull that fails with these words fails again (containerd, distribution); after any other words the node retries.
_HOPELESS_PULL = re.compile(r"not found|manifest unknown|denied|unauthorized|authorization|no match")
_PULLS = ("ErrImagePull", "ImagePullBackOff")


def find_stuck(view: WorkloadView, restarted_at: str | None = None) -> list[Pod]:
    """Return the failing pods that the restart at this time did not create.

    A pod that runs but is not ready is excluded: it may be recovering. Below the partition, a pod would be created
    again as it was.
    """
    if view.workload.kind is not Kind.STATEFUL_SET:
        return []
    partition = int(view.workload.rolling.get("partition") or 0)
    others = (pod for pod in view.alive if pod.restarted_at != restarted_at and pod.failing and not pod.ready)
    return [pod for pod in others if int(pod.name.rpartition("-")[2]) >= partition]


def describe_stuck(view: WorkloadView) -> str:
    """Return a sentence about the stuck pods and what happens to them; empty if there are none."""
    stuck = find_stuck(view)
    if not stuck:
        return ""
    return (
        f"{view.workload.address.words} waits for pods that cannot run ({'; '.join(map(describe_pod, stuck))}): the "
        f"redeploy deletes them; if its account may not delete pods, do so while it runs: {_command(stuck)}"
    )


def describe_late(view: WorkloadView, now: datetime) -> str:
    """Return which pod should have stopped by now, for how long it has been stopping, and why; empty if there is none.

    If a pod has finalizers, only these are left to remove after its node has ended its containers.
    """
    pod = next(iter(view.late(now)), None)
    if pod is None or pod.due is None:
        return ""
    age_s = (now - pod.due).total_seconds() + pod.grace_s
    why = f"its node {pod.node} has not removed it (kubectl describe pod {pod.name} --namespace {pod.namespace})"
    if pod.is_lost:
        why = f"its node {pod.node} does not respond (kubectl describe node {pod.node})"
    elif pod.finalizers and not any(container.started for container in pod.containers):
        why = f"its containers have ended, but nobody has removed its finalizers: {', '.join(pod.finalizers)}"
    return f"pod {pod.name} has been terminating for {age_s:.0f} s: {why}"


def _command(pods: Sequence[Pod]) -> str:
    return f"kubectl delete pod {' '.join(pod.name for pod in pods)} --namespace {pods[0].namespace}"


class PodWatch:
    """Follows the pods of one run, measured by our own clock.

    An exit of a container is final. Any other failure may be temporary, for example if a Secret or a registry is late,
    so it counts only after it has lasted.

    Attributes:
        failed: A new pod that has failed permanently; None if there is none.
        refusal: Why the cluster has created no pod for a while; empty if it has.
        problem: Why stuck pods could not be deleted, and the remedy; empty if they could.
    """

    def __init__(self, context: WorkloadContext) -> None:
        self.failed: Pod | None = None
        self.refusal = ""
        self.problem = ""
        self._context = context
        self._since: dict[str, float] = {}
        self._refused = HoldTimer(context.timing.clock)

    def status(
        self, view: WorkloadView, new: Sequence[Pod], *, is_whole: bool, emptied: str = "", patience_s: float = 0.0
    ) -> RolloutStatus:
        """Take a look; return whether the requested state is reached, or has failed permanently.

        Args:
            new: The pods that the run has created.
            is_whole: Whether the requested state is reached at this moment.
            emptied: Why no pod is wanted any more; empty if pods are wanted.
            patience_s: Seconds, beside those of `Timing`, for which the cluster may create only some new pods.
        """
        self.failed = next((pod for pod in new if pod.exited), None) or next(iter(self._lasting(new)), None)
        self.refusal = "" if is_whole else self._lasting_refusal(view, new, emptied, patience_s)
        if self.failed is not None or self.refusal:
            return RolloutStatus.FAILED
        return RolloutStatus.SUCCEEDED if is_whole else RolloutStatus.IN_PROGRESS

    def _lasting(self, pods: Sequence[Pod]) -> list[Pod]:
        """Return the pods that have been failing for long enough."""
        timing, lasting = self._context.timing, []
        for pod in pods:
            container = pod.failing
            since = self._since.setdefault(pod.uid, timing.clock()) if container else self._since.pop(pod.uid, 0.0)
            may_pass = container and container.waiting in _PULLS and not _HOPELESS_PULL.search(container.message)
            if container and timing.clock() - since >= (timing.pull_doubt_s if may_pass else timing.doubt_s):
                lasting.append(pod)
        return lasting

    def _lasting_refusal(self, view: WorkloadView, new: Sequence[Pod], refusal: str, patience_s: float) -> str:
        # A stopping pod frees room, and a pod that becomes ready lets another pod stop.
        if not refusal and not view.stopping and all(pod.ready for pod in new):
            with suppress(EngineRefusedError):
                refusal = self._creation_refusal(view)
        held_s = self._refused.seconds((bool(refusal), len(new)))
        return refusal if held_s >= self._context.timing.doubt_s + (patience_s if new else 0.0) else ""

    def _creation_refusal(self, view: WorkloadView) -> str:
        """Return why the cluster creates no pods, such as a quota; empty if it does."""
        if view.workload.kind is Kind.DEPLOYMENT:
            return (
                str(_condition(view.workload, "ReplicaFailure").get("message") or "") if view.workload.observed else ""
            )
        return (
            self._context.cluster.refused_creation(view)
            if view.workload.adds_pods or len(view.pods) < view.workload.replicas
            else ""
        )

    def explain_missing(self, view: WorkloadView) -> str:
        """Return why the cluster does not create a missing pod, or why that is unknown; empty if it does."""
        try:
            return self.refusal or describe_unobserved(view.workload) or self._creation_refusal(view)
        except EngineRefusedError as error:
            return str(error)

    def free_stuck(self, view: WorkloadView, restarted_at: str) -> None:
        """Delete the pods that have been stuck for a while, unless that was refused before."""
        failing = find_stuck(view, restarted_at)
        # The other pods are looked at too: the time of a pod that recovered begins anew.
        stuck = [pod for pod in self._lasting(view.alive) if pod in failing]
        try:
            for pod in stuck if view.workload.observed and not self.problem else ():
                self._context.delete(pod, "an earlier version")
        except EngineRefusedError as error:
            self.problem = f"pods are stuck at an earlier version: {_command(stuck)} frees them in a redeploy; {error}"
            self._context.run.log(self.problem)
