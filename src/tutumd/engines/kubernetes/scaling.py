"""Changing how many pods a workload has: scale, start and stop, which all set an absolute number."""

from collections.abc import Callable
from dataclasses import dataclass, replace

from tutumd.engines.kubernetes.api import Cluster
from tutumd.engines.kubernetes.autoscalers import Autoscaler
from tutumd.engines.kubernetes.changes import Tempo, insist, look, must_look, read_workload
from tutumd.engines.kubernetes.journal import Result, Stage, from_journal, to_journal
from tutumd.engines.kubernetes.output import tail_of
from tutumd.engines.kubernetes.pods import Pod, blamed, words_of
from tutumd.engines.kubernetes.snapshots import running_digest
from tutumd.engines.kubernetes.verdict import View, condition
from tutumd.engines.kubernetes.workloads import Address, Kind, Workload
from tutumd.engines.labels import STOPPED_REPLICAS
from tutumd.errors import EngineRefusedError
from tutumd.model import Outcome
from tutumd.ports import Run


@dataclass(frozen=True, slots=True, kw_only=True)
class Scaling:
    """One change of the number of pods.

    Attributes:
        before, target: Replicas; with an autoscaler, its minReplicas (`before` None: it says none).
        fallback: What it is put to where the target is not reached: what it was, or as many as became ready.
        autoscaler: Name of the HorizontalPodAutoscaler whose minReplicas is set; empty where replicas are.
        shared_with: Name of the one that sets the number of replicas too, whenever it is not 0; empty where none does.
        noted_before, noted: What the annotation of a stopped workload says before and after; None: no annotation.
        pods_before: UIDs of every pod there was.
        running_before: UIDs of those that were ready.
    """

    before: int | None
    target: int
    pods_before: tuple[str, ...]
    running_before: tuple[str, ...]
    autoscaler: str = ""
    shared_with: str = ""
    fallback: int | None = None
    noted_before: str | None = None
    noted: str | None = None
    note: str = ""
    stage: Stage = Stage.ORDER
    result: Result | None = None

    @property
    def least(self) -> int:
        """`before` as a number: an autoscaler without minReplicas means 1."""
        return 1 if self.before is None else self.before

    def wanted(self, workload: Workload) -> int:
        """How many pods shall be ready: an autoscaler may have made another number of ours."""
        return workload.replicas if self.shared_with and self.target and workload.replicas else self.target


def plan_scaling(
    view: View, target: int, *, noted: str | None = None, note: str = "", shared_with: str = ""
) -> Scaling:
    """Plan to bring a workload to `target` replicas.

    Args:
        noted: What the annotation of a stopped workload shall say afterwards; None: no annotation.
        note: What is worth saying about a success.
    """
    return Scaling(
        before=view.workload.replicas,
        target=target,
        noted_before=view.workload.annotations.get(STOPPED_REPLICAS),
        noted=noted,
        note=note,
        shared_with=shared_with,
        pods_before=tuple(pod.uid for pod in view.pods),
        running_before=tuple(pod.uid for pod in view.ready),
    )


def raise_least(plan: Scaling, autoscaler: Autoscaler) -> Scaling:
    """Return the plan that reaches the same number by the minimum of an autoscaler."""
    return replace(plan, autoscaler=autoscaler.name, before=autoscaler.least)


def refuse_daemon_set(workload: Workload) -> None:
    """Raise EngineRefusedError for a workload without a number of its own."""
    if workload.kind is Kind.DAEMON_SET:
        raise EngineRefusedError(
            f"{workload.address.words} has one pod on each node that fits: that number cannot be set, and it cannot "
            "be started or stopped"
        )


