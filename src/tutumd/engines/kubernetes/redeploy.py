"""The redeploy of one workload: sent, followed to its end, rolled back if it fails, and cleaned up.

Each stage is saved before it changes anything, and begins by looking at what is already there: after a kill, another
process continues with the stage in the journal.
"""

from dataclasses import replace
from functools import partial

from tutumd.engines.images.reference import parse_reference
from tutumd.engines.kubernetes.context import WorkloadContext, replacement_s, report_progress
from tutumd.engines.kubernetes.discover import result_digest, warnings
from tutumd.engines.kubernetes.health import (
    check_rollout,
    describe_emptied,
    describe_failure,
    describe_progress,
    describe_unobserved,
    is_finished,
    is_rolled_back,
    window_s,
)
from tutumd.engines.kubernetes.journal import RedeployJournal
from tutumd.engines.kubernetes.patches import is_patched, restart_patch, rollback_patch
from tutumd.engines.kubernetes.plan import all_notes, plan_redeploy
from tutumd.engines.kubernetes.requests import JSON_PATCH, MERGE, STRATEGIC_MERGE
from tutumd.engines.kubernetes.stuck import ChangeWatch, StuckPods, describe_late, describe_stuck
from tutumd.engines.kubernetes.view import WorkloadView
from tutumd.engines.kubernetes.workloads import Kind, Workload, fingerprint
from tutumd.engines.rollout.journal import (
    Result,
    RolloutStatus,
    Stage,
    build_outcome,
    fail,
    finish,
    finish_rollback,
    from_journal,
    join_sentences,
    log_progress,
    move_to,
    save,
)
from tutumd.errors import EngineRefusedError
from tutumd.model import Outcome, Phase

# The API rounds times to seconds.
_ROUNDING_S = 1.0


def redeploy(context: WorkloadContext) -> Outcome:
    """Redeploy a workload, or continue to, to the end."""
    journal = from_journal(RedeployJournal, context.run.journal) or _begin(context)
    if journal.stage is Stage.APPLY and not journal.ordered:
        _wait_for_young_pods(context, journal)
        journal = context.change(partial(_send_once, context, journal))
    while True:
        if journal.stage is Stage.APPLY:
            journal = _follow(context, journal)
        if journal.stage is Stage.ROLL_BACK:
            journal = roll_back(context, journal)
        outcome = _finish(context, journal)
        if outcome is not None:
            return outcome
        context.run.log("a last look shows that the new pods are not as they were: following them again")
        journal = move_to(context.run, journal, Stage.APPLY, None)


def _begin(context: WorkloadContext) -> RedeployJournal:
    view = context.cluster.require_view(context.address)
    journal = plan_redeploy(view, context.run.tag, context.run.variables, context.timing)
    for note in (*all_notes(view.workload, journal), describe_stuck(view)):
        if note:
            context.run.log(note)
    return save(context.run, journal)


def _wait_for_young_pods(context: WorkloadContext, journal: RedeployJournal) -> None:
    """Wait until all ready pods of a DaemonSet have been ready for `min_ready` seconds.

    A raised minReadySeconds applies to them too: younger pods become unavailable, and all of them are deleted at once.
    In a StatefulSet younger pods are waited for, and the old ReplicaSets of a Deployment keep theirs
    (kubernetes: pkg/controller/daemon/update.go, statefulset/stateful_set_control.go, deployment/sync.go).
    """
    is_daemon_set = context.address.kind is Kind.DAEMON_SET
    view = context.view() if is_daemon_set and journal.min_ready is not None else None
    ready_since = [pod.ready_since for pod in view.ready if pod.ready_since] if view is not None else []
    if journal.min_ready is None or not ready_since:
        return
    timing = context.timing
    age_s = (timing.now() - max(ready_since)).total_seconds()
    needed_s = journal.min_ready + _ROUNDING_S
    ends = timing.clock() + min(needed_s, needed_s - age_s)
    while timing.clock() < ends and context.run.remaining_s() > 0:
        context.run.sleep(timing.poll_s)


