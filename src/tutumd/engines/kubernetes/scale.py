"""Changes of the number of pods: scale, start and stop, which all set an absolute number."""

from collections.abc import Callable
from dataclasses import replace

from tutumd.engines.kubernetes.context import WorkloadContext, report_progress
from tutumd.engines.kubernetes.discover import result_digest
from tutumd.engines.kubernetes.health import PodWatch, describe_late, is_scaled, target_of, window_s
from tutumd.engines.kubernetes.requests import AUTOSCALERS, on_collection
from tutumd.engines.kubernetes.view import WorkloadView, controller_of, describe_pod, find_culprit
from tutumd.engines.kubernetes.workloads import Address, Kind, Workload
from tutumd.engines.labels import AUTOSCALER, STOPPED_REPLICAS, Json
from tutumd.engines.rollout import (
    Look,
    Result,
    RolloutStatus,
    ScaleJournal,
    Stage,
    blame,
    build_outcome,
    end_rollback,
    fail,
    join_sentences,
    retry_on_conflict,
    save,
    unfinished,
)
from tutumd.errors import EngineRefusedError
from tutumd.model import Outcome, Phase


def refuse_scaling(autoscaler: Json, address: Address, target: int, *, raise_min: bool) -> None:
    """Raise EngineRefusedError if an autoscaler would undo the new number, or must not be changed.

    Args:
        raise_min: Whether the workload's annotation allows raising minReplicas.
    """
    # The API sets minReplicas to 1 if nobody else sets it (kubernetes: pkg/apis/autoscaling/v1/defaults.go).
    low, high = autoscaler["spec"]["minReplicas"], autoscaler["spec"]["maxReplicas"]
    rule = (
        f"the HorizontalPodAutoscaler {autoscaler['metadata']['name']} keeps {address.words} between {low} and {high}"
    )
    if not raise_min:
        raise EngineRefusedError(
            f"{rule} and would undo {target}: change it instead, or annotate the workload with {AUTOSCALER}=raise-min "
            "so that scaling raises its minReplicas"
        )
    if owner := controller_of(autoscaler["metadata"]):
        words = f"{owner['kind']} {owner['name']}"
        raise EngineRefusedError(f"{rule}, and is managed by the {words}: change the {words}")
    if target > high:
        raise EngineRefusedError(f"{rule}, so {target} are more than its maxReplicas: raise that first")
    if target < low:
        raise EngineRefusedError(f"{rule}, and its minReplicas is only ever raised here: {target} would lower it")


def plan_scaling(
    view: WorkloadView,
    target: int,
    *,
    noted: int = 0,
    raised: Json | None = None,
    shared_with: Json | None = None,
) -> ScaleJournal:
    """Return the journal of a change to `target` replicas.

    Args:
        noted: Value of the annotation of a stopped workload afterwards; 0 means no annotation.
        raised: The autoscaler whose minimum is raised to the target.
        shared_with: The autoscaler that also sets the replicas.
    """
    return ScaleJournal(
        before=view.workload.replicas if raised is None else raised["spec"]["minReplicas"],
        target=target,
        autoscaler=raised["metadata"]["name"] if raised else "",
        noted_before=view.workload.annotations.get(STOPPED_REPLICAS),
        noted=str(noted) if noted else None,
        shared_with=shared_with["metadata"]["name"] if shared_with else "",
        present_before=tuple(pod.uid for pod in view.pods),
        running_before=tuple(pod.uid for pod in view.ready),
    )


