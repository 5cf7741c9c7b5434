"""The redeploy of one workload: the patch of its pod template, its temporary settings, and the rollback."""

from tutumd.engines.kubernetes.context import WorkloadContext, limits_of, report_progress
from tutumd.engines.kubernetes.discover import result_digest, result_image, warnings
from tutumd.engines.kubernetes.health import (
    PodWatch,
    describe_emptied,
    describe_failure,
    describe_late,
    describe_progress,
    describe_unobserved,
    is_finished,
    is_given_up,
    is_rolled_back,
    window_s,
)
from tutumd.engines.kubernetes.patches import (
    RedeployJournal,
    is_restarted,
    restart_patch,
    restored_settings,
    rollback_patch,
)
from tutumd.engines.kubernetes.plan import all_notes, plan_redeploy
from tutumd.engines.kubernetes.view import WorkloadView
from tutumd.engines.kubernetes.workloads import Kind, Workload, fingerprint, restarted_at
from tutumd.engines.labels import Json, parse_reference
from tutumd.engines.rollout import (
    Look,
    Result,
    RolloutStatus,
    Stage,
    build_outcome,
    fail,
    join_sentences,
    poll_until,
    save,
)
from tutumd.errors import Cause, EngineRefusedError, code_of
from tutumd.model import Outcome, Phase

# The API rounds times to seconds.
_ROUNDING_S = 1.0


