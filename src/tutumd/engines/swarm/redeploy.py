"""The redeploy of one service: the update, its settings, and the rollback."""

from collections.abc import Mapping
from typing import Any

from tutumd.engines.labels import Json, Order
from tutumd.engines.rollout import (
    REMOVED,
    HoldTimer,
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
    is_rolled_back,
    lost_tasks,
    needs_room,
    old_tasks_give_room,
    stalled_tasks,
)
from tutumd.engines.swarm.images import redeployed_image, split_digest
from tutumd.engines.swarm.new_tasks import NO_ROOM, remove_probe, run_probe
from tutumd.engines.swarm.plan import RedeployJournal, prepare_redeploy
from tutumd.engines.swarm.view import ServiceView, TaskPhase
from tutumd.errors import Cause, ReasonCode
from tutumd.model import Outcome, Phase

_EMPTIED = Cause(
    "somebody else scaled the service to 0 during the update, so nothing shows that the new version runs",
    ReasonCode.CHANGED_MEANWHILE,
)


class Redeploy:
    """One redeploy. The contract is on `rollout.driver.Change`."""

    journal: RedeployJournal

    def __init__(self, context: ServiceContext) -> None:
        self.context = context
        self._crowded = HoldTimer(context.timing.clock)
        # IDs of the tasks whose node went down, and of the stalled tasks for which the updater was made to continue.
        self._lost: frozenset[str] = frozenset()
        self._given_up: set[str] = set()

    def begin(self) -> RedeployJournal:
        context, run = self.context, self.context.run
        journal = prepare_redeploy(
            context.api,
            context.wait_until_idle(),
            run.tag,
            run.variables,
            context.timing,
            context.limits,
            run.skip_unchanged,
            run.image,
        )
        if journal.result is None:
            order = f", {journal.config['Order']}: {journal.order_reason}" if journal.config else ""
            run.log(f"updating to {journal.image}{order}")
        return journal

    def send(self) -> None:
        run = self.context.run
        if self.journal.stage is Stage.PROBE:
            self._probe()
        if self.journal.stage is Stage.APPLY:
            pace = f": {describe_pace(self.journal.config)}" if self.journal.config else ""
            run.log(f"sending the update{pace}", Phase.UPDATING)
            self.context.change(lambda view: _update_spec(view, self.journal, run.variables))

    def _probe(self) -> None:
        context, journal = self.context, self.journal
        view = context.view()
        if view is None:
            remove_probe(context)
            return fail(self, REMOVED)
        spec = specs.redeploy_spec(view.spec, journal.new, journal.config, journal.platforms, context.run.variables, {})
        failure, log_tail = run_probe(context, spec, journal.stable_s)
        view = context.view()
        if failure == NO_ROOM and view is not None and old_tasks_give_room(view, journal.new):
            return self._make_room()
        if failure:
            context.run.log(failure)
            return fail(
                self, join_sentences(failure, "it was removed, and the running containers were not touched"), log_tail
            )
        return save(self, stage=Stage.APPLY)

    def judge(self, view: ServiceView) -> Look:
        context, journal, new = self.context, self.journal, view.of(self.journal.new)
        report_progress(context, view.spec, new)
        self._lost |= lost_tasks(new)
        if journal.is_job:
            # Between two tasks of one slot, and before the tasks of all nodes exist, a job appears to have ended.
            status, stable_s = check_job(view, journal.new), context.timing.stable_s
        else:
            status = check_update(view, journal.new, journal.old, self._lost, was_stopped=journal.stopped)
            stable_s = journal.stable_s if view.running else 0.0
        if status is RolloutStatus.SUPERSEDED:
            return Look(
                status=status,
                progress="while this redeploy ran, somebody else updated the service; it now is at "
                f"{view.version.image}",
            )
        if status is RolloutStatus.IN_PROGRESS:
            self._help_updater(view)
        # A failure in a single look may be temporary. A rollback by the engine is not.
        doubt_s = 0.0 if view.version == journal.old else context.timing.doubt_s
        return Look(
            status=status,
            progress=describe_progress(view, journal.new),
            same=tuple(sorted(task.id for task in view.running)),
            needed_s=doubt_s if status is RolloutStatus.FAILED else stable_s,
            # Old containers with a long grace period do not turn a success into a failure.
            is_complete=not view.stopping or context.run.remaining_s() <= 0,
        )

    def _help_updater(self, view: ServiceView) -> None:
        """Make the engine's updater continue where it would wait forever."""
        start_first = self.journal.config is not None and self.journal.config["Order"] == Order.START_FIRST
        no_room = start_first and needs_room(view, self.journal.new)
        if self._crowded.seconds(no_room) >= self.context.timing.no_room_s and no_room:
            self._make_room()
        if self.journal.order_reason == NO_ROOM:
            self.context.change(lambda now: _stop_first_spec(now, self.journal))
        self._nudge(view, self.journal.new, self.journal.config)

    def _make_room(self) -> None:
        """Store that old tasks stop first, because no node has room for a new task beside them."""
        self.context.run.log(f"{NO_ROOM}: stopping old ones first")
        save(
            self,
            stage=Stage.APPLY,
            config={**(self.journal.config or {}), "Order": str(Order.STOP_FIRST)},
            order_reason=NO_ROOM,
        )

    def _nudge(self, view: ServiceView, version: specs.Version, config: Json | None) -> None:
        """Restart the engine's updater if tasks are stalled: it keeps one new task in each place, and stops waiting for
        lost tasks.

        Args:
            config: The UpdateConfig that the update to `version` was sent with.
        """
        stalled = stalled_tasks(view, version) - self._given_up
        if not stalled or config is None:
            return
        nudged = specs.nudged_config(config)

        def make_spec(now: ServiceView) -> dict[str, Any] | None:
            if now.version != version:
                return None
            changed = config if specs.has_config(now.spec, nudged) else nudged
            return specs.with_config_of(now.spec, {specs.UPDATE_CONFIG: changed})

        self.context.run.log("a node went down or was drained under a container: making the engine continue")
        self.context.change(make_spec)
        self._given_up |= stalled

    def give_up(self, view: ServiceView) -> None:
        culprit = find_culprit(
            [task for task in view.tasks if not (self.journal.is_job and task.state == "complete")],
            self.journal.new,
            str(view.status.get("Message") or ""),
        )
        reason = (
            _EMPTIED
            if specs.is_stopped(view.spec) and not self.journal.stopped
            else describe_failure(view, culprit, self.context.run)
        )
        # A rollback of a job would run the previous version once more.
        stage = Stage.FINISH if self.journal.is_job else Stage.ROLL_BACK
        fail(self, reason, self.context.api.log_tail(view, culprit), stage=stage)

    def undo(self) -> None:
        run, journal = self.context.run, self.journal
        run.log("restoring the previous version", Phase.RESTORING)
        self.context.change(
            lambda view: (
                specs.rollback_spec(view.spec, journal.before, journal.config or {}, run.variables)
                if view.version == journal.new
                else None
            )
        )

    def judge_undo(self, view: ServiceView) -> Look:
        journal, count = self.journal, view.running_at(self.journal.old)
        status = RolloutStatus.IN_PROGRESS
        if view.version != journal.old:
            status = RolloutStatus.SUPERSEDED
        # Failed tasks should be gone first, but the deadline limits that wait.
        elif is_rolled_back(view, journal.old, len(journal.running_before)) and not view.stopping:
            status = RolloutStatus.SUCCEEDED
        else:
            self._nudge(view, journal.old, specs.rollback_config(journal.config or {}))
        return Look(
            status=status, progress=f"{count} of {len(journal.running_before)} containers of the previous version run"
        )

    def settle(self) -> None:
        """Restore the user's UpdateConfig, which restarts no task (measured on Engine 26)."""
        context, timing = self.context, self.context.timing
        if self.journal.result is not None:
            poll_until(
                context.run,
                timing,
                context.view,
                lambda view: view is None or is_idle(view) or not _has_our_config(view, self.journal),
                max(timing.idle_s, context.run.remaining_s()),
            )
        # While an update with start-first waits for its first new task, a change to stop-first makes the engine stop
        # the old task immediately (measured on Engine 26).
        context.change(
            lambda view: (
                specs.with_config_of(view.spec, self.journal.before)
                if (is_idle(view) or is_converged(view, self.journal.new)) and _has_our_config(view, self.journal)
                else None
            )
        )

    def outcome(self, result: Result, view: ServiceView | None) -> Outcome:
        context, journal, is_noted = self.context, self.journal, result.success and not result.reason
        is_ours = view is not None and _has_our_config(view, journal)
        image_after = split_digest(view.version.image)[1] if view is not None else None
        left = [task for task in view.tasks if task.phase is TaskPhase.RUNNING] if view is not None else []
        if view is not None and journal.is_job:
            left += [task for task in view.of(journal.new) if task.state == "complete"]
        return build_outcome(
            result,
            journal.note if is_noted else "",
            "the service still has the UpdateConfig that this redeploy was sent with" if is_ours else "",
            image_before=split_digest(journal.old.image)[1],
            image_after=journal.image_after if result.success else image_after,
            image_tried=journal.image_after,
            containers_before=journal.running_before,
            containers_after=tuple(task.id for task in left),
            image=redeployed_image(context.api, journal.labels, journal.image, journal.image_after)
            if result.success
            else None,
        )


