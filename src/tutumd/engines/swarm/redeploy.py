"""The redeploy of one service: sent, followed to its end, rolled back if it fails, and cleaned up.

Each stage is saved before it changes anything, and begins by looking at what is already there: after a kill, another
process continues with the stage in the journal.
"""

from dataclasses import replace
from typing import Any

from tutumd.engines.images.reference import parse_reference
from tutumd.engines.rollout.journal import Result, Stage, fail, finish, from_journal, save
from tutumd.engines.rollout.outcome import build_outcome
from tutumd.engines.rollout.timing import poll_until
from tutumd.engines.swarm import spec as specs
from tutumd.engines.swarm.context import ServiceContext
from tutumd.engines.swarm.follow import describe_removal, follow, has_our_config, make_room, restore_config
from tutumd.engines.swarm.health import is_idle, old_tasks_give_room
from tutumd.engines.swarm.journal import NO_ROOM, RedeployJournal
from tutumd.engines.swarm.messages import describe_pace
from tutumd.engines.swarm.plan import prepare_redeploy
from tutumd.engines.swarm.probe_task import remove_probe, run_probe
from tutumd.engines.swarm.rollback import roll_back
from tutumd.engines.swarm.view import Phase, ServiceView
from tutumd.model import Outcome


def redeploy(context: ServiceContext) -> Outcome:
    """Redeploy a service, or continue to, to the end."""
    journal = from_journal(RedeployJournal, context.run.journal)
    if journal is None:
        journal = _begin(context)
    elif journal.result is not None and journal.result.success:
        # Earlier versions saved a success. It counts only after a look at what runs now.
        journal = replace(journal, stage=Stage.APPLY, result=None)
    if journal.stage is Stage.PROBE:
        journal = _probe(context, journal)
    if journal.stage is Stage.APPLY:
        _send_update(context, journal)
        journal, view = follow(context, journal)
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
        return fail(run, journal, describe_removal(context))
    spec = specs.redeploy_spec(view.spec, journal.new, journal.config, journal.platforms, run.variables)
    failure, log_tail = run_probe(context, spec, journal.stable_s)
    view = context.view()
    if failure == NO_ROOM and view is not None and old_tasks_give_room(view, journal.new):
        return make_room(context, journal)
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
        return specs.redeploy_spec(view.spec, journal.new, journal.config, journal.platforms, context.run.variables)

    context.run.log("sending the update" + (f": {describe_pace(journal.config)}" if journal.config else ""))
    context.change(make_spec)


def _finish(context: ServiceContext, journal: RedeployJournal) -> Outcome:
    """Restore the user's UpdateConfig once the service is at rest, and return the outcome."""
    run, timing = context.run, context.timing
    poll_until(
        run,
        timing,
        context.view,
        lambda view: view is None or is_idle(view) or not has_our_config(view, journal),
        max(timing.idle_s, run.remaining_s()),
    )
    restore_config(context, journal)
    return _outcome(journal, context.view())


def _outcome(journal: RedeployJournal, view: ServiceView | None) -> Outcome:
    """Return the outcome for the service as it is now; None means that it is gone."""
    is_success = journal.result is not None and journal.result.success
    is_ours = view is not None and has_our_config(view, journal)
    image_after = parse_reference(view.version.image).digest if view is not None else None
    left = [task for task in view.tasks if task.phase is Phase.RUNNING] if view is not None else []
    if view is not None and journal.is_job:
        left += [task for task in view.of(journal.new) if task.state == "complete"]
    return build_outcome(
        journal.result,
        "the service still has the UpdateConfig that this redeploy was sent with" if is_ours else "",
        image_before=parse_reference(journal.old.image).digest,
        image_after=journal.image_after if is_success else image_after,
        containers_before=journal.running_before,
        containers_after=tuple(task.id for task in left),
    )
