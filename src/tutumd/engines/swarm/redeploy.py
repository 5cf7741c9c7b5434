"""The redeploy of one service: ordered, followed to its end, undone where it ends badly, and cleaned up after.

Each stage is saved before it changes anything, and begins by looking at what is already there: a server that was
killed anywhere goes on with the stage in its journal.
"""

from collections.abc import Mapping
from dataclasses import replace

from tutumd.engines.images.reference import parse_reference
from tutumd.engines.labels import Order
from tutumd.engines.swarm import spec as specs
from tutumd.engines.swarm.api import SwarmApi
from tutumd.engines.swarm.changes import Steady, Tempo, change, wait_for_quiet
from tutumd.engines.swarm.newest import newest_image
from tutumd.engines.swarm.plan import NO_ROOM, Plan, Result, Stage, read_plan
from tutumd.engines.swarm.planning import plan_redeploy, wanted_of
from tutumd.engines.swarm.trial import LOG_LINES, Trial
from tutumd.engines.swarm.verdict import (
    Finding,
    View,
    calm,
    culprit,
    gives_room,
    judge,
    judge_job,
    lacks_room,
    restored,
    waited_for_in_vain,
)
from tutumd.engines.swarm.words import failure, progress
from tutumd.errors import EngineRefusedError
from tutumd.model import Outcome
from tutumd.ports import Run


def prepare(
    api: SwarmApi, view: View, tag: str | None, variables: Mapping[str, str | None], *, stable_s: float
) -> Plan:
    """Find out what a redeploy needs, and plan it. Raises EngineRefusedError where it cannot be done."""
    newest = newest_image(api, view, tag)
    host_network = api.is_on_host_network(view.spec)
    return plan_redeploy(view, newest, variables, stable_s=stable_s, host_network=host_network)


