"""The redeploy of one service: sent, followed to its end, rolled back if it fails, and cleaned up.

Each stage is saved before it changes anything, and begins by looking at what is already there: after a kill, another
process continues with the stage in the journal.
"""

from dataclasses import replace
from typing import Any

from tutumd.engines.images.reference import parse_reference
from tutumd.engines.labels import Order
from tutumd.engines.rollout.journal import Result, Stage, fail, finish, from_journal, move_to, save
from tutumd.engines.rollout.outcome import RolloutStatus, build_outcome, log_progress
from tutumd.engines.rollout.timing import HoldTimer, poll_until
from tutumd.engines.swarm import spec as specs
from tutumd.engines.swarm.context import ServiceContext
from tutumd.engines.swarm.health import (
    check_job,
    check_update,
    find_culprit,
    is_idle,
    needs_room,
    old_tasks_give_room,
    stalled_tasks,
)
from tutumd.engines.swarm.journal import NO_ROOM, RedeployJournal
from tutumd.engines.swarm.limits import report_progress
from tutumd.engines.swarm.messages import describe_failure, describe_progress
from tutumd.engines.swarm.plan import prepare_redeploy
from tutumd.engines.swarm.probe_task import remove_probe, run_probe
from tutumd.engines.swarm.rollback import roll_back
from tutumd.engines.swarm.view import ServiceView
from tutumd.errors import EngineRefusedError
from tutumd.model import Outcome


def redeploy(context: ServiceContext) -> Outcome:
    """Redeploy a service, or continue to, to the end."""
    journal = from_journal(RedeployJournal, context.run.journal) or _begin(context)
    if journal.stage is Stage.PROBE:
        journal = _probe(context, journal)
    if journal.stage is Stage.APPLY:
        _send_update(context, journal)
        journal = _follow(context, journal)
    if journal.stage is Stage.ROLL_BACK:
        journal = roll_back(context, journal)
    return _finish(context, journal)


def _begin(context: ServiceContext) -> RedeployJournal:
    run = context.run
    view = context.wait_until_idle()
    journal = save(run, prepare_redeploy(context.api, view, run.tag, run.variables, context.timing, context.limits))
    if journal.result is None:
        order = f", {journal.config['Order']}: {journal.order_reason}" if journal.config else ""
        run.log(f"updating to {journal.image}{order}")
    return journal


def _probe(context: ServiceContext, journal: RedeployJournal) -> RedeployJournal:
    run = context.run
    view = context.view()
    if view is None:
        remove_probe(context)
        return fail(run, journal, _removed(context))
    spec = specs.redeploy_spec(view.spec, journal.new, journal.config, journal.platforms, run.variables)
    failure, log_tail = run_probe(context, spec, journal.stable_s)
    view = context.view()
    if failure == NO_ROOM and view is not None and old_tasks_give_room(view, journal.new):
        return _make_room(context, journal)
    if failure:
        run.log(failure)
        reason = f"{failure}; it was removed, and the running containers were not touched"
        return finish(run, journal, Result(success=False, reason=reason, log_tail=log_tail, rolled_back=True))
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

    context.change(make_spec)


def _follow(context: ServiceContext, journal: RedeployJournal) -> RedeployJournal:
    run, timing = context.run, context.timing
    running, job_status, crowded = (HoldTimer(timing.clock) for _ in range(3))
    reported = ""
    given_up: frozenset[str] = frozenset()
    while True:
        view = context.view()
        if view is None:
            return fail(run, journal, _removed(context))
        report_progress(context, view.spec, view.of(journal.new))
        status = _status(view, journal, job_status, timing.stable_s)
        # The engine reports `completed` without monitoring if the service changed in mid-update: watch the tasks too.
        held_s = running.seconds(tuple(sorted(task.id for task in view.running)))
        stable = not view.running or held_s >= journal.stable_s
        reported = log_progress(run, reported, describe_progress(view, journal.new))
        overdue = run.remaining_s() <= 0
        # Old containers with a long grace period do not turn a success into a failure.
        if status is RolloutStatus.SUCCEEDED and stable and (overdue or not view.stopping):
            return finish(run, journal, Result(success=True, reason=journal.note))
        if status is RolloutStatus.SUPERSEDED:
            image = view.version.image
            text = f"superseded: while this redeploy ran, somebody else updated the service; it now is at {image}"
            return fail(run, journal, text)
        if status not in (RolloutStatus.SUCCEEDED, RolloutStatus.IN_PROGRESS) or overdue:
            # A rollback of a job would run the previous version once more.
            stage = Stage.FINISH if journal.is_job else Stage.ROLL_BACK
            return move_to(run, journal, stage, _failure(context, view, journal))
        start_first = journal.config is not None and journal.config["Order"] == Order.START_FIRST
        no_room = start_first and needs_room(view, journal.new)
        if crowded.seconds(no_room) >= timing.no_room_s and no_room:
            journal = _make_room(context, journal)
        if journal.order_reason == NO_ROOM:
            _send_stop_first(context, journal)
        if stalled := stalled_tasks(view, journal.new) - given_up:
            _nudge_updater(context, journal)
            given_up |= stalled
        run.sleep(timing.poll_s)


