"""The rollback of a redeploy: the previous version is sent again and followed until it runs."""

from typing import Any

from tutumd.engines.rollout.journal import finish_rollback
from tutumd.engines.swarm import spec as specs
from tutumd.engines.swarm.context import ServiceContext, restart_s
from tutumd.engines.swarm.health import is_rolled_back, stalled_tasks
from tutumd.engines.swarm.journal import RedeployJournal
from tutumd.engines.swarm.view import ServiceView
from tutumd.errors import EngineRefusedError
from tutumd.model import Phase


def roll_back(context: ServiceContext, journal: RedeployJournal) -> RedeployJournal:
    """Roll a failed update back, or continue to; return the journal with the result."""

    def make_spec(view: ServiceView) -> dict[str, Any] | None:
        if view.version != journal.new:
            return None
        return specs.rollback_spec(view.spec, journal.before, journal.config or {}, context.run.variables)

    run, timing = context.run, context.timing
    run.log("restoring the previous version", Phase.RESTORING)
    try:
        context.change(make_spec)
    except EngineRefusedError as error:
        return finish_rollback(run, journal, f"the rollback failed: {error}", rolled_back=False)
    began = timing.clock()
    given_up: set[str] = set()
    while True:
        view = context.view()
        if view is None or view.version != journal.old:
            what = "the service was removed" if view is None else "somebody else updated the service"
            return finish_rollback(run, journal, f"during the rollback {what}", rolled_back=False)
        overdue = timing.clock() - began >= timing.rollback_s + restart_s(context.api, view.spec)
        # Failed tasks should be gone first, but the deadline limits how long that is waited for.
        if is_rolled_back(view, journal.old, len(journal.running_before)) and (overdue or not view.stopping):
            return finish_rollback(run, journal, rolled_back=True)
        if overdue:
            count = f"{view.running_at(journal.old)} of {len(journal.running_before)}"
            text = f"after the rollback {count} containers of the previous version run"
            return finish_rollback(run, journal, text, rolled_back=True)
        if stalled := stalled_tasks(view, journal.old) - given_up:
            context.nudge_updater(journal.old, specs.rollback_config(journal.config or {}))
            given_up |= stalled
        run.sleep(timing.poll_s)
