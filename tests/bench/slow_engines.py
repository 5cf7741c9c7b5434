"""A worker with engines of Engine in tutumd.ports, whose runs take 1 s each. Some die when a file appears."""

import sys
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from threading import Event

from tutumd.errors import EngineRefusedError, EngineUnavailableError
from tutumd.main.work import work
from tutumd.model import ContainerSnapshot, ContainerState, EngineInfo, Finding, Outcome, Plan, Service, ServiceSnapshot
from tutumd.ports.engine import Engine, Run
from tutumd.settings import Settings

RUN_S = 1.0
_HANG_S = 5.0


class SlowEngine:
    """Engine of tutumd.ports with services of one container each.

    Args:
        dead: It does not answer any more once this file exists; None: it lives.
        hang_s: How long whoever asks it then waits for the error.
    """

    def __init__(self, name: str, services: int, *, dead: Path | None = None, hang_s: float = 0.0) -> None:
        self._name = name
        self._services = [f"{name}-{number}" for number in range(services)]
        self._dead = dead
        self._hang_s = hang_s

    @property
    def info(self) -> EngineInfo:
        return EngineInfo(name=self._name, kind="slow", can_create=False)

    def discover(self) -> tuple[ServiceSnapshot, ...]:
        self.probe()
        return tuple(map(_snapshot, self._services))

    def inspect(self, service: Service) -> ServiceSnapshot | None:
        self.probe()
        return _snapshot(service.name)

    def watch(self, changed: Callable[[], None], stop: Event) -> None:
        changed()
        while not stop.wait(1.0):
            self.probe()

    def plan(self, service: Service, tag: str | None) -> Plan:
        return Plan(order="start-first", steps=())

    def redeploy(self, service: Service, run: Run) -> Outcome:
        self.probe()
        run.sleep(RUN_S)
        names = (f"{service.name}-1",)
        return Outcome(success=True, reason="", containers_before=names, containers_after=names)

    def scale(self, service: Service, target: int, run: Run) -> Outcome:
        raise EngineRefusedError("this engine only redeploys")

    def start(self, service: Service, run: Run) -> Outcome:
        raise EngineRefusedError("this engine only redeploys")

    def stop(self, service: Service, run: Run) -> Outcome:
        raise EngineRefusedError("this engine only redeploys")

    def terminate(self, service: Service, run: Run) -> Outcome:
        raise EngineRefusedError("this engine only redeploys")

    def logs(self, service: Service, lines: int) -> str:
        return ""

    def probe(self) -> None:
        if self._dead is not None and self._dead.exists():
            time.sleep(self._hang_s)
            raise EngineUnavailableError("this engine is dead")

    def check(self) -> tuple[Finding, ...]:
        return ()

    def close(self) -> None:
        """Nothing is open."""


def _snapshot(name: str) -> ServiceSnapshot:
    container = ContainerSnapshot(id=f"{name}-1", name=f"{name}-1", state=ContainerState.RUNNING)
    return ServiceSnapshot(selector=f"slow:{name}", name=name, target=1, containers=(container,))


def build(engines: int, services: int, dead: Path) -> dict[str, Engine]:
    """Make engines that share the services. Of two that will die, one refuses at once, and one lets others wait."""
    each = services // engines
    doomed = {"slow-0": 0.0, "slow-1": _HANG_S}
    names = [f"slow-{number}" for number in range(engines)]
    return {
        name: SlowEngine(name, each, dead=dead if name in doomed else None, hang_s=doomed.get(name, 0.0))
        for name in names
    }


def main(database: str, data_dir: str, engines: str, services: str) -> None:
    """Work until a signal."""
    dead = Path(data_dir) / "dead"

    def build_engines(_settings: Settings, _stack: ExitStack, _installation: str) -> dict[str, Engine]:
        return build(int(engines), int(services), dead)

    work({"database": database, "data_dir": Path(data_dir)}, build_engines)


if __name__ == "__main__":
    main(*sys.argv[1:])
