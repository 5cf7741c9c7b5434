"""The redeploy of one workload: ordered, followed to its end, undone where it ends badly, and cleaned up after.

Each stage is saved before it changes anything, and begins by looking at what is already there: a server that was
killed anywhere goes on with the stage in its journal.
"""

from collections.abc import Mapping
from dataclasses import replace
from functools import partial

from tutumd.engines.kubernetes.api import Cluster
from tutumd.engines.kubernetes.changes import Tempo, insist, look, must_look, read_workload
from tutumd.engines.kubernetes.journal import Result, Stage, from_journal, to_journal
from tutumd.engines.kubernetes.output import tail_of
from tutumd.engines.kubernetes.plan import Redeploy, plan_redeploy, worth_saying
from tutumd.engines.kubernetes.pods import Pod
from tutumd.engines.kubernetes.snapshots import running_digest, wanted_of, warnings
from tutumd.engines.kubernetes.verdict import Finding, View, failure, judge, progress, restored
from tutumd.engines.kubernetes.workloads import Address, Kind, Workload, fingerprint
from tutumd.errors import EngineRefusedError
from tutumd.model import Outcome
from tutumd.ports import Run

_ROUNDED_S = 1.0
"""The API writes times without parts of a second."""


class Rollout:
    """One redeploy of the workload at `address`."""

    def __init__(self, cluster: Cluster, address: Address, run: Run, tempo: Tempo) -> None:
        self._cluster = cluster
        self._address = address
        self._run = run
        self._tempo = tempo

    def perform(self) -> Outcome:
        """Do it, or go on with it, to the end."""
        plan = from_journal(Redeploy, self._run.journal) or self._prepare()
        if plan.stage is Stage.ORDER:
            plan = self._order(plan)
        if plan.stage is Stage.ORDER:
            plan = self._follow(plan)
        if plan.stage is Stage.UNDO:
            plan = self._undo(plan)
        return self._settle(plan)

    def _prepare(self) -> Redeploy:
        view = must_look(self._cluster, self._address)
        plan = plan_now(view, self._run.tag, self._run.variables, self._tempo)
        for note in worth_saying(plan, view.workload):
            self._run.log(note)
        return self._save(plan)

    def _order(self, plan: Redeploy) -> Redeploy:
        if plan.ordered:
            return plan
        self._let_pods_age(plan)
        return insist(self._run, self._tempo, lambda: self._order_once(plan))

    def _let_pods_age(self, plan: Redeploy) -> None:
        """Wait until the pods that serve have been ready for as long as `min_ready` demands.

        It counts for them too: younger ones would be unavailable at once, and such pods are replaced first.
        """
        view = look(self._cluster, self._address) if plan.min_ready is not None else None
        since = [pod.ready_since for pod in view.ready if pod.ready_since] if view is not None else []
        if plan.min_ready is None or not since:
            return
        age_s = (self._tempo.now() - max(since)).total_seconds()
        needed_s = plan.min_ready + _ROUNDED_S
        ends = self._tempo.clock() + min(needed_s, needed_s - age_s)
        while self._tempo.clock() < ends and self._run.remaining_s() > 0:
            self._run.sleep(self._tempo.poll_s)

    def _order_once(self, plan: Redeploy) -> Redeploy:
        workload = read_workload(self._cluster, self._address)
        if workload is None:
            return self._failed(plan, f"{self._address.words} was removed before the redeploy began")
        if workload.restarted_at == plan.restarted_at:
            # It was sent, but we were cut off before its answer.
            if plan.is_in(workload, self._run.variables):
                return self._save(replace(plan, ordered=fingerprint(workload.template)))
            return self._failed(plan, _superseded(workload, plan))
        if fingerprint(workload.template) != plan.old:
            return self._failed(plan, "superseded: somebody else changed the service before the redeploy began")
        if self._run.remaining_s() <= 0:
            return self._failed(plan, "no time was left to begin the redeploy: nothing was changed")
        self._run.check()
        answer = self._cluster.restart(self._address, plan.body(workload, self._run.variables))
        self._run.log(f"ordered a restart of {self._address.words}")
        return self._save(replace(plan, ordered=fingerprint(answer["spec"]["template"])))

    def _follow(self, plan: Redeploy) -> Redeploy:
        told = ""
        while True:
            view = look(self._cluster, self._address)
            if view is None:
                return self._failed(plan, f"{self._address.words} was removed while it was redeployed")
            line = progress(view, plan.restarted_at)
            if line != told:
                self._run.log(line)
                told = line
            finding = judge(view, plan.ordered, plan.restarted_at)
            if finding is Finding.ARRIVED:
                return self._save(plan.at(Stage.SETTLE, Result(success=True)))
            if finding is Finding.SUPERSEDED:
                return self._failed(plan, _superseded(view.workload, plan))
            if finding is Finding.FAILED or self._run.remaining_s() <= 0:
                reason, pod = failure(view, plan.restarted_at)
                tail = tail_of(self._cluster, pod, view.workload.main["name"])
                return self._save(plan.at(Stage.UNDO, Result(success=False, reason=reason, log_tail=tail)))
            self._run.sleep(self._tempo.poll_s)

    def _undo(self, plan: Redeploy) -> Redeploy:
        self._run.log("putting the pod template back")
        try:
            plan = insist(self._run, self._tempo, lambda: self._put_back(plan))
        except EngineRefusedError as error:
            return self._end_undo(plan, f"it could not be undone: {error}", rolled_back=False)
        if plan.stage is Stage.SETTLE:
            return plan
        began = self._tempo.clock()
        while True:
            view = look(self._cluster, self._address)
            if view is None or fingerprint(view.workload.template) not in (plan.old, plan.undone):
                what = "the service was removed" if view is None else "somebody else changed the service"
                return self._end_undo(plan, f"while it was undone, {what}", rolled_back=False)
            if restored(view, plan.restarted_at, len(plan.running_before)):
                return self._end_undo(plan, "", rolled_back=True)
            if self._tempo.clock() - began >= self._tempo.undo_s + view.workload.grace_s:
                count = f"{len(view.ready)} of {view.workload.replicas}"
                return self._end_undo(plan, f"after it was put back, {count} pods are ready", rolled_back=True)
            try:
                self._free_stuck_pods(view, plan)
            except EngineRefusedError as error:
                text = (
                    f"after it was put back, a pod that is stuck at the version that failed could not be freed: {error}"
                )
                return self._end_undo(plan, text, rolled_back=True)
            self._run.sleep(self._tempo.poll_s)

    def _put_back(self, plan: Redeploy) -> Redeploy:
        """Put the template back unless that is done; the redeploy has ended where something stands in the way."""
        workload = read_workload(self._cluster, self._address)
        if workload is None:
            return self._end_undo(plan, "while it was undone, the service was removed", rolled_back=False)
        now = fingerprint(workload.template)
        if now in (plan.old, plan.undone):
            return plan
        if now != plan.ordered:
            reason = "it was not undone, since somebody else has changed the service meanwhile"
            return self._end_undo(plan, reason, rolled_back=False)
        self._run.check()
        answer = self._cluster.put_back(self._address, plan.undo_body(workload, self._run.variables))
        return self._save(replace(plan, undone=fingerprint(answer["spec"]["template"])))

    def _free_stuck_pods(self, view: View, plan: Redeploy) -> None:
        """Delete what a StatefulSet waits for: it does not replace a pod that never became ready.

        kubernetes/kubernetes#67250, also in its docs as "Forced rollback".
        """
        if view.workload.kind is not Kind.STATEFUL_SET or not view.workload.observed:
            return
        for pod in view.of(plan.restarted_at):
            if not pod.ready:
                self._run.log(f"deleting the pod {pod.name}, which is stuck at the version that failed")
                insist(self._run, self._tempo, partial(self._delete, pod))

    def _delete(self, pod: Pod) -> None:
        self._run.check()
        self._cluster.delete_pod(pod.namespace, pod.name, pod.uid)

    def _settle(self, plan: Redeploy) -> Outcome:
        result = plan.result or Result(success=False, reason="it is not known how the redeploy ended")
        parts = [result.reason, *(plan.notes if result.success else ())]
        try:
            insist(self._run, self._tempo, lambda: self._tidy(plan))
        except EngineRefusedError as error:
            parts.append(f"minReadySeconds is still {plan.min_ready}: {error}")
        view = look(self._cluster, self._address)
        digest = running_digest(view.workload, view.alive) if view else None
        if result.success and digest == plan.image_before:
            parts.append(plan.pull_note)
        return Outcome(
            success=result.success,
            reason="; ".join(part for part in parts if part),
            log_tail=result.log_tail,
            rolled_back=result.rolled_back,
            image_before=plan.image_before,
            image_after=digest,
            containers_before=plan.running_before,
            containers_after=tuple(pod.uid for pod in view.ready) if view else (),
        )

    def _tidy(self, plan: Redeploy) -> None:
        """Put minReadySeconds back, which restarts nothing, unless somebody else has set it meanwhile."""
        workload = read_workload(self._cluster, self._address) if plan.min_ready is not None else None
        if workload is None or workload.spec.get("minReadySeconds") != plan.min_ready:
            return
        self._run.check()
        self._cluster.annotate(self._address, plan.tidy_body(workload.version))

    def _end_undo(self, plan: Redeploy, addition: str, *, rolled_back: bool) -> Redeploy:
        result = plan.result or Result(success=False)
        reason = "; ".join(part for part in (result.reason, addition) if part)
        return self._save(plan.at(Stage.SETTLE, replace(result, reason=reason, rolled_back=rolled_back)))

    def _failed(self, plan: Redeploy, reason: str) -> Redeploy:
        return self._save(plan.at(Stage.SETTLE, Result(success=False, reason=reason)))

    def _save(self, plan: Redeploy) -> Redeploy:
        self._run.save(to_journal(plan))
        return plan


def plan_now(view: View, tag: str | None, variables: Mapping[str, str | None], tempo: Tempo) -> Redeploy:
    """Plan a redeploy of what was seen. Raises EngineRefusedError where it cannot be carried out."""
    stable_s = wanted_of(view.workload).stable_s
    return plan_redeploy(
        view.workload,
        view.pods,
        tag=tag,
        variables=variables,
        now=tempo.now().isoformat(timespec="microseconds").replace("+00:00", "Z"),
        stable_s=tempo.stable_s if stable_s is None else stable_s,
    )


def _superseded(workload: Workload, plan: Redeploy) -> str:
    if fingerprint(workload.template) == plan.old:
        tools = "".join(f"; {warning}" for warning in warnings(workload))
        return f"superseded: somebody else put the pod template back while this redeploy ran{tools}"
    image = workload.main["image"]
    return f"superseded: while this redeploy ran, somebody else changed the service; it now is at {image}"