class Redeploy:
    """One redeploy of the service `name`."""

    def __init__(self, api: SwarmApi, name: str, run: Run, tempo: Tempo) -> None:
        self._api = api
        self._name = name
        self._run = run
        self._tempo = tempo

    def perform(self) -> Outcome:
        """Do it, or go on with it, to the end."""
        seen = self._api.view(self._name)
        timeout_s = wanted_of(seen.spec).timeout_s if seen else None
        if timeout_s is not None:
            self._run.set_time_limit(timeout_s)
        plan = read_plan(self._run.journal) or self._prepare()
        if plan.stage is Stage.TRIAL:
            plan = self._try(plan)
        if plan.stage is Stage.ORDER:
            plan = self._order(plan)
        if plan.stage is Stage.UNDO:
            plan = self._undo(plan)
        return self._settle(plan)

    def _prepare(self) -> Plan:
        view = wait_for_quiet(self._api, self._name, self._run, self._tempo, limit_s=self._tempo.quiet_s)
        if view is None:
            raise EngineRefusedError(f"the service {self._name} is gone from the swarm")
        plan = self._save(prepare(self._api, view, self._run.tag, self._run.variables, stable_s=self._tempo.stable_s))
        if plan.result is None:
            order = f", {plan.config['Order']}: {plan.order_reason}" if plan.config else ""
            self._run.log(f"updating to {plan.image}{order}")
        return plan

    def _try(self, plan: Plan) -> Plan:
        trial = Trial(self._api, self._name, self._run, self._tempo)
        view = self._api.view(self._name)
        if view is None:
            trial.end()
            return self._save(plan.at(Stage.SETTLE, Result(success=False, reason=self._gone())))
        try:
            trial.begin(specs.redeploy_spec(view.spec, plan.new, None, plan.platforms, self._run.variables))
            self._run.log(f"trying the new image out beside the service for {plan.stable_s:g} s")
            trouble, log_tail = trial.watch(plan.stable_s)
        except EngineRefusedError:
            trial.end()
            raise
        trial.end()
        view = self._api.view(self._name)
        if trouble == NO_ROOM and view is not None and gives_room(view, plan.new):
            return self._make_room(replace(plan, stage=Stage.ORDER))
        if trouble:
            self._run.log(trouble)
            reason = f"{trouble}; it was taken away, and the containers that run were not touched"
            result = Result(success=False, reason=reason, log_tail=log_tail, rolled_back=True)
            return self._save(plan.at(Stage.SETTLE, result))
        return self._save(replace(plan, stage=Stage.ORDER))

    def _order(self, plan: Plan) -> Plan:
        def wanted(view: View) -> "dict[str, object] | None":
            unsent = specs.version(view.spec) == plan.old and not self._was_rolled_back(view, plan)
            if not unsent:
                return None
            return specs.redeploy_spec(view.spec, plan.new, plan.config, plan.platforms, self._run.variables)

        change(self._api, self._name, self._run, self._tempo, wanted)
        return self._follow(plan)

    def _follow(self, plan: Plan) -> Plan:
        running, finding, crowded = (Steady(clock=self._tempo.clock) for _ in range(3))
        told = ""
        given_up: frozenset[str] = frozenset()
        while True:
            view = self._api.view(self._name)
            if view is None:
                return self._save(plan.at(Stage.SETTLE, Result(success=False, reason=self._gone())))
            found, held = self._judged(view, plan, finding), _held(view, plan, running)
            line = progress(view, plan.new)
            if line != told:
                self._run.log(line)
                told = line
            overdue = self._run.remaining_s() <= 0
            # Old containers with a long grace period do not make a success a failure.
            if found is Finding.ARRIVED and held and (overdue or not view.leaving):
                return self._save(plan.at(Stage.SETTLE, Result(success=True, reason=plan.note)))
            if found is Finding.SUPERSEDED:
                now = specs.version(view.spec).image
                reason = f"superseded: while this redeploy ran, somebody else updated the service; it now is at {now}"
                return self._save(plan.at(Stage.SETTLE, Result(success=False, reason=reason)))
            if found not in (Finding.ARRIVED, Finding.WAIT) or overdue:
                # To put the version before a job's back would be to run that once more.
                stage = Stage.SETTLE if plan.is_job else Stage.UNDO
                return self._save(plan.at(stage, self._failure(view, plan)))
            no_room = lacks_room(view, plan.new) and plan.is_start_first
            if crowded.seconds(no_room) >= self._tempo.room_s and no_room:
                plan = self._make_room(plan)
            self._bring_order(plan)
            if lost := waited_for_in_vain(view, plan.new) - given_up:
                self._nudge(plan)
                given_up |= lost
            self._run.sleep(self._tempo.poll_s)

    def _make_room(self, plan: Plan) -> Plan:
        self._run.log(f"{NO_ROOM}: stopping old ones first")
        return self._save(plan.making_room())

    def _bring_order(self, plan: Plan) -> None:
        """Tell the engine to stop old tasks first where we found that only after the update was sent."""

        def wanted(view: View) -> "dict[str, object] | None":
            before = {**(plan.config or {}), "Order": str(Order.START_FIRST)}
            unsent = specs.version(view.spec) == plan.new and specs.has_config(view.spec, before)
            return specs.with_config_of(view.spec, {"UpdateConfig": plan.config}) if unsent else None

        if plan.order_reason == NO_ROOM:
            change(self._api, self._name, self._run, self._tempo, wanted)

    def _nudge(self, plan: Plan) -> None:
        """Make the engine's updater begin again: it keeps the new tasks that run, and stops waiting for lost ones."""

        def wanted(view: View) -> "dict[str, object] | None":
            if plan.config is None or specs.version(view.spec) != plan.new:
                return None
            nudged = specs.nudged_config(plan.config)
            now = plan.config if specs.has_config(view.spec, nudged) else nudged
            return specs.with_config_of(view.spec, {"UpdateConfig": now})

        self._run.log("a node went down under a new container: making the engine go on with the one in its place")
        change(self._api, self._name, self._run, self._tempo, wanted)

    def _judged(self, view: View, plan: Plan, steady: Steady) -> Finding:
        if not plan.is_job:
            return judge(view, plan.new, plan.old)
        # Between two tasks of one copy, and before those of all nodes are there, a job looks as if it had ended.
        found = judge_job(view, plan.new)
        return found if steady.seconds(found) >= self._tempo.stable_s else Finding.WAIT

    def _undo(self, plan: Plan) -> Plan:
        def wanted(view: View) -> "dict[str, object] | None":
            ours = specs.version(view.spec) == plan.new
            return specs.undo_spec(view.spec, plan.before, plan.config or {}, self._run.variables) if ours else None

        self._run.log("putting the version before back")
        try:
            change(self._api, self._name, self._run, self._tempo, wanted)
        except EngineRefusedError as error:
            return self._end_undo(plan, f"it could not be undone: {error}", rolled_back=False)
        began = self._tempo.clock()
        while True:
            view = self._api.view(self._name)
            if view is None or specs.version(view.spec) != plan.old:
                what = "the service was removed" if view is None else "somebody else updated the service"
                return self._end_undo(plan, f"while it was undone, {what}", rolled_back=False)
            overdue = self._tempo.clock() - began >= self._tempo.undo_s + specs.grace_s(view.spec)
            # As in `_follow`: what failed is waited for until it is gone, but not at any price.
            if restored(view, plan.old, len(plan.running_before)) and (overdue or not view.leaving):
                return self._end_undo(plan, "", rolled_back=True)
            if overdue:
                count = f"{view.running_at(plan.old)} of {len(plan.running_before)}"
                text = f"after it was put back, {count} containers of the version before run"
                return self._end_undo(plan, text, rolled_back=True)
            self._run.sleep(self._tempo.poll_s)

    def _settle(self, plan: Plan) -> Outcome:
        """Put the user's UpdateConfig back. That restarts no task (measured on Engine 26)."""
        ends = self._tempo.clock() + max(self._tempo.quiet_s, self._run.remaining_s())
        while (view := self._api.view(self._name)) is not None and self._tempo.clock() < ends:
            if calm(view) or not self._has_our_config(view, plan):
                break
            self._run.sleep(self._tempo.poll_s)
        try:
            change(self._api, self._name, self._run, self._tempo, lambda view: self._tidied(view, plan))
        except EngineRefusedError as error:
            self._run.log(f"the update settings could not be put back: {error}")
        view = self._api.view(self._name)
        result = plan.result or Result(success=False, reason="it is not known how the update ended")
        parts = [result.reason]
        if view is not None and self._has_our_config(view, plan):
            parts.append("the service still has the UpdateConfig that this redeploy was sent with")
        return Outcome(
            success=result.success,
            reason="; ".join(part for part in parts if part),
            log_tail=result.log_tail,
            rolled_back=result.rolled_back,
            image_before=parse_reference(plan.old.image).digest,
            image_after=self._image_after(plan, result, view),
            containers_before=plan.running_before,
            containers_after=tuple(task.id for task in view.running) if view else (),
        )

    def _tidied(self, view: View, plan: Plan) -> "dict[str, object] | None":
        # Not while an update is under way: where one with start-first waits for its first new task to run, a change
        # to stop-first makes the engine stop the old one at once (measured on Engine 26).
        if not calm(view) or not self._has_our_config(view, plan):
            return None
        return specs.with_config_of(view.spec, plan.before)

    @staticmethod
    def _has_our_config(view: View, plan: Plan) -> bool:
        if specs.has_config(view.spec, specs.config_of(plan.before)):
            return False
        if plan.config is None:
            return False
        sent = [{**plan.config, "Order": str(order)} for order in (Order.START_FIRST, Order.STOP_FIRST)]
        ours = [made for one in sent for made in (one, specs.nudged_config(one), specs.undo_config(one))]
        return any(specs.has_config(view.spec, one) for one in ours)

    def _image_after(self, plan: Plan, result: Result, view: View | None) -> str | None:
        if result.success:
            return plan.image_after
        return parse_reference(specs.version(view.spec).image).digest if view else None

    def _failure(self, view: View, plan: Plan) -> Result:
        message = str(view.status.get("Message") or "")
        well = ("complete",) if plan.is_job else ()
        blamed = culprit((task for task in view.tasks if task.state not in well), plan.new, message)
        log_tail = ""
        if blamed is not None:
            log_tail = self._api.task_log(blamed.id, tty=specs.is_tty(view.spec), lines=LOG_LINES)
        return Result(success=False, reason=failure(view, blamed, self._run.remaining_s() <= 0), log_tail=log_tail)

    def _end_undo(self, plan: Plan, addition: str, *, rolled_back: bool) -> Plan:
        result = plan.result or Result(success=False)
        reason = "; ".join(part for part in (result.reason, addition) if part)
        return self._save(plan.at(Stage.SETTLE, replace(result, reason=reason, rolled_back=rolled_back)))

    def _save(self, plan: Plan) -> Plan:
        self._run.save(plan.to_journal())
        return plan

    def _gone(self) -> str:
        return f"the service {self._name} was removed while it was redeployed"

    @staticmethod
    def _was_rolled_back(view: View, plan: Plan) -> bool:
        """Tell whether the engine has already undone our update: its words then are not those from before."""
        return view.update_state.startswith("rollback") and view.status != plan.status_before


def _held(view: View, plan: Plan, steady: Steady) -> bool:
    """Tell whether the same tasks have run for as long as they have to.

    A `completed` of the engine is no proof: it says so unwatched where the service was changed in mid-update.
    """
    held_s = steady.seconds(tuple(sorted(task.id for task in view.running)))
    return not view.running or held_s >= plan.stable_s