def _send_once(context: WorkloadContext, journal: RedeployJournal) -> RedeployJournal:
    run, variables = context.run, context.run.variables
    workload = context.workload()
    if workload is None:
        return fail(run, journal, f"{context.address.words} was removed before the redeploy began")
    if workload.restarted_at == journal.restarted_at:
        # It was sent, but the process was killed before the response.
        if is_patched(workload, journal, variables):
            return save(run, replace(journal, ordered=fingerprint(workload.template)))
        return fail(run, journal, _superseded(workload, journal))
    if fingerprint(workload.template) != journal.old:
        return fail(run, journal, "superseded: somebody else changed the service before the redeploy began")
    if run.remaining_s() <= 0:
        return fail(run, journal, "no time was left to begin the redeploy: nothing was changed")
    run.check()
    patched = context.cluster.patch(context.address, STRATEGIC_MERGE, restart_patch(workload, journal, variables))
    run.log(f"restarting {context.address.words}", Phase.UPDATING)
    return save(run, replace(journal, ordered=fingerprint(patched["spec"]["template"])))


def _follow(context: WorkloadContext, journal: RedeployJournal) -> RedeployJournal:
    run, watch, stuck, reported = context.run, ChangeWatch(context), StuckPods(context), ""
    while True:
        view = context.view()
        if view is None:
            return fail(run, journal, f"{context.address.words} was removed while it was redeployed")
        new = view.of(journal.restarted_at)
        left = sum(pod.restarted_at != journal.restarted_at for pod in view.pods)
        report_progress(context, view, new, len(journal.running_before) - left)
        status = check_rollout(view, journal.ordered, journal.restarted_at, was_stopped=journal.stopped)
        emptied = describe_emptied(view.workload, was_stopped=journal.stopped)
        if status is RolloutStatus.SUPERSEDED:
            return fail(run, journal, _superseded(view.workload, journal))
        needed_s = window_s(view, context.timing)
        is_whole = status is RolloutStatus.SUCCEEDED
        is_stable = watch.look(view, new, is_whole=is_whole, needed_s=needed_s, emptied=emptied)
        progress = describe_progress(view, journal.restarted_at)
        window = f": they have to stay so for {needed_s:g} s" if is_whole and needed_s >= 1 else ""
        late = "".join(f"; pod {pod.name} should have stopped by now" for pod in view.late(context.timing.now()))
        reported = log_progress(run, reported, progress + window + late)
        if is_stable and is_finished(view.workload):
            return finish(run, journal, Result(success=True))
        if watch.failed or watch.refusal or status is RolloutStatus.FAILED or run.remaining_s() <= 0:
            return _begin_rollback(context, journal, view, watch, stuck.problem)
        stuck.free(view, journal.restarted_at)
        context.wait(view.workload, needed_s if is_whole else None)


def _begin_rollback(
    context: WorkloadContext, journal: RedeployJournal, view: WorkloadView, watch: ChangeWatch, problem: str
) -> RedeployJournal:
    refusal = watch.refusal or context.explain_missing(view)
    overdue = context.run.overdue_reason()
    reason, culprit = describe_failure(view, journal.restarted_at, watch.failed, refusal, overdue)
    reason = join_sentences(reason, describe_late(view, context.timing.now()), problem)
    result = context.failure(reason, culprit, view.workload.main["name"])
    return move_to(context.run, journal, Stage.ROLL_BACK, result)


def _finish(context: WorkloadContext, journal: RedeployJournal) -> Outcome | None:
    """Restore minReadySeconds and return the outcome; None if a success does not stand a last look."""
    success = journal.result is not None and journal.result.success
    notes = list(journal.notes) if success else []
    try:
        context.change(lambda: _restore_min_ready(context, journal))
    except EngineRefusedError as error:
        notes.append(f"minReadySeconds is still {journal.min_ready}: {error}")
    view = context.view()
    new = view.of(journal.restarted_at) if view else ()
    if success:
        ordered, at = journal.ordered, journal.restarted_at
        status = check_rollout(view, ordered, at, was_stopped=journal.stopped) if view else None
        if status is not RolloutStatus.SUCCEEDED:
            return None
    digest = result_digest(view.workload, new if success else view.alive) if view else None
    if success and digest == journal.image_before:
        notes.append(journal.pull_note)
    return build_outcome(
        journal.result,
        *notes,
        image_before=journal.image_before,
        image_after=digest,
        image_tried=parse_reference(journal.image).digest,
        containers_before=journal.running_before,
        containers_after=tuple(pod.uid for pod in view.ready) if view else (),
    )


