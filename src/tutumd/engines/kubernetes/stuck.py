"""Pods that fail for good, and pods that keep others from being replaced: they cannot run, or do not stop.

A StatefulSet waits until each pod is ready before it replaces one, even by a template that would repair that pod
(kubernetes/kubernetes#67250; its docs call the way out a forced rollback: the pod has to be deleted).
"""

import re
from collections.abc import Sequence
from contextlib import suppress
from datetime import datetime

from tutumd.engines.kubernetes.context import WorkloadContext
from tutumd.engines.kubernetes.view import Pod, WorkloadView, describe_pod
from tutumd.engines.kubernetes.workloads import Kind
from tutumd.engines.rollout.journal import RolloutStatus
from tutumd.engines.rollout.timing import HoldTimer
from tutumd.errors import EngineRefusedError

# A pull that fails with these words fails again (containerd, distribution); after any other the node tries once more.
_HOPELESS_PULL = re.compile(r"not found|manifest unknown|denied|unauthorized|authorization|no match")
_PULLS = ("ErrImagePull", "ImagePullBackOff")


def find_stuck(view: WorkloadView, restarted_at: str | None = None) -> list[Pod]:
    """Return the pods that are failing and that the restart at this time did not make.

    One that runs but is not ready is none of them: it may be recovering. Below the partition a pod would come back as
    it was.
    """
    if view.workload.kind is not Kind.STATEFUL_SET:
        return []
    partition = int(view.workload.rolling.get("partition") or 0)
    others = (pod for pod in view.alive if pod.restarted_at != restarted_at and pod.failing and not pod.ready)
    return [pod for pod in others if int(pod.name.rpartition("-")[2]) >= partition]


def describe_stuck(view: WorkloadView) -> str:
    """Return a sentence about the pods that are stuck, and what becomes of them; empty if there are none."""
    stuck = find_stuck(view)
    if not stuck:
        return ""
    return (
        f"{view.workload.address.words} waits for pods that cannot run ({'; '.join(map(describe_pod, stuck))}): the "
        f"redeploy deletes them; if its account may not delete pods, do so while it runs: {_command(stuck)}"
    )


def describe_late(view: WorkloadView, now: datetime) -> str:
    """Return which pod should have stopped by now, for how long it has been stopping, and why; empty if there is none.

    On one that has finalizers only these are left to be removed once its node has ended its containers.
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
    """Follows the pods of one run, by our own clock.

    That a container has exited stays true. All else may pass, as when a Secret or a registry comes a moment late, so
    it is believed once it has lasted.

    Attributes:
        failed: A new pod that has failed for good; None if there is none.
        refusal: Why the cluster has been creating no pod for a while; empty if it has.
        problem: Why pods that are stuck could not be deleted, and what to do; empty if they could.
    """

    def __init__(self, context: WorkloadContext) -> None:
        self.failed: Pod | None = None
        self.refusal = ""
        self.problem = ""
        self._context = context
        self._since: dict[str, float] = {}
        self._refused = HoldTimer(context.timing.clock)

    def status(self, view: WorkloadView, new: Sequence[Pod], *, is_whole: bool, emptied: str = "") -> RolloutStatus:
        """Take a look; return whether all is as wanted, or has failed for good.

        Args:
            new: The pods that the run has made.
            is_whole: All is as wanted at this moment.
            emptied: Why no pod is wanted any more; empty if one is.
        """
        self.failed = next((pod for pod in new if pod.exited), None) or next(iter(self._lasting(new)), None)
        self.refusal = "" if is_whole else self._lasting_refusal(view, new, emptied)
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

    def _lasting_refusal(self, view: WorkloadView, new: Sequence[Pod], refusal: str) -> str:
        # A pod that stops makes room, and one that becomes ready lets another one stop.
        if not refusal and not view.stopping and all(pod.ready for pod in new):
            with suppress(EngineRefusedError):
                refusal = self._context.refusal(view)
        held_s = self._refused.seconds((bool(refusal), len(new)))
        return refusal if held_s >= self._context.timing.doubt_s else ""

    def free_stuck(self, view: WorkloadView, restarted_at: str) -> None:
        """Delete the pods that have been stuck for a while, unless that was refused before."""
        stuck = self._lasting(find_stuck(view, restarted_at))
        try:
            for pod in stuck if view.workload.observed and not self.problem else ():
                self._context.run.log(f"deleting the pod {pod.name}, which is stuck at an earlier version")
                self._context.delete(pod)
        except EngineRefusedError as error:
            self.problem = f"pods are stuck at an earlier version: {_command(stuck)} frees them in a redeploy; {error}"
            self._context.run.log(self.problem)