def _status(view: ServiceView, journal: RedeployJournal, job_status: HoldTimer, stable_s: float) -> RolloutStatus:
    if not journal.is_job:
        return check_update(view, journal.new, journal.old)
    # Between two tasks of one slot, and before those of all nodes exist, a job looks as if it had ended.
    status = check_job(view, journal.new)
    return status if job_status.seconds(status) >= stable_s else RolloutStatus.IN_PROGRESS


def _make_room(context: ServiceContext, journal: RedeployJournal) -> RedeployJournal:
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


def _nudge_updater(context: ServiceContext, journal: RedeployJournal) -> None:
    """Restart the engine's updater: it keeps the new tasks that run, and stops waiting for lost ones."""

    def make_spec(view: ServiceView) -> dict[str, Any] | None:
        if journal.config is None or view.version != journal.new:
            return None
        nudged = specs.nudged_config(journal.config)
        config = journal.config if specs.has_config(view.spec, nudged) else nudged
        return specs.with_config_of(view.spec, {specs.UPDATE_CONFIG: config})

    context.run.log("a node went down under a new container: making the engine continue with its replacement")
    context.change(make_spec)


def _finish(context: ServiceContext, journal: RedeployJournal) -> Outcome:
    """Restore the user's UpdateConfig, which restarts no task (measured on Engine 26), and return the outcome."""

    def make_spec(view: ServiceView) -> dict[str, Any] | None:
        # Not during an update: while one with start-first waits for its first new task, a change to stop-first makes
        # the engine stop the old one at once (measured on Engine 26).
        is_due = is_idle(view) and _has_our_config(view, journal)
        return specs.with_config_of(view.spec, journal.before) if is_due else None

    run, timing = context.run, context.timing
    poll_until(
        run,
        timing,
        context.view,
        lambda view: view is None or is_idle(view) or not _has_our_config(view, journal),
        max(timing.idle_s, run.remaining_s()),
    )
    try:
        context.change(make_spec)
    except EngineRefusedError as error:
        run.log(f"the update settings could not be restored: {error}")
    view = context.view()
    is_ours = view is not None and _has_our_config(view, journal)
    image_after = parse_reference(view.version.image).digest if view is not None else None
    return build_outcome(
        journal.result,
        "the service still has the UpdateConfig that this redeploy was sent with" if is_ours else "",
        image_before=parse_reference(journal.old.image).digest,
        image_after=journal.image_after if journal.result and journal.result.success else image_after,
        containers_before=journal.running_before,
        containers_after=tuple(task.id for task in view.running) if view is not None else (),
    )


def _has_our_config(view: ServiceView, journal: RedeployJournal) -> bool:
    if journal.config is None or specs.has_config(view.spec, journal.before.get(specs.UPDATE_CONFIG)):
        return False
    sent = [{**journal.config, "Order": str(order)} for order in (Order.START_FIRST, Order.STOP_FIRST)]
    variants = (specs.nudged_config, specs.rollback_config)
    ours = [*sent, *(variant(config) for config in sent for variant in variants)]
    return any(specs.has_config(view.spec, config) for config in ours)


def _failure(context: ServiceContext, view: ServiceView, journal: RedeployJournal) -> Result:
    tasks = [task for task in view.tasks if not (journal.is_job and task.state == "complete")]
    culprit = find_culprit(tasks, journal.new, str(view.status.get("Message") or ""))
    reason = describe_failure(view, culprit, context.run)
    return Result(success=False, reason=reason, log_tail=context.api.log_tail(view, culprit))


def _removed(context: ServiceContext) -> str:
    return f"the service {context.name} was removed while it was redeployed"