class Scale:
    """One change of the number of pods. The contract is on `rollout.driver.Change`.

    Args:
        plan: Plans the change for the current workload. Raises EngineRefusedError.
    """

    journal: ScaleJournal

    def __init__(self, context: WorkloadContext, plan: Callable[[WorkloadView], ScaleJournal]) -> None:
        self.context = context
        self._plan = plan
        self._watch = PodWatch(context)

    def begin(self) -> ScaleJournal:
        view = self.context.cluster.require_view(self.context.address)
        if view.workload.kind is Kind.DAEMON_SET:
            raise EngineRefusedError(
                f"{view.workload.address.words} has one pod on each node that fits: that number cannot be set, and it "
                "cannot be started or stopped"
            )
        return self._plan(view)

    def send(self) -> None:
        # The annotation comes first: a stopped workload must always have it.
        self._annotate(self.journal.noted_before if self.journal.noted is None else self.journal.noted)
        self._set(self.journal.target, instead_of=self.journal.before)

    def _set(self, number: int, *, instead_of: int) -> None:
        set_once = self._set_autoscaler if self.journal.autoscaler else self._set_replicas
        if retry_on_conflict(self.context.run, self.context.timing, lambda: set_once(number, instead_of)):
            self.context.run.log(f"set {'minReplicas' if self.journal.autoscaler else 'replicas'} to {number}")

    def _set_replicas(self, number: int, instead_of: int) -> bool:
        context = self.context
        scale = context.cluster.scale(context.address)
        # The API omits a number that is 0.
        present = int(scale["spec"].get("replicas") or 0) if scale else None
        if scale is None or present == number or (present != instead_of and not self.journal.shared_with):
            return False
        context.run.check()
        context.cluster.set_scale(context.address, scale["metadata"]["resourceVersion"], number)
        return True

    def _set_autoscaler(self, number: int, instead_of: int) -> bool:
        cluster, address = self.context.cluster, self.context.address
        autoscaler = cluster.autoscaler(address)
        if (
            autoscaler is None
            or autoscaler["metadata"]["name"] != self.journal.autoscaler
            or autoscaler["spec"]["minReplicas"] != instead_of
            or number == instead_of
        ):
            return False
        self.context.run.check()
        body = {
            "metadata": {"resourceVersion": autoscaler["metadata"]["resourceVersion"]},
            "spec": {"minReplicas": number},
        }
        cluster.patch(
            replace(on_collection("patch", AUTOSCALERS, address.namespace), name=self.journal.autoscaler), body
        )
        return True

    def _annotate(self, noted: str | None) -> None:
        def make_patch(workload: Workload) -> Json | None:
            if workload.annotations.get(STOPPED_REPLICAS) == noted:
                return None
            return {"metadata": {"resourceVersion": workload.version, "annotations": {STOPPED_REPLICAS: noted}}}

        self.context.change(make_patch)

    def judge(self, view: WorkloadView) -> Look:
        context, target, replicas = self.context, target_of(self.journal, view.workload), view.workload.replicas
        new = [pod for pod in view.alive if pod.uid not in self.journal.present_before]
        report_progress(context, view, new, len(set(self.journal.present_before) - {pod.uid for pod in view.pods}))
        if not self.journal.autoscaler and replicas != target:
            return Look(status=RolloutStatus.SUPERSEDED, progress=f"somebody else set the service to {replicas} pods")
        status = self._watch.status(view, new, is_whole=is_scaled(view, self.journal))
        # Old pods have run for long.
        is_watched = self.journal.target > self.journal.before and status is RolloutStatus.SUCCEEDED
        return Look(
            status=status,
            progress=f"{len(view.ready)} of {target} pods are ready",
            same=tuple(sorted(pod.uid for pod in new)),
            needed_s=window_s(view, context.timing) if is_watched else 0.0,
        )

    def give_up(self, view: WorkloadView) -> None:
        context, run, journal = self.context, self.context.run, self.journal
        ready = [pod for pod in view.ready if pod.uid in journal.present_before or not pod.exited]
        held = describe_late(view, context.timing.now())
        if journal.target < journal.before:
            left = len(view.alive) + view.stopping - journal.target
            return fail(self, join_sentences(unfinished(run, f"{left} pods have not stopped yet"), held))
        reason = unfinished(run, f"{len(ready)} of {target_of(journal, view.workload)} pods are ready")
        refusal = self._watch.explain_missing(view)
        culprit = self._watch.failed or (None if refusal else find_culprit(view.alive))
        reason, log_tail = context.failure(
            join_sentences(blame(reason, describe_pod(culprit) if culprit else refusal), held),
            culprit,
            view.workload.main["name"],
        )
        is_partial = journal.before < len(ready)
        if journal.shared_with and is_partial:
            return fail(
                self,
                join_sentences(reason, f"the HorizontalPodAutoscaler {journal.shared_with} sets their number now"),
                log_tail,
            )
        if is_partial and len(ready) < journal.target:
            save(self, fallback=len(ready))
        return fail(self, reason, log_tail, stage=Stage.FINISH if journal.target == journal.before else Stage.ROLL_BACK)

    def undo(self) -> None:
        """Restore the previous number, or keep the pods that became ready, if there are any."""
        run, kept = self.context.run, self.journal.fallback
        run.log(
            "restoring the previous number" if kept is None else f"keeping the {kept} pods that are ready",
            Phase.RESTORING,
        )
        self._set(self.journal.before if kept is None else kept, instead_of=self.journal.target)
        if kept is None:
            self._annotate(self.journal.noted_before)
        else:
            end_rollback(self, f"the service was set to {kept}, as many as became ready", rolled_back=False)

    def judge_undo(self, view: WorkloadView) -> Look:
        status = RolloutStatus.IN_PROGRESS
        # An autoscaler takes time to lower the number again: five minutes by default.
        if not self.journal.autoscaler and view.workload.replicas != self.journal.before:
            status = RolloutStatus.SUPERSEDED
        elif self.journal.autoscaler or (view.workload.observed and len(view.alive) <= self.journal.before):
            status = RolloutStatus.SUCCEEDED
        return Look(status=status, progress=f"{len(view.alive)} of {self.journal.before} pods are left")

    def settle(self) -> None:
        """Remove the annotation of a stopped workload after it runs."""
        if self.journal.result is None:
            self._annotate(self.journal.noted)

    def outcome(self, result: Result, view: WorkloadView | None) -> Outcome:
        digest = result_digest(view.workload, view.alive) if view else None
        return build_outcome(
            result,
            image_before=digest,
            image_after=digest,
            containers_before=self.journal.running_before,
            containers_after=tuple(pod.uid for pod in view.ready) if view else (),
        )