class Redeploy:
    """One redeploy. The contract is on `rollout.driver.Change`."""

    journal: RedeployJournal

    def __init__(self, context: WorkloadContext) -> None:
        self.context = context
        self._watch = PodWatch(context)

    def begin(self) -> RedeployJournal:
        context, run = self.context, self.context.run
        view = context.cluster.require_view(context.address)
        journal = plan_redeploy(view, run.tag, run.variables, context.timing, run.skip_unchanged, run.image)
        for note in all_notes(view, journal):
            run.log(note)
        return journal

    def send(self) -> None:
        context = self.context
        view = None if self.journal.ordered else context.view()
        if view is None:
            return
        context.run.set_limits(**limits_of(view.workload))
        self._wait_for_young_pods(view)
        patched = context.change(self._make_patch)
        if patched is not None:
            context.run.log(f"restarting {context.address.words}", Phase.UPDATING)
            save(self, ordered=fingerprint(patched["spec"]["template"]))

    def _wait_for_young_pods(self, view: WorkloadView) -> None:
        """Wait until all ready pods of a DaemonSet have been ready for `min_ready` seconds.

        A raised minReadySeconds also applies to them: younger pods become unavailable, and all of them are deleted at
        the same time. A StatefulSet waits for younger pods, and the old ReplicaSets of a Deployment keep theirs
        (kubernetes: pkg/controller/daemon/update.go, statefulset/stateful_set_control.go, deployment/sync.go).
        """
        context, timing = self.context, self.context.timing
        ready_since = [pod.ready_since for pod in view.ready if pod.ready_since]
        if view.workload.kind is not Kind.DAEMON_SET or self.journal.min_ready is None or not ready_since:
            return
        age_s = (timing.now() - max(ready_since)).total_seconds()
        needed_s = self.journal.min_ready + _ROUNDING_S
        wait_s = min(needed_s, needed_s - age_s)
        poll_until(context.run, timing, context.run.remaining_s, lambda left_s: left_s <= 0, wait_s)

    def _make_patch(self, workload: Workload) -> list[Json] | None:
        """Return the patch that begins the redeploy; None if it was already sent, or no longer fits the workload."""
        run, journal = self.context.run, self.journal
        if restarted_at(workload.template) == journal.restarted_at:
            # The patch was sent, but the process was killed before the response.
            if is_restarted(workload, journal, run.variables):
                save(self, ordered=fingerprint(workload.template))
        elif fingerprint(workload.template) == journal.old:
            if run.remaining_s() > 0:
                return restart_patch(workload, journal, run.variables)
            text = "no time was left to begin the redeploy: nothing was changed"
            fail(self, Cause(text, code_of(run.overdue_reason())))
        return None

    def judge(self, view: WorkloadView) -> Look:
        context, journal, workload = self.context, self.journal, view.workload
        new = view.of(journal.restarted_at)
        report_progress(
            context,
            view,
            new,
            len(journal.running_before) - sum(pod.restarted_at != journal.restarted_at for pod in view.pods),
        )
        if fingerprint(workload.template) != journal.ordered:
            return Look(status=RolloutStatus.SUPERSEDED, progress=_superseded(workload, journal))
        emptied, needed_s = describe_emptied(workload, was_stopped=journal.stopped), window_s(view, context.timing)
        # The workload's status may be out of date: the new pods decide.
        is_whole = not emptied and sum(pod.ready for pod in new) >= workload.moving
        # Without room for all added pods, old pods free some when the first new pods have been ready for long enough.
        patience_s = context.restart_s(view) if journal.surge and not emptied else 0.0
        status = self._watch.status(view, new, is_whole=is_whole, emptied=emptied, patience_s=patience_s)
        if is_given_up(workload):
            status = RolloutStatus.FAILED
        if status is RolloutStatus.IN_PROGRESS:
            self._watch.free_stuck(view, journal.restarted_at)
        window = f": they have to stay so for {needed_s:g} s" if is_whole and needed_s >= 1 else ""
        late = "".join(f"; pod {pod.name} should have stopped by now" for pod in view.late(context.timing.now()))
        return Look(
            status=status,
            progress=describe_progress(view, journal.restarted_at) + window + late,
            same=tuple(sorted(pod.uid for pod in new)),
            needed_s=needed_s if status is RolloutStatus.SUCCEEDED else 0.0,
            is_complete=is_finished(workload),
        )

    def give_up(self, view: WorkloadView) -> None:
        context, watch = self.context, self._watch
        reason, culprit = describe_failure(
            view, self.journal.restarted_at, watch.failed, watch.explain_missing(view), context.run.overdue_reason()
        )
        reason = join_sentences(reason, describe_late(view, context.timing.now()), watch.problem)
        fail(self, *context.failure(reason, culprit, view.workload.main["name"]), stage=Stage.ROLL_BACK)

    def undo(self) -> None:
        run, journal = self.context.run, self.journal
        run.log("restoring the pod template", Phase.RESTORING)
        patched = self.context.change(
            lambda workload: (
                rollback_patch(workload, journal, run.variables)
                if fingerprint(workload.template) == journal.ordered
                else None
            )
        )
        if patched is not None:
            save(self, undone=fingerprint(patched["spec"]["template"]))

    def judge_undo(self, view: WorkloadView) -> Look:
        ready = sum(pod.restarted_at != self.journal.restarted_at for pod in view.ready)
        progress = (
            describe_unobserved(view.workload)
            or f"{ready} of {view.workload.replicas} pods are ready at the previous version"
        )
        if fingerprint(view.workload.template) not in (self.journal.old, self.journal.undone):
            return Look(status=RolloutStatus.SUPERSEDED, progress=progress)
        if is_rolled_back(view, self.journal.restarted_at, len(self.journal.running_before)):
            return Look(status=RolloutStatus.SUCCEEDED, progress=progress)
        try:
            self._delete_failed_pods(view)
        except EngineRefusedError as error:
            return Look(
                status=RolloutStatus.FAILED,
                progress=f"a pod that is stuck at the failed version could not be deleted: {error}",
            )
        return Look(status=RolloutStatus.IN_PROGRESS, progress=progress)

    def _delete_failed_pods(self, view: WorkloadView) -> None:
        """Delete the pods for which a StatefulSet waits: it does not replace a pod that never became ready.

        kubernetes/kubernetes#67250, also in its docs as "Forced rollback".
        """
        if view.workload.kind is not Kind.STATEFUL_SET or not view.workload.observed:
            return
        for pod in view.of(self.journal.restarted_at):
            if not pod.ready:
                self.context.delete(pod, "the failed version")

    def settle(self) -> None:
        """Restore minReadySeconds and maxSurge, which restarts nothing, unless somebody else has changed them."""
        if self.journal.min_ready is not None:
            self.context.change(self._settings_patch)

    def _settings_patch(self, workload: Workload) -> Json | None:
        spec = restored_settings(workload, self.journal)
        return {"metadata": {"resourceVersion": workload.version}, "spec": spec} if spec else None

    def outcome(self, result: Result, view: WorkloadView | None) -> Outcome:
        journal, digest, image = self.journal, None, None
        notes = [*journal.notes] if result.success else []
        if view is not None:
            pods = view.of(journal.restarted_at) if result.success and journal.ordered else view.alive
            digest = result_digest(view.workload, pods)
            image = result_image(view.workload, pods) if result.success else None
            left = restored_settings(view.workload, journal)
            notes += [f"minReadySeconds is still {journal.min_ready}"] if "minReadySeconds" in left else []
            notes += [f"maxSurge is still {journal.surge}"] if "strategy" in left else []
        if result.success and digest == journal.image_before:
            notes.append(journal.pull_note)
        return build_outcome(
            result,
            *notes,
            image_before=journal.image_before,
            image_after=digest,
            image_tried=parse_reference(journal.image).digest,
            containers_before=journal.running_before,
            containers_after=tuple(pod.uid for pod in view.ready) if view else (),
            image=image,
        )


def _superseded(workload: Workload, journal: RedeployJournal) -> str:
    if not journal.ordered and restarted_at(workload.template) != journal.restarted_at:
        return "somebody else changed the service before the redeploy began"
    if fingerprint(workload.template) == journal.old:
        tools = "".join(f"; {warning}" for warning in warnings(workload))
        return f"somebody else restored the pod template while this redeploy ran{tools}"
    return f"while this redeploy ran, somebody else changed the service; it now is at {workload.main['image']}"
