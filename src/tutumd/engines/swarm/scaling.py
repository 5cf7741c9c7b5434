"""Changing how many tasks a replicated service has: scale, start and stop, which all set an absolute number."""

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

from tutumd.engines.images.reference import parse_reference
from tutumd.engines.journals import reading_back
from tutumd.engines.labels import STOPPED_REPLICAS
from tutumd.engines.swarm import spec as specs
from tutumd.engines.swarm.api import SwarmApi
from tutumd.engines.swarm.changes import Steady, Tempo, change, wait_for_quiet
from tutumd.engines.swarm.plan import Result, Stage
from tutumd.engines.swarm.tasks import Phase
from tutumd.engines.swarm.trial import LOG_LINES
from tutumd.engines.swarm.verdict import Finding, View, judge_scaling
from tutumd.engines.swarm.words import trouble_of
from tutumd.errors import EngineRefusedError
from tutumd.model import Outcome
from tutumd.ports import Run


@dataclass(frozen=True, slots=True, kw_only=True)
class ScalePlan:
    """One change of the number of replicas.

    Attributes:
        before, target: Replicas.
        noted_before, noted: What the label of a stopped service says before and after; None: no label.
        tasks_before: IDs of every task there was, ended ones too.
        running_before: IDs of those that ran.
    """

    before: int
    target: int
    noted_before: int | None
    noted: int | None
    tasks_before: tuple[str, ...]
    running_before: tuple[str, ...]
    stage: Stage = Stage.ORDER
    result: Result | None = None

    def to_journal(self) -> dict[str, Any]:
        """Return it as JSON values."""
        values = asdict(self)
        return {**values, "tasks_before": list(self.tasks_before), "running_before": list(self.running_before)}


def read_scale_plan(journal: Mapping[str, Any]) -> ScalePlan | None:
    """Read a plan back; None from an empty journal. Raises EngineRefusedError for one that is not understood."""
    if not journal:
        return None
    with reading_back():
        result = journal["result"]
        return ScalePlan(
            **{
                **journal,
                "tasks_before": tuple(journal["tasks_before"]),
                "running_before": tuple(journal["running_before"]),
                "stage": Stage(journal["stage"]),
                "result": None if result is None else Result(**result),
            }
        )


def plan_scaling(view: View, target: int, *, noted: int | None) -> ScalePlan:
    """Plan to bring a service to `target` replicas.

    Args:
        noted: What the label of a stopped service shall say afterwards; None: no label.
    """
    labelled = STOPPED_REPLICAS in (view.spec.get("Labels") or {})
    return ScalePlan(
        before=specs.replicas_of(view.spec),
        target=target,
        noted_before=specs.stopped_replicas(view.spec) if labelled else None,
        noted=noted,
        tasks_before=tuple(task.id for task in view.tasks),
        running_before=tuple(task.id for task in view.running),
    )


def refuse_impossible(view: View, target: int, most: int) -> None:
    """Raise EngineRefusedError where the service cannot have `target` replicas.

    Args:
        most: The most containers that a service may have here.
    """
    name, mode = view.spec["Name"], specs.mode_of(view.spec)
    if mode is specs.Mode.GLOBAL:
        raise EngineRefusedError(
            f"the service {name} is global: it has one container per node, and that number cannot be set"
        )
    if mode is specs.Mode.JOB:
        raise EngineRefusedError(f"the service {name} is a job: its number of containers cannot be set")
    if target > most:
        raise EngineRefusedError(f"a service may have at most {most} containers here, wanted were {target}")
    per_node = specs.most_per_node(view.spec)
    if per_node and target > per_node * view.nodes.usable and target > specs.replicas_of(view.spec):
        raise EngineRefusedError(
            f"the service {name} allows {per_node} containers per node, and {view.nodes.usable} nodes take any: "
            f"{target} have no room"
        )


