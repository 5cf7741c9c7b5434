"""Changes of the number of replicas: scale, start and stop, which all set an absolute number."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from tutumd.engines.images.reference import parse_reference
from tutumd.engines.labels import STOPPED_REPLICAS
from tutumd.engines.rollout.journal import (
    Result,
    RolloutStatus,
    Stage,
    build_outcome,
    fail,
    finish_rollback,
    from_journal,
    log_progress,
    move_to,
    save,
)
from tutumd.engines.rollout.scaling import refuse_over_cap
from tutumd.engines.rollout.timing import HoldTimer, poll_until, unfinished
from tutumd.engines.swarm import spec as specs
from tutumd.engines.swarm.context import ServiceContext, report_progress
from tutumd.engines.swarm.health import check_scaling, describe_task, lost_tasks
from tutumd.engines.swarm.journal import ScaleJournal
from tutumd.engines.swarm.view import Phase as TaskPhase
from tutumd.engines.swarm.view import ServiceView
from tutumd.errors import EngineRefusedError
from tutumd.model import Outcome, Phase


def plan_scaling(view: ServiceView, target: int, *, noted: int | None) -> ScaleJournal:
    """Return the journal of a change to `target` replicas.

    Args:
        noted: Value of the label of a stopped service afterwards; None means no label.
    """
    has_label = STOPPED_REPLICAS in specs.label_sets(view.spec)[0]
    return ScaleJournal(
        before=specs.replicas_of(view.spec),
        target=target,
        noted_before=specs.replicas_before_stop(view.spec) if has_label else None,
        noted=noted,
        tasks_before=tuple(task.id for task in view.tasks),
        running_before=tuple(task.id for task in view.running),
    )


def refuse_impossible(view: ServiceView, target: int, cap: int) -> None:
    """Raise EngineRefusedError if the service cannot have `target` replicas, or not as many as that by the cap."""
    name, mode = view.spec["Name"], specs.mode_of(view.spec)
    if mode is specs.Mode.GLOBAL:
        raise EngineRefusedError(
            f"the service {name} is global: it has one container per node, and that number cannot be set"
        )
    if mode is specs.Mode.JOB:
        raise EngineRefusedError(f"the service {name} is a job: its number of containers cannot be set")
    refuse_over_cap(target, cap)
    per_node, nodes = specs.max_per_node(view.spec), len(view.nodes.open)
    if per_node and target > per_node * nodes and target > specs.replicas_of(view.spec):
        raise EngineRefusedError(
            f"the service {name} allows {per_node} containers per node, and {nodes} nodes take any: "
            f"{target} have no room"
        )


def set_replicas(context: ServiceContext, make_journal: Callable[[ServiceView], ScaleJournal]) -> Outcome:
    """Change the number of replicas, or continue to, to the end.

    Args:
        make_journal: Plans the change for the service once nobody updates it. Raises EngineRefusedError.
    """
    journal = from_journal(ScaleJournal, context.run.journal)
    if journal is None:
        make_journal(context.api.require_view(context.name))  # refuse the impossible before waiting for others
        journal = save(context.run, make_journal(context.wait_until_idle()))
    if journal.stage is Stage.APPLY:
        _send(context, journal.target, journal.noted, instead_of=journal.before)
        journal, view = _follow(context, journal)
    if journal.stage is Stage.ROLL_BACK:
        journal = _roll_back(context, journal)
    if journal.result is None or not journal.result.success:
        view = context.view()
    image = parse_reference(view.version.image).digest if view else None
    return build_outcome(
        journal.result,
        image_before=image,
        image_after=image,
        containers_before=journal.running_before,
        containers_after=tuple(task.id for task in view.running) if view else (),
    )


def _send(context: ServiceContext, replicas: int, noted: int | None, *, instead_of: int) -> None:
    def make_spec(view: ServiceView) -> dict[str, Any] | None:
        present = specs.replicas_of(view.spec)
        spec = specs.with_replicas(view.spec, replicas, noted=noted)
        is_same = spec["Labels"] == specs.label_sets(view.spec)[0] and replicas == present
        return None if is_same or present not in (replicas, instead_of) else spec

    context.change(make_spec)


def _follow(context: ServiceContext, journal: ScaleJournal) -> tuple[ScaleJournal, ServiceView | None]:
    """Follow the change; return the journal with the result, and the service as it was seen last.

    A success is not saved: a run that is resumed looks at the new containers once more.
    """
    run, timing = context.run, context.timing
    running, failed, reported = HoldTimer(timing.clock), HoldTimer(timing.clock), ""
    lost: frozenset[str] = frozenset()
    while True:
        view = context.view()
        if view is None:
            return fail(run, journal, f"the service {context.name} was removed in the meantime"), None
        new = [task for task in view.tasks if task.id not in journal.tasks_before]
        run.advance("gone", len(journal.running_before) - len(view.running) - view.stopping)
        report_progress(context, view.spec, new)
        reported = log_progress(run, reported, f"{len(view.running)} of {journal.target} containers run")
        lost |= lost_tasks(new)
        status = check_scaling(
            view, target=journal.target, before=journal.before, tasks_before=journal.tasks_before, lost=lost
        )
        held_s = running.seconds(tuple(sorted(task.id for task in view.running)))
        if status is RolloutStatus.SUCCEEDED and (journal.target <= journal.before or held_s >= timing.stable_s):
            return replace(journal, stage=Stage.FINISH, result=Result(success=True)), view
        if status is RolloutStatus.SUPERSEDED:
            number = specs.replicas_of(view.spec)
            return fail(run, journal, f"superseded: somebody else set the service to {number} containers"), view
        is_failed = status is RolloutStatus.FAILED
        if (failed.seconds(is_failed) >= timing.doubt_s and is_failed) or run.remaining_s() <= 0:
            return _begin_rollback(context, journal, view), view
        run.sleep(timing.poll_s)


def _begin_rollback(context: ServiceContext, journal: ScaleJournal, view: ServiceView) -> ScaleJournal:
    if journal.target < journal.before:
        return fail(context.run, journal, unfinished(context.run, f"{view.stopping} containers have not stopped yet"))
    new = [task for task in view.tasks if task.id not in journal.tasks_before]
    failed = [task for task in new if task.ended_early] or [task for task in new if task.phase is not TaskPhase.RUNNING]
    culprit = failed[-1] if failed else None
    cause = f": {describe_task(culprit, view.tasks)}" if culprit else ""
    reason = unfinished(context.run, f"{len(view.running)} of {journal.target} containers run") + cause
    log_tail = context.api.log_tail(view, culprit)
    stage = Stage.FINISH if journal.target == journal.before else Stage.ROLL_BACK
    return move_to(context.run, journal, stage, Result(success=False, reason=reason, log_tail=log_tail))


def _roll_back(context: ServiceContext, journal: ScaleJournal) -> ScaleJournal:
    def is_done(view: ServiceView | None) -> bool:
        if view is None or specs.replicas_of(view.spec) != journal.before:
            return True
        # swarmkit, manager/orchestrator/restart: the engine restarts or removes a task that ended but is still desired.
        return not view.stopping and sum(task.desired for task in view.tasks) <= journal.before

    run, timing = context.run, context.timing
    run.log(f"restoring the previous number of containers, {journal.before}", Phase.RESTORING)
    try:
        _send(context, journal.before, journal.noted_before, instead_of=journal.target)
    except EngineRefusedError as error:
        return finish_rollback(run, journal, f"the rollback failed: {error}", rolled_back=False)
    view = poll_until(run, timing, context.view, is_done, timing.rollback_s)
    restored = view is not None and specs.replicas_of(view.spec) == journal.before
    return finish_rollback(run, journal, rolled_back=restored)
