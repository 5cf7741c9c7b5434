"""The shared engine as a worker sees it: Engine of tutumd.ports, over the socket of `engine_process.py`."""

import json
import os
import socket
import time
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from threading import Event
from typing import Any

from tests.faults.journal import BEGIN, CREATE, END, REMOVE, START
from tutumd.errors import EngineRefusedError, EngineUnavailableError
from tutumd.model import (
    Availability,
    ContainerSnapshot,
    ContainerState,
    EngineInfo,
    Finding,
    Outcome,
    Output,
    Plan,
    Service,
    ServiceSnapshot,
    WantedImage,
)
from tutumd.ports.engine import Run

NAME = "shared"
_LIMIT_S = 60.0
_ON_THE_WAY_S = 0.005
_LOOK_S = 0.25


class SharedEngine:
    """Engine of tutumd.ports. Containers are named after their action, so that every step is repeatable."""

    def __init__(self, path: Path) -> None:
        self._path = path

    @property
    def info(self) -> EngineInfo:
        return EngineInfo(name=NAME, kind="shared", can_create=False)

    def discover(self) -> tuple[ServiceSnapshot, ...]:
        services: dict[str, dict[str, bool]] = self._ask(kind="list")["services"]
        return tuple(_snapshot(name, containers) for name, containers in services.items())

    def inspect(self, service: Service) -> ServiceSnapshot | None:
        return next((found for found in self.discover() if found.selector == service.selector), None)

    def watch(self, changed: Callable[[], None], stop: Event) -> None:
        seen = None
        while not stop.wait(_LOOK_S):
            revision = self._ask(kind="revision")["revision"]
            if revision != seen:
                changed()
            seen = revision

    def plan(self, service: Service, tag: str | None, image: WantedImage | None = None) -> Plan:
        return Plan(order="start-first", steps=tuple(f"replace {name}" for name in self._running(service)))

    def availability(self, service: Service, images: Sequence[WantedImage]) -> Mapping[int, Availability]:
        return {}

    def redeploy(self, service: Service, run: Run) -> Outcome:
        """Replace one container after the other; the plan is in the journal before anything is changed."""
        plan = run.journal.get("old")
        old = [str(name) for name in plan] if isinstance(plan, list) else self._running(service)
        if plan is None:
            run.save({"old": old})
        with self._told(service, run, "REDEPLOY") as call:
            for number, name in enumerate(old):
                if run.remaining_s() == 0:
                    return self._outcome(service, old, success=False)
                new = f"{service.name}-{run.action_uuid[:8]}-{number}"
                call(CREATE, new)
                call(START, new)
                self._watch_until_it_runs(service, new, run)
                call(REMOVE, name)
            return self._outcome(service, old, success=True)

    def scale(self, service: Service, target: int, run: Run) -> Outcome:
        """Add or remove containers by the plan, which is in the journal before anything changes."""
        before = self._running(service)
        add, remove = run.journal.get("add"), run.journal.get("remove")
        if not isinstance(add, list) or not isinstance(remove, list):
            add = [f"{service.name}-{run.action_uuid[:8]}-{n}" for n in range(target - len(before))]
            remove = before[target:]
            run.save({"add": add, "remove": remove})
        verb = "SCALEUP" if add else "SCALE"
        with self._told(service, run, verb) as call:
            for name in map(str, add):
                call(CREATE, name)
                call(START, name)
                self._watch_until_it_runs(service, name, run)
            for name in map(str, remove):
                call(REMOVE, name)
            return self._outcome(service, before, success=len(self._running(service)) == target)

    def start(self, service: Service, run: Run) -> Outcome:
        raise EngineRefusedError("the shared engine starts nothing")

    def stop(self, service: Service, run: Run) -> Outcome:
        raise EngineRefusedError("the shared engine stops nothing")

    def terminate(self, service: Service, run: Run) -> Outcome:
        raise EngineRefusedError("the shared engine terminates nothing")

    def logs(self, service: Service, lines: int, after: Mapping[str, str] | None = None) -> Output:
        return Output(text="", position={})

    def probe(self) -> None:
        self._ask(kind="revision")

    def check(self) -> tuple[Finding, ...]:
        return ()

    def close(self) -> None:
        """Nothing is kept open."""

    @contextmanager
    def _told(self, service: Service, run: Run, verb: str) -> Iterator[Callable[[str, str], None]]:
        """Report the begin and the end of the run to the engine; yield a function that sends a change."""
        who: dict[str, object] = {
            "run": str(uuid.uuid4()),
            "worker": os.getpid(),
            "action": run.action_uuid,
            "service": service.name,
        }

        def call(what: str, container: str) -> None:
            run.check()
            # Here, between the look at the lease and the engine, a worker that is stopped is late.
            time.sleep(_ON_THE_WAY_S)
            self._ask(kind="call", call=what, name=container, **who)

        self._ask(kind=BEGIN, call=verb, **who)
        try:
            yield call
        finally:
            with suppress(EngineUnavailableError):
                self._ask(kind=END, call=verb, **who)

    def _watch_until_it_runs(self, service: Service, name: str, run: Run) -> None:
        while name not in self._running(service):
            run.sleep(_ON_THE_WAY_S)

    def _running(self, service: Service) -> list[str]:
        found = self.inspect(service)
        if found is None:
            raise EngineRefusedError(f"there is no service {service.name!r}")
        return [container.id for container in found.containers]

    def _outcome(self, service: Service, before: Sequence[str], *, success: bool) -> Outcome:
        after = tuple(self._running(service))
        return Outcome(
            success=success,
            reason="" if success else "not all containers are as they should be",
            containers_before=tuple(before),
            containers_after=after,
        )

    def _ask(self, **request: object) -> dict[str, Any]:
        try:
            with socket.socket(socket.AF_UNIX) as connection, connection.makefile("rb") as answers:
                connection.settimeout(_LIMIT_S)
                connection.connect(str(self._path))
                connection.sendall(json.dumps(request).encode() + b"\n")
                line = answers.readline()
        except OSError as error:
            raise EngineUnavailableError(f"the shared engine cannot be reached: {error.strerror or error}") from error
        if not line.endswith(b"\n"):
            raise EngineUnavailableError("the shared engine went away before it answered")
        return dict(json.loads(line))


def _snapshot(name: str, containers: dict[str, bool]) -> ServiceSnapshot:
    """Show the containers that run, in the order in which they were made; others count for nothing."""
    running = [
        ContainerSnapshot(id=container, name=container, state=ContainerState.RUNNING)
        for container, runs in containers.items()
        if runs
    ]
    return ServiceSnapshot(selector=f"shared:{name}", name=name, target=len(running), containers=tuple(running))
