"""START and STOP: all containers of a service, as they are."""

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

from tutumd.engines.docker.api import DockerApi
from tutumd.engines.docker.inspect.inspected_container import InspectedContainer
from tutumd.engines.docker.readiness import Trial
from tutumd.errors import EngineRefusedError
from tutumd.model import Outcome
from tutumd.ports import Run

_AT_ONCE = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class Power:
    """Starts and stops the containers of one service in one run."""

    host: DockerApi
    trial: Trial
    run: Run

    def start(self, holders: Sequence[InspectedContainer]) -> Outcome:
        """Start what does not run; where one of them fails, stop again what this run has started."""
        stored: Mapping[str, Any] = self.run.journal
        if not stored:
            stored = {"started": [one.id for one in holders if not one.runs], "failed": "", "log_tail": ""}
            self.run.save(stored)
        before = tuple(one.id for one in holders)
        failed, tail = stored["failed"], stored["log_tail"]
        if not failed:
            failed, tail = self._start_all(holders, stored["started"])
            if failed:
                self.run.save({**stored, "failed": failed, "log_tail": tail})
        problems = self._stop_all(stored["started"]) if failed else ""
        return Outcome(
            success=not failed,
            reason="; ".join(filter(None, (failed, problems))),
            log_tail=tail,
            rolled_back=bool(failed) and not problems,
            containers_before=before,
            containers_after=before,
        )

    def stop(self, holders: Sequence[InspectedContainer]) -> Outcome:
        """Stop what runs. The engine does not start a container again that was stopped by hand."""
        for one in holders:
            if (one.raw.get("HostConfig") or {}).get("AutoRemove"):
                raise EngineRefusedError(
                    f"the container {one.name} was started with --rm: stopping it would delete it, so that it could "
                    "not be started again; start it without --rm"
                )
        reason = self._stop_all([one.id for one in holders])
        before = tuple(one.id for one in holders)
        return Outcome(success=not reason, reason=reason, containers_before=before, containers_after=before)

    def _start_all(self, holders: Sequence[InspectedContainer], started: Sequence[str]) -> tuple[str, str]:
        for one in holders:
            try:
                if one.status == "paused":
                    self.run.check()
                    self.host.unpause(one.id)
                elif not one.runs:
                    self.run.check()
                    self.host.start(one.id)
                    self.run.log(f"started {one.name}")
            except EngineRefusedError as error:
                return str(error), ""
        for one in holders:
            reason = self.trial.wait(one.id, self.run) if one.id in started else ""
            if reason:
                return f"the container {one.name} failed: {reason}", self.trial.output(one.id)
        return "", ""

    def _stop_all(self, containers: Sequence[str]) -> str:
        """Stop several containers at once, since each may take its whole grace period; return what went wrong."""
        with ThreadPoolExecutor(_AT_ONCE) as pool:
            return "; ".join(filter(None, pool.map(self._stop_one, containers)))

    def _stop_one(self, container: str) -> str:
        seen = self.host.container(container)
        if seen is None or not seen.runs:
            return ""
        self.run.check()
        try:
            self.host.stop(container)
        except EngineRefusedError as error:
            return str(error)
        self.run.log(f"stopped {seen.name}")
        return ""
