"""The engine `local`: a service is a command, and a new version is another definition of it."""

import os
import signal
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.contract.engines.bed import SECRET, Ability, EngineBed
from tests.contract.local_support import PATIENT_S, LocalHost, local_host
from tests.support.waiting import wait_until
from tutumd.model import Service
from tutumd.ports.engine import Engine

CRASH = 'echo "starting $VERSION"; echo "fatal: $VERSION cannot start" >&2; exit 3'
SERVE = 'echo "serving $VERSION"; exec sleep 1000'


class LocalBed(EngineBed):
    """A command has no tag and no health check, and no other tool starts processes for a service."""

    kind = "local"
    abilities = frozenset({Ability.CREATES, Ability.ZERO, Ability.ENDS})
    deadline_s = 300.0

    def __init__(self, host: LocalHost) -> None:
        self._host = host
        self._version = "v1"
        self._target = 2

    @property
    def service(self) -> Service:
        command = CRASH if self._version == "crashing" else SERVE
        return self._host.service(command, target=self._target, envvars={**SECRET, "VERSION": self._version})

    def engine(self) -> Engine:
        return self._host.engine(**({"stable_s": PATIENT_S} if self._version == "crashing" else {}))

    def create(self, count: int = 2) -> None:
        self._target = count
        outcome = self.engine().start(self.service, self._host.run())
        assert outcome.success, outcome

    def remove(self) -> None:
        outcome = self.engine().terminate(self.service, self._host.run())
        assert outcome.success, outcome

    def release(self, version: str, tag: str = "latest") -> Mapping[str, Any]:
        self._version = version
        return {}

    def versions(self) -> Sequence[str]:
        return sorted(environment["VERSION"] for environment in self.environments())

    def environments(self) -> Sequence[Mapping[str, str]]:
        return list(self._host.processes().values())

    def change_outside(self) -> None:
        os.kill(min(self._host.pids()), signal.SIGKILL)

    def end(self, version: str, *, removed: bool) -> int:
        pids = [pid for pid, environment in self._host.processes().items() if environment["VERSION"] == version]
        for pid in pids:
            os.kill(pid, signal.SIGKILL)
        wait_until(lambda: version not in self.versions(), "they have ended")
        return len(pids)


@contextmanager
def local_bed(folder: Path) -> Iterator[LocalBed]:
    with local_host(folder / "local") as host:
        yield LocalBed(host)