class Scaler:
    """One change of the number of pods of the workload at `address`, carried out and watched."""

    def __init__(self, cluster: Cluster, address: Address, run: Run, tempo: Tempo) -> None:
        self._cluster = cluster
        self._address = address
        self._run = run
        self._tempo = tempo

    def perform(self, make_plan: Callable[[View], Scaling]) -> Outcome:
        """Plan it from the workload as it is, or go on with what is in the journal, to the end."""
        plan = from_journal(Scaling, self._run.journal)
        if plan is None:
            plan = self._save(make_plan(must_look(self._cluster, self._address)))
        if plan.stage is Stage.ORDER:
            # The note comes first: a workload that was stopped always says how many it had.
            self._annotate(plan.noted_before if plan.noted is None else plan.noted)
            self._set(plan, plan.target, instead_of=plan.before)
            plan = self._follow(plan)
        if plan.stage is Stage.UNDO:
            plan = self._undo(plan)
        if plan.result is not None and plan.result.success:
            self._annotate(plan.noted)
        return self._outcome(plan)

    def _set(self, plan: Scaling, number: int | None, *, instead_of: int | None) -> None:
        set_once = self._set_least if plan.autoscaler else self._set_replicas
        if insist(self._run, self._tempo, lambda: set_once(plan, number, instead_of)):
            self._run.log(f"set {'minReplicas' if plan.autoscaler else 'replicas'} to {number}")

    def _set_replicas(self, plan: Scaling, number: int | None, instead_of: int | None) -> bool:
        scale = self._cluster.scale(self._address)
        # Counts that are 0 are left out of the API's JSON.
        present = int(scale["spec"].get("replicas") or 0) if scale else None
        if scale is None or present == number or (present != instead_of and not plan.shared_with):
            return False
        self._run.check()
        self._cluster.set_scale(self._address, scale_body(self._address, scale["metadata"]["resourceVersion"], number))
        return True

    def _set_least(self, plan: Scaling, number: int | None, instead_of: int | None) -> bool:
        namespace = self._address.namespace
        found = (one for one in self._cluster.autoscalers(namespace) if one["metadata"]["name"] == plan.autoscaler)
        autoscaler = next(found, None)
        if autoscaler is None or autoscaler["spec"].get("minReplicas") != instead_of or number == instead_of:
            return False
        self._run.check()
        body = {
            "metadata": {"resourceVersion": autoscaler["metadata"]["resourceVersion"]},
            "spec": {"minReplicas": number},
        }
        self._cluster.patch_autoscaler(namespace, plan.autoscaler, body)
        return True

    def _annotate(self, noted: str | None) -> None:
        insist(self._run, self._tempo, lambda: self._annotate_once(noted))

    def _annotate_once(self, noted: str | None) -> None:
        workload = read_workload(self._cluster, self._address)
        if workload is None or workload.annotations.get(STOPPED_REPLICAS) == noted:
            return
        self._run.check()
        annotations = {STOPPED_REPLICAS: noted}
        body = {"metadata": {"resourceVersion": workload.version, "annotations": annotations}}
        self._cluster.annotate(self._address, body)

    def _follow(self, plan: Scaling) -> Scaling:
        told, seen, since = "", None, self._tempo.clock()
        while True:
            view = look(self._cluster, self._address)
            if view is None:
                return self._ended(plan, Result(success=False, reason=f"{self._address.words} was removed meanwhile"))
            wanted, replicas = plan.wanted(view.workload), view.workload.replicas
            line = f"{len(view.ready)} of {wanted} pods are ready"
            if line != told:
                self._run.log(line)
                told = line
            if not plan.autoscaler and replicas != wanted:
                reason = f"superseded: somebody else set the service to {replicas} pods"
                return self._ended(plan, Result(success=False, reason=reason))
            ready = {pod.uid for pod in view.ready}
            if ready != seen:
                seen, since = ready, self._tempo.clock()
            held_s = self._tempo.clock() - since
            if arrived(view, plan) and held_s >= self._needed_s(view, plan):
                return self._ended(plan, Result(success=True, reason=plan.note))
            if self._troubled(view, plan) or self._run.remaining_s() <= 0:
                return self._failed(plan, view)
            self._run.sleep(self._tempo.poll_s)

    def _needed_s(self, view: View, plan: Scaling) -> float:
        """Return for how long new pods have to stay ready: a probe has tried them already, and old ones have run."""
        return self._tempo.stable_s if plan.target > plan.least and not view.workload.has_probe else 0.0

    def _failed(self, plan: Scaling, view: View) -> Scaling:
        late = " at the deadline" if self._run.remaining_s() <= 0 else ""
        ready = len(view.ready)
        if plan.target < plan.least:
            left = len(view.alive) + view.leaving - plan.target
            return self._ended(plan, Result(success=False, reason=f"{left} pods have not stopped yet{late}"))
        reason = f"{ready} of {plan.wanted(view.workload)} pods are ready{late}"
        pod = self._troubled(view, plan) or blamed(view.alive)
        why = words_of(pod) if pod else str(condition(view.workload, "ReplicaFailure").get("message") or "")
        tail = tail_of(self._cluster, pod, view.workload.main["name"])
        result = Result(success=False, reason=f"{reason}: {why}" if why else reason, log_tail=tail)
        if plan.target == plan.before:
            return self._ended(plan, result)
        if plan.shared_with and ready > plan.least:
            sets = f"the HorizontalPodAutoscaler {plan.shared_with} sets their number now"
            return self._ended(plan, replace(result, reason=f"{result.reason}; {sets}"))
        fallback = ready if plan.target > ready > plan.least else plan.before
        return self._save(replace(plan, stage=Stage.UNDO, result=result, fallback=fallback))

    def _undo(self, plan: Scaling) -> Scaling:
        result = plan.result or Result(success=False)
        self._run.log(f"keeping the {plan.fallback} pods that are ready" if _is_partial(plan) else "putting it back")
        try:
            self._set(plan, plan.fallback, instead_of=plan.target)
            if not _is_partial(plan):
                self._annotate(plan.noted_before)
        except EngineRefusedError as error:
            return self._ended(plan, replace(result, reason=f"{result.reason}; it could not be undone: {error}"))
        ends = self._tempo.clock() + self._tempo.undo_s
        view = look(self._cluster, self._address)
        while view is not None and not self._is_back(plan, view) and self._tempo.clock() < ends:
            self._run.sleep(self._tempo.poll_s)
            view = look(self._cluster, self._address)
        if _is_partial(plan):
            reason = f"{result.reason}; the service was set to {plan.fallback}, as many as became ready"
            return self._ended(plan, replace(result, reason=reason))
        back = view is not None and (bool(plan.autoscaler) or view.workload.replicas == plan.before)
        return self._ended(plan, replace(result, rolled_back=back))

    @staticmethod
    def _is_back(plan: Scaling, view: View) -> bool:
        # An autoscaler takes its time to lower the number again: five minutes by default.
        if plan.autoscaler or view.workload.replicas != plan.fallback:
            return True
        return view.workload.observed and len(view.alive) <= (plan.fallback or 0)

    @staticmethod
    def _troubled(view: View, plan: Scaling) -> Pod | None:
        new = (pod for pod in view.alive if pod.uid not in plan.pods_before)
        return next((pod for pod in new if pod.trouble is not None), None)

    def _outcome(self, plan: Scaling) -> Outcome:
        view = look(self._cluster, self._address)
        result = plan.result or Result(success=False, reason="it is not known how the change ended")
        image = running_digest(view.workload, view.alive) if view else None
        return Outcome(
            success=result.success,
            reason=result.reason,
            log_tail=result.log_tail,
            rolled_back=result.rolled_back,
            image_before=image,
            image_after=image,
            containers_before=plan.running_before,
            containers_after=tuple(pod.uid for pod in view.ready) if view else (),
        )

    def _ended(self, plan: Scaling, result: Result) -> Scaling:
        return self._save(replace(plan, stage=Stage.SETTLE, result=result))

    def _save(self, plan: Scaling) -> Scaling:
        self._run.save(to_journal(plan))
        return plan


def arrived(view: View, plan: Scaling) -> bool:
    """Tell whether as many pods are ready as were ordered, and those that are not wanted any more are gone."""
    wanted = plan.wanted(view.workload)
    if not view.workload.observed or len(view.ready) < wanted:
        return False
    if plan.autoscaler:
        return view.workload.replicas >= plan.target
    return len(view.alive) == wanted and (plan.target > plan.least or not view.leaving)


def scale_body(address: Address, version: str, number: int | None) -> dict[str, object]:
    """Return the Scale object that sets the number of replicas of the workload at that version."""
    return {
        "apiVersion": "autoscaling/v1",
        "kind": "Scale",
        "metadata": {"name": address.name, "namespace": address.namespace, "resourceVersion": version},
        "spec": {"replicas": number},
    }


def _is_partial(plan: Scaling) -> bool:
    return plan.fallback != plan.before
