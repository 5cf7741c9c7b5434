"""Changes of the number of replicas: scale, start and stop, which all set an absolute number."""

from collections.abc import Callable
from typing import Any

from tutumd.engines.labels import STOPPED_REPLICAS
from tutumd.engines.rollout import (
    Look,
    Result,
    RolloutStatus,
    ScaleJournal,
    Stage,
    blame,
    build_outcome,
    fail,
    refuse_over_cap,
    unfinished,
)
from tutumd.engines.swarm import spec as specs
from tutumd.engines.swarm.context import ServiceContext, report_progress
from tutumd.engines.swarm.health import check_scaling, describe_task, find_culprit, lost_tasks
from tutumd.engines.swarm.images import split_digest
from tutumd.engines.swarm.view import ServiceView, Task
from tutumd.errors import EngineRefusedError
from tutumd.model import Outcome, Phase


def plan_scaling(view: ServiceView, target: int, server_cap: int, *, noted: int = 0) -> ScaleJournal:
    """Return the journal of a change to `target` replicas.

    Args:
        noted: Value of the label of a stopped service afterwards; 0 means no label.

    Raises:
        EngineRefusedError: The service cannot have as many replicas, or a cap does not allow them.
    """
    _refuse_impossible(view, target, server_cap)
    return ScaleJournal(
        before=specs.replicas_of(view.spec),
        target=target,
        noted_before=specs.label_sets(view.spec)[0].get(STOPPED_REPLICAS),
        noted=str(noted) if noted else None,
        present_before=tuple(task.id for task in view.tasks),
        running_before=tuple(task.id for task in view.running),
    )


def _refuse_impossible(view: ServiceView, target: int, server_cap: int) -> None:
    name, mode = view.spec["Name"], specs.mode_of(view.spec)
    if mode is specs.Mode.GLOBAL:
        raise EngineRefusedError(
            f"the service {name} is global: it has one container per node, and that number cannot be set"
        )
    if mode is specs.Mode.JOB:
        raise EngineRefusedError(f"the service {name} is a job: its number of containers cannot be set")
    present = max(specs.replicas_of(view.spec), specs.replicas_before_stop(view.spec))
    refuse_over_cap(target, server_cap, specs.read_labels(view.spec).service_cap, present)
    per_node, nodes = specs.max_per_node(view.spec), len(view.nodes.open)
    if per_node and target > per_node * nodes and target > specs.replicas_of(view.spec):
        raise EngineRefusedError(
            f"the service {name} allows {per_node} containers per node, and {nodes} nodes take any: "
            f"{target} have no room"
        )


class Scale:
    """One change of the number of replicas. The contract is on `rollout.driver.Change`.

    Args:
        plan: Plans the change for the service when nobody updates it. Raises EngineRefusedError.
    """

    journal: ScaleJournal

    def __init__(self, context: ServiceContext, plan: Callable[[ServiceView], ScaleJournal]) -> None:
        self.context = context
        self._plan = plan
        self._lost: frozenset[str] = frozenset()

    def begin(self) -> ScaleJournal:
        self._plan(self.context.api.require_view(self.context.name))  # refuse the impossible before waiting for others
        return self._plan(self.context.wait_until_idle())

    def send(self) -> None:
        self._set(self.journal.target, self.journal.noted, instead_of=self.journal.before)

    def _set(self, replicas: int, noted: str | None, *, instead_of: int) -> None:
        def make_spec(view: ServiceView) -> dict[str, Any] | None:
            present = specs.replicas_of(view.spec)
            spec = specs.with_replicas(view.spec, replicas, noted=noted)
            is_same = spec["Labels"] == specs.label_sets(view.spec)[0] and replicas == present
            return None if is_same or present not in (replicas, instead_of) else spec

        self.context.change(make_spec)

    def judge(self, view: ServiceView) -> Look:
        run, timing, new = self.context.run, self.context.timing, _new_tasks(view, self.journal)
        run.advance("gone", len(self.journal.running_before) - len(view.running) - view.stopping)
        report_progress(self.context, view.spec, new)
        self._lost |= lost_tasks(new)
        status = check_scaling(view, self.journal, self._lost)
        progress = f"{len(view.running)} of {self.journal.target} containers run"
        if status is RolloutStatus.SUPERSEDED:
            progress = f"somebody else set the service to {specs.replicas_of(view.spec)} containers"
        needed_s = timing.stable_s if self.journal.target > self.journal.before else 0.0
        return Look(
            status=status,
            progress=progress,
            same=tuple(sorted(task.id for task in view.running)),
            needed_s=timing.doubt_s if status is RolloutStatus.FAILED else needed_s,
        )

    def give_up(self, view: ServiceView) -> None:
        context = self.context
        if self.journal.target < self.journal.before:
            return fail(self, unfinished(context.run, f"{view.stopping} containers have not stopped yet"))
        culprit = find_culprit(_new_tasks(view, self.journal), view.version)
        reason = blame(
            unfinished(context.run, f"{len(view.running)} of {self.journal.target} containers run"),
            describe_task(culprit, view.tasks) if culprit else "",
        )
        return fail(
            self,
            reason,
            context.api.log_tail(view, culprit),
            stage=Stage.FINISH if self.journal.target == self.journal.before else Stage.ROLL_BACK,
        )

    def undo(self) -> None:
        self.context.run.log(f"restoring the previous number of containers, {self.journal.before}", Phase.RESTORING)
        self._set(self.journal.before, self.journal.noted_before, instead_of=self.journal.target)

    def judge_undo(self, view: ServiceView) -> Look:
        # swarmkit, manager/orchestrator/restart: the engine restarts or removes a task that ended but is still desired.
        is_done = not view.stopping and sum(task.desired for task in view.tasks) <= self.journal.before
        status = RolloutStatus.SUCCEEDED if is_done else RolloutStatus.IN_PROGRESS
        if specs.replicas_of(view.spec) != self.journal.before:
            status = RolloutStatus.SUPERSEDED
        return Look(status=status, progress=f"{len(view.running)} of {self.journal.before} containers run")

    def settle(self) -> None:
        """Do nothing: nothing else was sent."""

    def outcome(self, result: Result, view: ServiceView | None) -> Outcome:
        image = split_digest(view.version.image)[1] if view else None
        return build_outcome(
            result,
            image_before=image,
            image_after=image,
            containers_before=self.journal.running_before,
            containers_after=tuple(task.id for task in view.running) if view else (),
        )


def _new_tasks(view: ServiceView, journal: ScaleJournal) -> list[Task]:
    return [task for task in view.tasks if task.id not in journal.present_before]
