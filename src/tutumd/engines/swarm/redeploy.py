"""The redeploy of one service: sent, followed to its end, rolled back if it fails, and cleaned up.

Each stage is saved before it changes anything, and begins by looking at what is already there: after a kill, another
process continues with the stage in the journal. A success is not saved: whoever resumes the run looks once more.
"""

from dataclasses import replace
from typing import Any

from tutumd.engines.images.reference import parse_reference
from tutumd.engines.labels import Order
from tutumd.engines.rollout.journal import (
    Result,
    RolloutStatus,
    Stage,
    build_outcome,
    fail,
    finish,
    from_journal,
    log_progress,
    move_to,
    save,
)
from tutumd.engines.rollout.timing import HoldTimer, Timing, poll_until
from tutumd.engines.swarm import spec as specs
from tutumd.engines.swarm.context import ServiceContext, report_progress
from tutumd.engines.swarm.health import (
    check_job,
    check_update,
    describe_failure,
    describe_pace,
    describe_progress,
    find_culprit,
    is_converged,
    is_idle,
    lost_tasks,
    needs_room,
    old_tasks_give_room,
    stalled_tasks,
)
from tutumd.engines.swarm.journal import NO_ROOM, RedeployJournal
from tutumd.engines.swarm.plan import prepare_redeploy
from tutumd.engines.swarm.probe_task import remove_probe, run_probe
from tutumd.engines.swarm.rollback import roll_back
from tutumd.engines.swarm.view import Phase as TaskPhase
from tutumd.engines.swarm.view import ServiceView
from tutumd.errors import EngineRefusedError
from tutumd.model import Outcome, Phase
from tutumd.ports.engine import LOST_JOURNAL

_EMPTIED = "somebody else scaled the service to 0 during the update, so nothing shows that the new version runs"


def redeploy(context: ServiceContext) -> Outcome:
    """Redeploy a service, or continue to, to the end."""
    if context.run.journal == LOST_JOURNAL:
        remove_probe(context)
    journal = from_journal(RedeployJournal, context.run.journal) or _begin(context)
    if journal.stage is Stage.PROBE:
        journal = _probe(context, journal)
    if journal.stage is Stage.APPLY:
        _send_update(context, journal)
        journal, view = _follow(context, journal)
        if journal.result is not None and journal.result.success:
            return _outcome(journal, view)
    if journal.stage is Stage.ROLL_BACK:
        journal = roll_back(context, journal)
    return _finish(context, journal)


def _begin(context: ServiceContext) -> RedeployJournal:
    run = context.run
    view = context.wait_until_idle()
    journal = prepare_redeploy(context.api, view, run.tag, run.variables, context.timing, context.limits)
    if journal.result is None:
        save(run, journal)
        order = f", {journal.config['Order']}: {journal.order_reason}" if journal.config else ""
        run.log(f"updating to {journal.image}{order}")
    return journal


def _probe(context: ServiceContext, journal: RedeployJournal) -> RedeployJournal:
    run = context.run
    view = context.view()
    if view is None:
        remove_probe(context)
        return fail(run, journal, _describe_removal(context))
    spec = specs.redeploy_spec(view.spec, journal.new, journal.config, journal.platforms, run.variables)
    failure, log_tail = run_probe(context, spec, journal.stable_s)
    view = context.view()
    if failure == NO_ROOM and view is not None and old_tasks_give_room(view, journal.new):
        return _make_room(context, journal)
    if failure:
        run.log(failure)
        reason = f"{failure}; it was removed, and the running containers were not touched"
        return finish(run, journal, Result(success=False, reason=reason, log_tail=log_tail))
    return save(run, replace(journal, stage=Stage.APPLY))


def _send_update(context: ServiceContext, journal: RedeployJournal) -> None:
    def make_spec(view: ServiceView) -> dict[str, Any] | None:
        # If the engine has rolled our update back, its report differs from the one before the update.
        rolled_back = view.update_state.startswith("rollback") and view.status != journal.status_before
        if view.version != journal.old or rolled_back:
            return None
        return specs.redeploy_spec(
            view.spec, journal.new, journal.config, journal.platforms, context.run.variables, context.run.tag
        )

    pace = f": {describe_pace(journal.config)}" if journal.config else ""
    context.run.log(f"sending the update{pace}", Phase.UPDATING)
    context.change(make_spec)


