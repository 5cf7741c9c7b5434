"""Carrying a change out: start what comes in, wait until it is stable, switch over, end what leaves.

Each step is recorded before it is taken, so that the same action, called again after a kill at any point, goes on
where it was, and another action first clears away what it finds half done.
"""

from collections.abc import Callable, Mapping
from contextlib import closing
from dataclasses import dataclass, replace

from tutumd.engines.local import output, records
from tutumd.engines.local.exit_watch import ExitWatch
from tutumd.engines.local.folder import Folder
from tutumd.engines.local.launch import Launcher, container_name
from tutumd.engines.local.plans import Planner, Situation, tell_redeploy
from tutumd.engines.local.processes import Processes, SpawnError
from tutumd.engines.local.records import ContainerRecord, ServiceRecord
from tutumd.errors import EngineRefusedError
from tutumd.model import Definition, Outcome, Plan, Service
from tutumd.ports import Clock, Run

POLL_S = 0.05
TAIL_LINES = 50


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """How many, and how long: a new process must run `stable_s`, one that is told to end has `grace_s`."""

    server_cap: int
    stable_s: float
    grace_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """Why what came in did not become stable."""

    reason: str
    log_tail: str = ""


class Changes:
    """Carries changes out, one at a time per service: whoever calls holds the service's lock."""

    def __init__(
        self,
        folder: Folder,
        processes: Processes,
        launcher: Launcher,
        limits: Limits,
        *,
        clock: Clock,
        monotonic: Callable[[], float],
        new_id: Callable[[], str],
    ) -> None:
        self._folder = folder
        self._processes = processes
        self._launcher = launcher
        self._limits = limits
        self._clock = clock
        self._monotonic = monotonic
        self._new_id = new_id

    def carry_out(self, service: Service, run: Run, plan: Planner) -> Outcome:
        """Do what `plan` says, from wherever an earlier call of the same action was cut off."""
        record = self._folder.get(service.uuid) or _blank(service)
        if record.change is None and record.settled == run.action_uuid:
            return self._finished(record, run)
        failure = _journaled_failure(run)
        if failure is None:
            goes_on = self._can_go_on(record, run)
            record = self._resumed(record, run) if goes_on else self._begun(record, service, run, plan)
            record, failure = self._brought_in(record, run)
        if failure is not None:
            return self._failed(record, run, failure)
        return self._finished(self._folder.save(records.switched(record)), run)

    def tell(self, service: Service, tag: str | None) -> Plan:
        """Tell what a redeploy would do now."""
        record = records.given_up(self._folder.get(service.uuid) or _blank(service))
        seen = self._situation(service, record, tag)
        return tell_redeploy(seen, stable_s=self._limits.stable_s, grace_s=self._limits.grace_s)

    def _can_go_on(self, record: ServiceRecord, run: Run) -> bool:
        """Whether an earlier call of this action left a change that still fits what is there."""
        change = record.change
        return change is not None and change.action == run.action_uuid and self._alive(record) >= set(change.keep)

    def _alive(self, record: ServiceRecord) -> set[int]:
        """Numbers of the present containers that run."""
        return {c.number for c in record.containers if c.process and self._processes.is_running(c.process)}

    def _begun(self, record: ServiceRecord, service: Service, run: Run, plan: Planner) -> ServiceRecord:
        """Clear away what another action left half done, and write down what will be done."""
        record, _ = self._ended_leaving(records.given_up(record), run)
        seen = self._situation(service, record, run.tag)
        change = plan(replace(seen, action=run.action_uuid, variables=run.variables))
        run.save(
            {
                "before": [c.id for c in record.containers],
                "image_before": record.digest if record.was_started else None,
                "new": [c.id for c in change.incoming],
                "note": change.note,
            }
        )
        return self._folder.save(replace(record, name=service.name, change=change))

    def _situation(self, service: Service, record: ServiceRecord, tag: str | None) -> Situation:
        return Situation(
            service=service,
            record=record,
            alive=self._alive(record),
            server_cap=self._limits.server_cap,
            new_id=self._new_id,
            tag=tag,
        )

    def _resumed(self, record: ServiceRecord, run: Run) -> ServiceRecord:
        """Find out which of the incoming containers were started before the last call was cut off."""
        missing = [c.id for c in record.incoming if c.process is None]
        found = self._processes.leaders(missing)
        if lost := {container_id: None for container_id in missing if container_id not in found}:
            run.check()
            self._processes.kill(lost, pause=run.sleep)
        for container in record.incoming:
            if container.id in found:
                here = replace(container, process=found[container.id], started=self._clock())
                record = records.with_container(record, here, instead_of=container.id)
            elif container.process is not None and not self._processes.is_of_this_boot(container.process):
                again = replace(container, process=None, started=None)  # it ended with the machine, not by itself
                record = records.with_container(record, again, instead_of=container.id)
        return record

    def _brought_in(self, record: ServiceRecord, run: Run) -> tuple[ServiceRecord, Failure | None]:
        """Start the incoming containers that do not run yet, and wait until all are stable."""
        change = record.change
        if change is None or not change.incoming:
            return record, None
        for container in change.incoming:
            if container.process is None:
                run.check()
                try:
                    started = self._launcher.launch(record, change.definition, change.variables, container)
                except SpawnError as error:
                    return record, Failure(reason=f"{container_name(record, container)} could not be started: {error}")
                record = self._folder.save(records.with_container(record, started, instead_of=container.id))
        run.log(f"started {', '.join(container_name(record, c) for c in record.incoming)}")
        return record, self._wait_stable(record, run)

    def _wait_stable(self, record: ServiceRecord, run: Run) -> Failure | None:
        since = self._monotonic()
        with closing(ExitWatch(self._processes.is_running)) as exits:
            exits.watch({c.process for c in record.incoming if c.process})
            while True:
                for container in record.incoming:
                    if container.process is None or not exits.is_running(container.process):
                        return self._explain(record, container)
                left_s = self._limits.stable_s - (self._monotonic() - since)
                if left_s <= 0:
                    return None
                if run.remaining_s() <= 0:
                    return Failure(reason="the time for this action was over before the new processes were stable")
                run.sleep(min(POLL_S, left_s))
                exits.wait(0)

    def _explain(self, record: ServiceRecord, container: ContainerRecord) -> Failure:
        code = self._processes.exit_code(container.process) if container.process else None
        how = "ended" if code is None else f"ended with exit code {code}"
        lines = output.tail(self._folder.output(record.uuid, container.slot), TAIL_LINES)
        return Failure(
            reason=f"{container_name(record, container)} {how} before it had run for {self._limits.stable_s:g} s",
            log_tail="\n".join(lines),
        )

    def _failed(self, record: ServiceRecord, run: Run, failure: Failure) -> Outcome:
        """Take away what came in. The service goes on as before."""
        run.save(dict(run.journal) | {"failure": {"reason": failure.reason, "log_tail": failure.log_tail}})
        run.log(failure.reason)
        if record.incoming:
            record = self._folder.save(records.given_up(record))
        record, left = self._ended_leaving(record, run)
        if not record.was_started and not left:
            self._folder.remove(record.uuid)
        before, image = recalled_before(run)
        return Outcome(
            success=False,
            reason=_joined(failure.reason, _complaint(left)),
            log_tail=failure.log_tail,
            image_before=image,
            image_after=image,
            containers_before=before,
            containers_after=tuple(c.id for c in record.containers),
        )

    def _finished(self, record: ServiceRecord, run: Run) -> Outcome:
        """End what leaves, and tell what is there now."""
        record, left = self._ended_leaving(record, run)
        before, image = recalled_before(run)
        return Outcome(
            success=True,
            reason=_joined(str(run.journal.get("note", "")), _complaint(left)),
            image_before=image,
            image_after=record.digest,
            containers_before=before,
            containers_after=tuple(c.id for c in record.containers),
        )

    def _ended_leaving(self, record: ServiceRecord, run: Run) -> tuple[ServiceRecord, tuple[int, ...]]:
        """End the leaving containers; return the PIDs that could not be ended, whose containers stay recorded."""
        if not record.leaving:
            return record, ()
        run.check()
        doomed = {c.id: c.process for c in record.leaving}
        left = self._processes.end(doomed, grace_s=self._limits.grace_s, pause=run.sleep)
        if left:
            return record, left
        run.log(f"ended {', '.join(container_name(record, c) for c in record.leaving)}")
        record = self._folder.save(replace(record, leaving=()))
        self._folder.drop_old_outputs(record)
        return record, ()


def _blank(service: Service) -> ServiceRecord:
    if service.definition is None:
        raise EngineRefusedError(f"{service.name} has no definition: there is no command to run")
    definition: Definition = service.definition
    return ServiceRecord(
        uuid=service.uuid,
        name=service.name,
        definition=definition,
        image_name=service.image_name,
        target=service.target,
    )


def _journaled_failure(run: Run) -> Failure | None:
    found = run.journal.get("failure")
    if not isinstance(found, Mapping):
        return None
    return Failure(reason=str(found["reason"]), log_tail=str(found["log_tail"]))


def recalled_before(run: Run) -> tuple[tuple[str, ...], str | None]:
    """Recall which containers and which definition's digest were there when the action began."""
    ids, image = run.journal.get("before"), run.journal.get("image_before")
    return tuple(str(entry) for entry in ids) if isinstance(ids, list | tuple) else (), str(image) if image else None


def _complaint(left: tuple[int, ...]) -> str:
    if not left:
        return ""
    pids = ", ".join(str(pid) for pid in left)
    return f"process {pids} could not be ended: it runs as another user, or waits for a device; end it by hand"


def _joined(*sentences: str) -> str:
    return "; ".join(sentence for sentence in sentences if sentence)
