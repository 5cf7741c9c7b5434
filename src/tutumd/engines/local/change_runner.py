"""Runs a change: start the incoming containers, wait until they are stable, switch over, end the leaving containers.

Each step is recorded before it is performed. So the same action continues after a kill at any point, and another action
first ends a half-done change.
"""

import time
import uuid
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from tutumd.engines.local import records
from tutumd.engines.local.data_folder import DataFolder, tail
from tutumd.engines.local.plan import PlanInput, Planner, definition_of, dry_run_redeploy
from tutumd.engines.local.processes import Processes, SpawnError
from tutumd.engines.local.records import ContainerRecord, ServiceRecord, container_name
from tutumd.engines.rollout import restarts_text, unfinished
from tutumd.errors import Cause, ReasonCode, code_of
from tutumd.model import Outcome, Phase, Plan, RunLimits, Service
from tutumd.ports import Clock, Run

TAIL_LINES = 50


@dataclass(frozen=True, slots=True, kw_only=True)
class ChangeRunner:
    """Runs changes of services. The caller holds the lock of the service.

    Attributes:
        server_cap: Maximum number of containers of a service.
        stable_s: Seconds that a new process must run.
        grace_s: Seconds that a process has to end after SIGTERM.
        limits: Limits of a run, from the server's settings. A service has no labels.
    """

    folder: DataFolder
    processes: Processes
    server_cap: int
    stable_s: float
    grace_s: float
    clock: Clock
    limits: RunLimits

    @property
    def _overlap_s(self) -> float:
        """Seconds that old and new processes run side by side: the drain time, which includes the stability window."""
        return max(self.stable_s, self.limits.drain_s or 0.0)

    def perform(self, service: Service, run: Run, planner: Planner) -> Outcome:
        """Make the change that `planner` returns, or continue an earlier killed call of the same action."""
        run.set_limits(timeout_s=None, stall_s=None, least_stall_s=2 * self._overlap_s)
        record = self.folder.get(service.uuid) or _new_record(service)
        failure = _saved_failure(run)
        is_applied = record.change is None and record.settled == run.action_uuid
        if failure is None and is_applied:
            # An earlier server has watched the new processes, and nobody has since it was killed.
            failure = self._watch(record, _added(record, run), run, self.stable_s)
        elif failure is None:
            record = (
                self._resume(record, run)
                if self._can_continue(record, run)
                else self._begin(record, service, run, planner)
            )
            record, failure = self._start_incoming(record, run)
        if failure is None:
            return self._finish(record if is_applied else self.folder.save(records.apply_change(record)), run)
        # Saved first: even if the new set runs by now, a failed action stays failed.
        saved = {"reason": failure.reason, "code": failure.reason_code, "log_tail": failure.log_tail}
        run.save({**run.journal, "failure": saved})
        run.log(failure.reason, Phase.RESTORING)
        if record.incoming:
            record = self.folder.save(records.drop_change(record))
        elif (
            is_applied
            and record.undo
            and all(c.process and self.processes.is_running(c.process) for c in record.undo.incoming)
        ):
            record = self.folder.save(records.undo_change(record))
            run.log("restored the old processes")
        return self._finish(record, run, failure)

    def plan(self, service: Service, tag: str | None) -> Plan:
        """Return what a redeploy would do now."""
        facts = self._plan_input(
            service, records.drop_change(self.folder.get(service.uuid) or _new_record(service)), tag
        )
        return dry_run_redeploy(
            facts,
            stable_s=self._overlap_s,
            grace_s=self.grace_s,
            limits=self.limits.adapted(least_stall_s=2 * self._overlap_s),
        )

    def _can_continue(self, record: ServiceRecord, run: Run) -> bool:
        change = record.change
        return change is not None and change.action == run.action_uuid and self._running(record) >= set(change.keep)

    def _running(self, record: ServiceRecord) -> set[int]:
        return {c.number for c in record.containers if c.process and self.processes.is_running(c.process)}

    def _plan_input(self, service: Service, record: ServiceRecord, tag: str | None) -> PlanInput:
        return PlanInput(
            service=service,
            record=record,
            running=self._running(record),
            server_cap=self.server_cap,
            new_id=lambda: str(uuid.uuid4()),
            tag=tag,
        )

    def _begin(self, record: ServiceRecord, service: Service, run: Run, planner: Planner) -> ServiceRecord:
        """End the half-done change of another action, then plan and record the change."""
        record, _ = self._end_leaving(records.drop_change(record), run)
        change = planner(
            replace(self._plan_input(service, record, run.tag), action=run.action_uuid, variables=run.variables)
        )
        run.save(
            {
                "before": [c.id for c in record.containers],
                "image_before": record.digest if record.settled else None,
                "note": change.note,
            }
        )
        return self.folder.save(replace(record, name=service.name, change=change))

    def _resume(self, record: ServiceRecord, run: Run) -> ServiceRecord:
        """Determine which incoming containers were started before the earlier call was killed."""
        missing = [c.id for c in record.incoming if c.process is None]
        leaders = self.processes.find_leaders(missing)
        if without_leader := {container_id: None for container_id in missing if container_id not in leaders}:
            run.check()
            self.processes.kill(without_leader, pause=run.sleep)
        for container in record.incoming:
            if container.id in leaders:
                record = records.replace_container(
                    record, replace(container, process=leaders[container.id], started=self.clock())
                )
            elif container.process is not None and not self.processes.is_of_this_boot(container.process):
                # It ended with the machine, not by itself.
                record = records.replace_container(record, replace(container, process=None, started=None))
        return record

    def _start_incoming(self, record: ServiceRecord, run: Run) -> tuple[ServiceRecord, Outcome | None]:
        """Start the incoming containers that do not run yet, and wait until all are stable."""
        change = record.change
        if change is None or not change.incoming:
            return record, None
        if any(container.process is None for container in change.incoming):
            run.log("starting the new processes", Phase.STARTING)
        for container in change.incoming:
            if container.process is None:
                run.check()
                try:
                    process = self.processes.launch(record, change.definition, change.variables, container)
                except SpawnError as error:
                    return record, _failure(f"{container_name(record, container)} could not be started: {error}")
                record = self.folder.save(
                    records.replace_container(record, replace(container, process=process, started=self.clock()))
                )
                run.advance("started", sum(c.process is not None for c in record.incoming))
        names = ", ".join(container_name(record, c) for c in record.incoming)
        watch_s = self._overlap_s if record.containers else self.stable_s
        run.log(f"started {names}; watching for {watch_s:g} s", Phase.CHECKING)
        return record, self._watch(record, record.incoming, run, watch_s)

    def _watch(
        self, record: ServiceRecord, containers: Sequence[ContainerRecord], run: Run, watch_s: float
    ) -> Outcome | None:
        """Watch containers for a while, or check them once; return the failure if a container does not run."""
        until = time.monotonic() + watch_s
        while True:
            for container in containers:
                if container.restarts or not (container.process and self.processes.is_running(container.process)):
                    return self._explain_exit(record, container)
            left_s = until - time.monotonic()
            if left_s <= 0:
                return None
            if run.remaining_s() <= 0:
                return _failure(unfinished(run, "the new processes were not stable yet"))
            self.processes.wait_exit([c.process for c in containers if c.process], left_s)
            run.sleep(0)

    def _explain_exit(self, record: ServiceRecord, container: ContainerRecord) -> Outcome:
        exit_code = self.processes.exit_code(container.process) if container.process else None
        exit_code = container.exit_code if exit_code is None else exit_code
        ended = "ended" if exit_code is None else f"ended with exit code {exit_code}"
        name, restarts = container_name(record, container), restarts_text(container.restarts)
        return _failure(
            Cause(f"{name} {ended}{restarts} before the action was done", ReasonCode.EXITED),
            "\n".join(tail(self.folder.output(record.uuid, container.slot), TAIL_LINES)),
        )

    def _finish(self, record: ServiceRecord, run: Run, failure: Outcome | None = None) -> Outcome:
        """End the leaving containers. After a failure, these are the incoming containers, and the service runs as
        before.
        """
        record, survivors = self._end_leaving(record, run)
        # Check once more: a new container may have ended together with the old containers.
        failure = failure or self._watch(record, _added(record, run), run, 0.0)
        if not record.settled and not survivors:
            self.folder.remove(record.uuid)
        outcome = failure or Outcome(success=True, reason=str(run.journal.get("note", "")))
        pids = ", ".join(str(pid) for pid in survivors)
        warning = f"process {pids} could not be ended: it runs as another user, or waits for a device; end it by hand"
        before, image_before = saved_before(run)
        return replace(
            outcome,
            reason="; ".join(text for text in (outcome.reason, warning if pids else "") if text),
            image_before=image_before,
            image_after=record.digest if record.settled else image_before,
            containers_before=before,
            containers_after=tuple(c.id for c in record.containers),
        )

    def _end_leaving(self, record: ServiceRecord, run: Run) -> tuple[ServiceRecord, tuple[int, ...]]:
        """End the leaving containers. They stay in the record if the returned PIDs survive."""
        if not record.leaving:
            return record, ()
        run.check()
        names = ", ".join(container_name(record, c) for c in record.leaving)
        run.log(f"ending {names}", Phase.REMOVING)
        if survivors := self.processes.end(
            {c.id: c.process for c in record.leaving}, grace_s=self.grace_s, pause=run.sleep
        ):
            return record, survivors
        run.log(f"ended {names}")
        record = self.folder.save(replace(record, leaving=(), undo=None))
        self.folder.drop_old_outputs(record)
        return record, ()


def saved_before(run: Run) -> tuple[tuple[str, ...], str | None]:
    """Return the container IDs and the digest of the definition when the action began, from its journal."""
    ids, image = run.journal.get("before"), run.journal.get("image_before")
    return tuple(str(entry) for entry in ids) if isinstance(ids, list | tuple) else (), str(image) if image else None


def _added(record: ServiceRecord, run: Run) -> tuple[ContainerRecord, ...]:
    """Return the containers that an applied change has added, or their replacements after an exit."""
    return tuple(c for c in record.containers if c.id not in saved_before(run)[0])


def _new_record(service: Service) -> ServiceRecord:
    return ServiceRecord(
        uuid=service.uuid,
        name=service.name,
        definition=definition_of(service),
        image_name=service.image_name,
        target=service.target,
    )


def _failure(reason: str, log_tail: str = "") -> Outcome:
    return Outcome(success=False, reason=reason, reason_code=code_of(reason), log_tail=log_tail)


def _saved_failure(run: Run) -> Outcome | None:
    failure: Any = run.journal.get("failure")
    return _failure(Cause(failure["reason"], failure["code"]), failure["log_tail"]) if failure else None
