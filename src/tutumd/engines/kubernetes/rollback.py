"""The rollback of a redeploy: the pod template is restored and the workload followed until the old version works."""

from dataclasses import replace
from functools import partial

from tutumd.engines.kubernetes.context import WorkloadContext
from tutumd.engines.kubernetes.health import describe_unobserved, is_rolled_back
from tutumd.engines.kubernetes.journal import RedeployJournal
from tutumd.engines.kubernetes.limits import replacement_s
from tutumd.engines.kubernetes.patches import rollback_patch
from tutumd.engines.kubernetes.requests import JSON_PATCH
from tutumd.engines.kubernetes.view import WorkloadView
from tutumd.engines.kubernetes.workloads import Kind, fingerprint
from tutumd.engines.rollout.journal import Stage, finish_rollback, save
from tutumd.errors import EngineRefusedError
from tutumd.model import Phase


def roll_back(context: WorkloadContext, journal: RedeployJournal) -> RedeployJournal:
    """Roll a failed rollout back, or continue to; return the journal with the result."""
    run, timing = context.run, context.timing
    run.log("restoring the pod template", Phase.RESTORING)
    try:
        journal = context.change(partial(_send_once, context, journal))
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


def _send_once(context: WorkloadContext, journal: RedeployJournal) -> RedeployJournal:
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