class Scaling:
    """One change of the number of replicas of the service `name`, carried out and watched."""

    def __init__(self, api: SwarmApi, name: str, run: Run, tempo: Tempo) -> None:
        self._api = api
        self._name = name
        self._run = run
        self._tempo = tempo

    def begin(self, make_plan: Callable[[View], ScalePlan]) -> Outcome:
        """Make a plan of the service as it is once nobody updates it, save the plan and carry it out."""
        view = wait_for_quiet(self._api, self._name, self._run, self._tempo, limit_s=self._tempo.quiet_s)
        if view is None:
            raise EngineRefusedError(f"the service {self._name} is gone from the swarm")
        return self.go_on(self._save(make_plan(view)))

    def go_on(self, plan: ScalePlan) -> Outcome:
        """Carry out a saved plan from the stage it is at."""
        if plan.stage is Stage.ORDER:
            self._set(plan.target, plan.noted, instead_of=plan.before)
            plan = self._follow(plan)
        if plan.stage is Stage.UNDO:
            plan = self._undo(plan)
        return self._outcome(plan)

    def _set(self, replicas: int, noted: int | None, *, instead_of: int) -> None:
        def wanted(view: View) -> dict[str, Any] | None:
            new = specs.with_replicas(view.spec, replicas, noted=noted)
            others = specs.replicas_of(view.spec) not in (replicas, instead_of)
            same = new["Labels"] == (view.spec.get("Labels") or {}) and replicas == specs.replicas_of(view.spec)
            return None if same or others else new

        change(self._api, self._name, self._run, self._tempo, wanted)

    def _follow(self, plan: ScalePlan) -> ScalePlan:
        steady, told = Steady(clock=self._tempo.clock), ""
        while True:
            view = self._api.view(self._name)
            if view is None:
                return self._ended(
                    plan, Result(success=False, reason=f"the service {self._name} was removed meanwhile")
                )
            line = f"{len(view.running)} of {plan.target} containers run"
            if line != told:
                self._run.log(line)
                told = line
            finding = judge_scaling(view, target=plan.target, before=plan.before, tasks_before=plan.tasks_before)
            held_s = steady.seconds(tuple(sorted(task.id for task in view.running)))
            if finding is Finding.ARRIVED and (plan.target <= plan.before or held_s >= self._tempo.stable_s):
                return self._ended(plan, Result(success=True))
            if finding is Finding.SUPERSEDED:
                reason = f"superseded: somebody else set the service to {specs.replicas_of(view.spec)} containers"
                return self._ended(plan, Result(success=False, reason=reason))
            if finding is Finding.FAILED or self._run.remaining_s() <= 0:
                return self._failed(plan, view)
            self._run.sleep(self._tempo.poll_s)

    def _failed(self, plan: ScalePlan, view: View) -> ScalePlan:
        new = [task for task in view.tasks if task.id not in plan.tasks_before]
        troubled = [task for task in new if task.broken] or [task for task in new if task.phase is not Phase.RUNNING]
        late = " at the deadline" if self._run.remaining_s() <= 0 else ""
        reason = f"{len(view.running)} of {plan.target} containers run{late}"
        if plan.target < plan.before:
            return self._ended(plan, Result(success=False, reason=f"{view.leaving} containers still stop{late}"))
        log_tail = ""
        if troubled:
            reason += f": {trouble_of(troubled[-1])}"
            log_tail = self._api.task_log(troubled[-1].id, tty=specs.is_tty(view.spec), lines=LOG_LINES)
        result = Result(success=False, reason=reason, log_tail=log_tail)
        if plan.target == plan.before:
            return self._ended(plan, result)
        return self._save(replace(plan, stage=Stage.UNDO, result=result))

    def _undo(self, plan: ScalePlan) -> ScalePlan:
        self._run.log(f"putting the number of containers back to {plan.before}")
        result = plan.result or Result(success=False)
        try:
            self._set(plan.before, plan.noted_before, instead_of=plan.target)
        except EngineRefusedError as error:
            return self._ended(plan, replace(result, reason=f"{result.reason}; it could not be undone: {error}"))
        ends = self._tempo.clock() + self._tempo.undo_s
        view = self._api.view(self._name)
        while view is not None and not self._is_back(plan, view) and self._tempo.clock() < ends:
            self._run.sleep(self._tempo.poll_s)
            view = self._api.view(self._name)
        back = view is not None and specs.replicas_of(view.spec) == plan.before
        return self._ended(plan, replace(result, rolled_back=back))

    @staticmethod
    def _is_back(plan: ScalePlan, view: View) -> bool:
        if specs.replicas_of(view.spec) != plan.before:
            return True
        # swarmkit: manager/orchestrator/restart/restart.go. A task that has ended but is still desired is going to be
        # restarted or removed.
        return not view.leaving and sum(task.wanted for task in view.tasks) <= plan.before

    def _outcome(self, plan: ScalePlan) -> Outcome:
        view = self._api.view(self._name)
        result = plan.result or Result(success=False, reason="it is not known how the change ended")
        image = parse_reference(specs.version(view.spec).image).digest if view else None
        return Outcome(
            success=result.success,
            reason=result.reason,
            log_tail=result.log_tail,
            rolled_back=result.rolled_back,
            image_before=image,
            image_after=image,
            containers_before=plan.running_before,
            containers_after=tuple(task.id for task in view.running) if view else (),
        )

    def _ended(self, plan: ScalePlan, result: Result) -> ScalePlan:
        return self._save(replace(plan, stage=Stage.SETTLE, result=result))

    def _save(self, plan: ScalePlan) -> ScalePlan:
        self._run.save(plan.to_journal())
        return plan