def _update_spec(
    view: ServiceView, journal: RedeployJournal, variables: Mapping[str, str | None]
) -> dict[str, Any] | None:
    """Return the specification of the update; None if it was already sent."""
    # If the engine has rolled our update back, its report differs from the report before the update.
    rolled_back = view.update_state.startswith("rollback") and view.status != journal.status_before
    if view.version != journal.old or rolled_back:
        return None
    return specs.redeploy_spec(view.spec, journal.new, journal.config, journal.platforms, variables, journal.labels)


def _stop_first_spec(view: ServiceView, journal: RedeployJournal) -> dict[str, Any] | None:
    """Return the specification that stops old tasks first, after a start-first update found no room."""
    before = {**(journal.config or {}), "Order": str(Order.START_FIRST)}
    if view.version != journal.new or not specs.has_config(view.spec, before):
        return None
    return specs.with_config_of(view.spec, {specs.UPDATE_CONFIG: journal.config})


def _has_our_config(view: ServiceView, journal: RedeployJournal) -> bool:
    """Return whether the service still has an UpdateConfig of this redeploy."""
    if journal.config is None or specs.has_config(view.spec, journal.before.get(specs.UPDATE_CONFIG)):
        return False
    sent = [{**journal.config, "Order": str(order)} for order in (Order.START_FIRST, Order.STOP_FIRST)]
    sent += [specs.rollback_config(config) for config in sent]
    return any(specs.has_config(view.spec, ours) for config in sent for ours in (config, specs.nudged_config(config)))