class Watch:
    """The status of an update by several looks, because a single one can deceive."""

    def __init__(self, journal: RedeployJournal, timing: Timing) -> None:
        self._journal = journal
        self._timing = timing
        self._held = HoldTimer(timing.clock)
        self._lost: frozenset[str] = frozenset()

    def status(self, view: ServiceView) -> RolloutStatus:
        """Return the status. SUCCEEDED means that the same new tasks have run for the stability window.

        FAILED means that a look some seconds ago found the same.
        """
        journal, timing = self._journal, self._timing
        self._lost |= lost_tasks(view.of(journal.new))
        if journal.is_job:
            # Between two tasks of one slot, and before those of all nodes exist, a job looks as if it had ended.
            status, needed_s = check_job(view, journal.new), timing.stable_s
        else:
            status = check_update(view, journal.new, journal.old, self._lost, was_stopped=journal.stopped)
            needed_s = journal.stable_s if view.running else 0.0
        same: tuple[str, ...] = ()
        if status is RolloutStatus.SUCCEEDED:
            same = tuple(sorted(task.id for task in view.running))
        held_s = self._held.seconds((status, same))
        if status is RolloutStatus.FAILED:
            needed_s = timing.doubt_s
        is_final = status not in (RolloutStatus.SUCCEEDED, RolloutStatus.FAILED) or held_s >= needed_s
        return status if is_final else RolloutStatus.IN_PROGRESS


def _follow(context: ServiceContext, journal: RedeployJournal) -> tuple[RedeployJournal, ServiceView | None]:
    """Follow the update to its end; return the journal with the result, and the service as it was seen last.

    A success is not saved: a run that is resumed looks at the new tasks once more.
    """
    run, timing = context.run, context.timing
    watch, crowded = Watch(journal, timing), HoldTimer(timing.clock)
    given_up: set[str] = set()
    reported, is_restored = "", False
    while True:
        view = context.view()
        if view is None:
            return fail(run, journal, _describe_removal(context)), None
        report_progress(context, view.spec, view.of(journal.new))
        status = watch.status(view)
        reported = log_progress(run, reported, describe_progress(view, journal.new))
        overdue = run.remaining_s() <= 0
        # Old containers with a long grace period do not turn a success into a failure.
        if status is RolloutStatus.SUCCEEDED and (overdue or not view.stopping):
            if is_restored:
                return replace(journal, stage=Stage.FINISH, result=Result(success=True, reason=journal.note)), view
            run.log("the new containers are stable: restoring the update settings, then looking once more")
            _restore_config(context, journal)
            is_restored = True
            continue
        if status is RolloutStatus.SUPERSEDED:
            image = view.version.image
            text = f"superseded: while this redeploy ran, somebody else updated the service; it now is at {image}"
            return fail(run, journal, text), view
        if status not in (RolloutStatus.SUCCEEDED, RolloutStatus.IN_PROGRESS) or overdue:
            # A rollback of a job would run the previous version once more.
            stage = Stage.FINISH if journal.is_job else Stage.ROLL_BACK
            return move_to(run, journal, stage, _failure(context, view, journal)), view
        journal = _help_updater(context, journal, view, crowded, given_up)
        run.sleep(timing.poll_s)


def _help_updater(
    context: ServiceContext, journal: RedeployJournal, view: ServiceView, crowded: HoldTimer, given_up: set[str]
) -> RedeployJournal:
    """Make the engine's updater continue where it would wait forever; return the journal.

    Args:
        given_up: IDs of the stalled tasks for which the updater was made to continue; more are added.
    """
    start_first = journal.config is not None and journal.config["Order"] == Order.START_FIRST
    no_room = start_first and needs_room(view, journal.new)
    if crowded.seconds(no_room) >= context.timing.no_room_s and no_room:
        journal = _make_room(context, journal)
    if journal.order_reason == NO_ROOM:
        _send_stop_first(context, journal)
    stalled = stalled_tasks(view, journal.new) - given_up
    if stalled and journal.config is not None:
        context.nudge_updater(journal.new, dict(journal.config))
        given_up |= stalled
    return journal


