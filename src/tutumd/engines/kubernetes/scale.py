"""Changes of the number of pods: scale, start and stop, which all set an absolute number."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace

from tutumd.engines.kubernetes.context import WorkloadContext, report_progress
from tutumd.engines.kubernetes.discover import result_digest
from tutumd.engines.kubernetes.health import is_scaled, window_s
from tutumd.engines.kubernetes.journal import ScaleJournal
from tutumd.engines.kubernetes.requests import MERGE
from tutumd.engines.kubernetes.stuck import ChangeWatch, describe_late
from tutumd.engines.kubernetes.view import WorkloadView, controller_of, describe_pod, find_culprit
from tutumd.engines.kubernetes.workloads import Address, Kind, Workload
from tutumd.engines.labels import AUTOSCALER, STOPPED_REPLICAS, Json
from tutumd.engines.rollout.journal import (
    Result,
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
from tutumd.engines.rollout.timing import poll_until, unfinished
from tutumd.errors import EngineRefusedError
from tutumd.model import Outcome, Phase


@dataclass(frozen=True, slots=True, kw_only=True)
class Autoscaler:
    """One HorizontalPodAutoscaler. `min_replicas` is None if it has none, which means 1."""

    name: str
    min_replicas: int | None
    max_replicas: int
    owner: str = ""


def find_autoscaler(autoscalers: Iterable[Json], address: Address) -> Autoscaler | None:
    """Return the one whose target is the workload."""
    for autoscaler in autoscalers:
        metadata, spec = autoscaler["metadata"], autoscaler["spec"]
        target = spec["scaleTargetRef"]
        group = str(target.get("apiVersion") or "").partition("/")[0]
        if (group, target["kind"], target["name"]) == ("apps", address.kind.value, address.name):
            owner = controller_of(metadata)
            return Autoscaler(
                name=metadata["name"],
                min_replicas=spec.get("minReplicas"),
                max_replicas=int(spec["maxReplicas"]),
                owner=f"{owner['kind']} {owner['name']}" if owner else "",
            )
    return None


def refuse_scaling(autoscaler: Autoscaler, address: Address, target: int, *, raise_min: bool) -> None:
    """Raise EngineRefusedError if an autoscaler would undo the new number, or may not be changed.

    Args:
        raise_min: The workload's annotation allows us to raise minReplicas.
    """
    low, high = autoscaler.min_replicas or 1, autoscaler.max_replicas
    rule = f"the HorizontalPodAutoscaler {autoscaler.name} keeps {address.words} between {low} and {high}"
    if not raise_min:
        raise EngineRefusedError(
            f"{rule} and would undo {target}: change it instead, or annotate the workload with {AUTOSCALER}=raise-min "
            "so that scaling raises its minReplicas"
        )
    if autoscaler.owner:
        raise EngineRefusedError(f"{rule}, and is managed by the {autoscaler.owner}: change the {autoscaler.owner}")
    if target > high:
        raise EngineRefusedError(f"{rule}, so {target} are more than its maxReplicas: raise that first")
    if target < low:
        raise EngineRefusedError(f"{rule}, and its minReplicas is only ever raised here: {target} would lower it")


def plan_scaling(
    view: WorkloadView,
    target: int,
    *,
    noted: str | None = None,
    raised: Autoscaler | None = None,
    shared_with: Autoscaler | None = None,
) -> ScaleJournal:
    """Return the journal of a change to `target` replicas.

    Args:
        noted: Value of the annotation of a stopped workload afterwards; None means no annotation.
        raised: The autoscaler whose minimum is raised to the target.
        shared_with: The autoscaler that sets the replicas too.
    """
    return ScaleJournal(
        before=view.workload.replicas if raised is None else raised.min_replicas,
        target=target,
        autoscaler=raised.name if raised else "",
        noted_before=view.workload.annotations.get(STOPPED_REPLICAS),
        noted=noted,
        shared_with=shared_with.name if shared_with else "",
        pods_before=tuple(pod.uid for pod in view.pods),
        running_before=tuple(pod.uid for pod in view.ready),
    )


def refuse_daemon_set(workload: Workload) -> None:
    """Raise EngineRefusedError for a workload whose number of pods cannot be set."""
    if workload.kind is Kind.DAEMON_SET:
        raise EngineRefusedError(
            f"{workload.address.words} has one pod on each node that fits: that number cannot be set, and it cannot "
            "be started or stopped"
        )


def set_replicas(context: WorkloadContext, make_journal: Callable[[WorkloadView], ScaleJournal]) -> Outcome:
    """Change the number of pods, or continue to, to the end.

    Args:
        make_journal: Plans the change for the workload as it is. Raises EngineRefusedError.
    """
    journal = from_journal(ScaleJournal, context.run.journal)
    if journal is None:
        journal = save(context.run, make_journal(context.cluster.require_view(context.address)))
    while True:
        if journal.stage is Stage.APPLY:
            # The annotation comes first: a stopped workload must always have it.
            _annotate(context, journal.noted_before if journal.noted is None else journal.noted)
            _send(context, journal, journal.target, instead_of=journal.before)
            journal = _follow(context, journal)
        if journal.stage is Stage.ROLL_BACK:
            journal = _roll_back(context, journal)
        success = journal.result is not None and journal.result.success
        if success:
            _annotate(context, journal.noted)
        view = context.view()
        if not success or (view is not None and is_scaled(view, journal)):
            break
        context.run.log("a last look shows that the pods are not as they were: following them again")
        journal = move_to(context.run, journal, Stage.APPLY, None)
    digest = result_digest(view.workload, view.alive) if view else None
    return build_outcome(
        journal.result,
        image_before=digest,
        image_after=digest,
        containers_before=journal.running_before,
        containers_after=tuple(pod.uid for pod in view.ready) if view else (),
    )


def _send(context: WorkloadContext, journal: ScaleJournal, number: int | None, *, instead_of: int | None) -> None:
    set_once = _set_autoscaler if journal.autoscaler else _set_replicas
    if context.change(lambda: set_once(context, journal, number, instead_of)):
        context.run.log(f"set {'minReplicas' if journal.autoscaler else 'replicas'} to {number}")


def _set_replicas(context: WorkloadContext, journal: ScaleJournal, number: int | None, instead_of: int | None) -> bool:
    scale = context.cluster.scale(context.address)
    # The API leaves out a number that is 0.
    present = int(scale["spec"].get("replicas") or 0) if scale else None
    if scale is None or present == number or (present != instead_of and not journal.shared_with):
        return False
    context.run.check()
    context.cluster.set_scale(context.address, scale["metadata"]["resourceVersion"], number)
    return True


def _set_autoscaler(
    context: WorkloadContext, journal: ScaleJournal, number: int | None, instead_of: int | None
) -> bool:
    namespace = context.address.namespace
    by_name = {each["metadata"]["name"]: each for each in context.cluster.autoscalers(namespace)}
    autoscaler = by_name.get(journal.autoscaler)
    if autoscaler is None or autoscaler["spec"].get("minReplicas") != instead_of or number == instead_of:
        return False
    context.run.check()
    version = autoscaler["metadata"]["resourceVersion"]
    body = {"metadata": {"resourceVersion": version}, "spec": {"minReplicas": number}}
    context.cluster.patch_autoscaler(namespace, journal.autoscaler, body)
    return True


def _annotate(context: WorkloadContext, noted: str | None) -> None:
    def annotate_once() -> None:
        workload = context.workload()
        if workload is None or workload.annotations.get(STOPPED_REPLICAS) == noted:
            return
        context.run.check()
        metadata = {"resourceVersion": workload.version, "annotations": {STOPPED_REPLICAS: noted}}
        context.cluster.patch(context.address, MERGE, {"metadata": metadata})

    context.change(annotate_once)


def _follow(context: WorkloadContext, journal: ScaleJournal) -> ScaleJournal:
    run, watch, reported = context.run, ChangeWatch(context), ""
    while True:
        view = context.view()
        if view is None:
            return fail(run, journal, f"{context.address.words} was removed in the meantime")
        target, replicas = journal.target_of(view.workload), view.workload.replicas
        new = [pod for pod in view.alive if pod.uid not in journal.pods_before]
        gone = len(set(journal.pods_before) - {pod.uid for pod in view.pods})
        report_progress(context, view, new, gone)
        reported = log_progress(run, reported, f"{len(view.ready)} of {target} pods are ready")
        if not journal.autoscaler and replicas != target:
            return fail(run, journal, f"superseded: somebody else set the service to {replicas} pods")
        # Old pods have run for long.
        needed_s = window_s(view, context.timing) if journal.target > journal.least else 0.0
        is_stable = watch.look(view, new, is_whole=is_scaled(view, journal), needed_s=needed_s)
        if is_stable:
            return finish(run, journal, Result(success=True, reason=journal.note))
        if watch.failed or watch.refusal or run.remaining_s() <= 0:
            return _begin_rollback(context, journal, view, watch)
        context.wait(view.workload)


def _begin_rollback(
    context: WorkloadContext, journal: ScaleJournal, view: WorkloadView, watch: ChangeWatch
) -> ScaleJournal:
    run = context.run
    ready = [pod for pod in view.ready if pod.uid in journal.pods_before or not pod.exited]
    held = describe_late(view, context.timing.now())
    if journal.target < journal.least:
        left = len(view.alive) + view.stopping - journal.target
        return fail(run, journal, join_sentences(unfinished(run, f"{left} pods have not stopped yet"), held))
    reason = unfinished(run, f"{len(ready)} of {journal.target_of(view.workload)} pods are ready")
    refusal = watch.refusal or context.explain_missing(view)
    culprit = watch.failed or (None if refusal else find_culprit(view.alive))
    cause = describe_pod(culprit) if culprit else refusal
    text = join_sentences(f"{reason}: {cause}" if cause else reason, held)
    result = context.failure(text, culprit, view.workload.main["name"])
    if journal.target == journal.before:
        return finish(run, journal, result)
    if journal.shared_with and len(ready) > journal.least:
        sets = f"the HorizontalPodAutoscaler {journal.shared_with} sets their number now"
        return finish(run, journal, replace(result, reason=join_sentences(result.reason, sets)))
    fallback = len(ready) if journal.target > len(ready) > journal.least else journal.before
    return move_to(run, replace(journal, fallback=fallback), Stage.ROLL_BACK, result)


def _roll_back(context: WorkloadContext, journal: ScaleJournal) -> ScaleJournal:
    def is_done(view: WorkloadView | None) -> bool:
        # An autoscaler takes its time to lower the number again: five minutes by default.
        if view is None or journal.autoscaler or view.workload.replicas != journal.fallback:
            return True
        return view.workload.observed and len(view.alive) <= (journal.fallback or 0)

    run, timing = context.run, context.timing
    is_partial = journal.fallback != journal.before
    change = f"keeping the {journal.fallback} pods that are ready" if is_partial else "restoring the previous number"
    run.log(change, Phase.RESTORING)
    try:
        _send(context, journal, journal.fallback, instead_of=journal.target)
        if not is_partial:
            _annotate(context, journal.noted_before)
    except EngineRefusedError as error:
        return finish_rollback(run, journal, f"the rollback failed: {error}", rolled_back=False)
    view = poll_until(run, timing, context.view, is_done, timing.rollback_s)
    if is_partial:
        kept = f"the service was set to {journal.fallback}, as many as became ready"
        return finish_rollback(run, journal, kept, rolled_back=False)
    restored = view is not None and (bool(journal.autoscaler) or view.workload.replicas == journal.before)
    return finish_rollback(run, journal, rolled_back=restored)