def _restore_min_ready(context: WorkloadContext, journal: RedeployJournal) -> None:
    """Restore minReadySeconds, which restarts nothing, unless somebody else has set it in the meantime."""
    workload = context.workload() if journal.min_ready is not None else None
    if workload is None or workload.spec.get("minReadySeconds") != journal.min_ready:
        return
    context.run.check()
    body = {"metadata": {"resourceVersion": workload.version}, "spec": {"minReadySeconds": journal.min_ready_before}}
    context.cluster.patch(context.address, MERGE, body)


def _superseded(workload: Workload, journal: RedeployJournal) -> str:
    if fingerprint(workload.template) == journal.old:
        tools = "".join(f"; {warning}" for warning in warnings(workload))
        return f"superseded: somebody else restored the pod template while this redeploy ran{tools}"
    image = workload.main["image"]
    return f"superseded: while this redeploy ran, somebody else changed the service; it now is at {image}"


def roll_back(context: WorkloadContext, journal: RedeployJournal) -> RedeployJournal:
    """Roll a failed rollout back, or continue to; return the journal with the result."""
    run, timing = context.run, context.timing
    run.log("restoring the pod template", Phase.RESTORING)
    try:
        journal = context.change(partial(_send_rollback_once, context, journal))
    except EngineRefusedError as error:
        return finish_rollback(run, journal, f"the rollback failed: {error}", rolled_back=False)
    if journal.stage is Stage.FINISH:
        return journal
    began = timing.clock()
    while True:
        view = context.view()
        if view is None or fingerprint(view.workload.template) not in (journal.old, journal.undone):
            what = "the service was removed" if view is None else "somebody else changed the service"
            return finish_rollback(run, journal, f"during the rollback {what}", rolled_back=False)
        if is_rolled_back(view, journal.restarted_at, len(journal.running_before)):
            return finish_rollback(run, journal, rolled_back=True)
        if timing.clock() - began >= timing.rollback_s + replacement_s(view.workload):
            ready = sum(pod.restarted_at != journal.restarted_at for pod in view.ready)
            state = f"{ready} of {view.workload.replicas} pods are ready at the previous version"
            state = describe_unobserved(view.workload) or state
            return finish_rollback(run, journal, f"after the rollback {state}", rolled_back=True)
        try:
            _delete_stuck_pods(context, view, journal)
        except EngineRefusedError as error:
            text = f"after the rollback a pod that is stuck at the failed version could not be deleted: {error}"
            return finish_rollback(run, journal, text, rolled_back=True)
        run.sleep(timing.poll_s)


def _send_rollback_once(context: WorkloadContext, journal: RedeployJournal) -> RedeployJournal:
    """Restore the template unless that is done; return a finished journal if the workload is not ours any more."""
    run = context.run
    workload = context.workload()
    if workload is None:
        return finish_rollback(run, journal, "during the rollback the service was removed", rolled_back=False)
    present = fingerprint(workload.template)
    if present in (journal.old, journal.undone):
        return journal
    if present != journal.ordered:
        reason = "it was not rolled back, because somebody else has changed the service in the meantime"
        return finish_rollback(run, journal, reason, rolled_back=False)
    run.check()
    patch = rollback_patch(workload, journal, run.variables)
    patched = context.cluster.patch(context.address, JSON_PATCH, patch)
    return save(run, replace(journal, undone=fingerprint(patched["spec"]["template"])))


def _delete_stuck_pods(context: WorkloadContext, view: WorkloadView, journal: RedeployJournal) -> None:
    """Delete the pods that a StatefulSet waits for: it does not replace a pod that never became ready.

    kubernetes/kubernetes#67250, also in its docs as "Forced rollback".
    """
    if view.workload.kind is not Kind.STATEFUL_SET or not view.workload.observed:
        return
    for pod in view.of(journal.restarted_at):
        if not pod.ready:
            context.run.log(f"deleting the pod {pod.name}, which is stuck at the failed version")
            context.delete(pod)