def _make_room(context: ServiceContext, journal: RedeployJournal) -> RedeployJournal:
    """Store that old tasks stop first, because none of the nodes has room for a new one beside them."""
    context.run.log(f"{NO_ROOM}: stopping old ones first")
    config = {**(journal.config or {}), "Order": str(Order.STOP_FIRST)}
    return save(context.run, replace(journal, stage=Stage.APPLY, config=config, order_reason=NO_ROOM))


def _send_stop_first(context: ServiceContext, journal: RedeployJournal) -> None:
    """Make the engine stop old tasks first, after a start-first update found no room."""

    def make_spec(view: ServiceView) -> dict[str, Any] | None:
        before = {**(journal.config or {}), "Order": str(Order.START_FIRST)}
        if view.version != journal.new or not specs.has_config(view.spec, before):
            return None
        return specs.with_config_of(view.spec, {specs.UPDATE_CONFIG: journal.config})

    context.change(make_spec)


def _finish(context: ServiceContext, journal: RedeployJournal) -> Outcome:
    """Restore the user's UpdateConfig once the service is at rest, and return the outcome."""
    run, timing = context.run, context.timing
    poll_until(
        run,
        timing,
        context.view,
        lambda view: view is None or is_idle(view) or not _has_our_config(view, journal),
        max(timing.idle_s, run.remaining_s()),
    )
    _restore_config(context, journal)
    return _outcome(journal, context.view())


def _outcome(journal: RedeployJournal, view: ServiceView | None) -> Outcome:
    """Return the outcome for the service as it is now; None means that it is gone."""
    is_success = journal.result is not None and journal.result.success
    is_ours = view is not None and _has_our_config(view, journal)
    image_after = parse_reference(view.version.image).digest if view is not None else None
    left = [task for task in view.tasks if task.phase is TaskPhase.RUNNING] if view is not None else []
    if view is not None and journal.is_job:
        left += [task for task in view.of(journal.new) if task.state == "complete"]
    return build_outcome(
        journal.result,
        "the service still has the UpdateConfig that this redeploy was sent with" if is_ours else "",
        image_before=parse_reference(journal.old.image).digest,
        image_after=journal.image_after if is_success else image_after,
        image_tried=journal.image_after,
        containers_before=journal.running_before,
        containers_after=tuple(task.id for task in left),
    )


def _restore_config(context: ServiceContext, journal: RedeployJournal) -> None:
    """Restore the user's UpdateConfig, which restarts no task (measured on Engine 26)."""

    def make_spec(view: ServiceView) -> dict[str, Any] | None:
        # Not while a task is replaced: while an update with start-first waits for its first new task, a change to
        # stop-first makes the engine stop the old one at once (measured on Engine 26).
        is_due = is_idle(view) or is_converged(view, journal.new)
        return specs.with_config_of(view.spec, journal.before) if is_due and _has_our_config(view, journal) else None

    try:
        context.change(make_spec)
    except EngineRefusedError as error:
        context.run.log(f"the update settings could not be restored: {error}")


def _has_our_config(view: ServiceView, journal: RedeployJournal) -> bool:
    """Return whether the service still has an UpdateConfig of this redeploy."""
    if journal.config is None or specs.has_config(view.spec, journal.before.get(specs.UPDATE_CONFIG)):
        return False
    sent = [{**journal.config, "Order": str(order)} for order in (Order.START_FIRST, Order.STOP_FIRST)]
    sent += [specs.rollback_config(config) for config in sent]
    return any(specs.has_config(view.spec, ours) for config in sent for ours in (config, specs.nudged_config(config)))


def _describe_removal(context: ServiceContext) -> str:
    """Return that the service is gone."""
    return f"the service {context.name} was removed while it was redeployed"


def _failure(context: ServiceContext, view: ServiceView, journal: RedeployJournal) -> Result:
    tasks = [task for task in view.tasks if not (journal.is_job and task.state == "complete")]
    culprit = find_culprit(tasks, journal.new, str(view.status.get("Message") or ""))
    is_emptied = specs.is_stopped(view.spec) and not journal.stopped
    reason = _EMPTIED if is_emptied else describe_failure(view, culprit, context.run)
    return Result(success=False, reason=reason, log_tail=context.api.log_tail(view, culprit))
