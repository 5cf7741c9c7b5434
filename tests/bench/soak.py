"""Memory, threads and handles of a server under mixed load: services that write, calls, and reads of the API."""

import random
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from threading import Event, Thread

from tests.bench import programs
from tests.bench.programs import Program
from tests.bench.working import run_services
from tests.support.leaks import end_processes

_SERVICES, _CALLERS, _PER_S = 20, 4, 50
_CALLS = 0.7
"""Share of calls; the rest reads."""
_COMMAND = 'while :; do echo "a line"; sleep 5; done'
_DEBOUNCE_S = 2
_SAMPLE_S = 60.0
_BEFORE_S = 300.0
_READS = (
    *("/api/v1/action/?limit=25", "/api/v1/service/?limit=25", "/readyz"),
    "/api/v1/service/{service}/webhook/handler/{handler}/delivery/?limit=25",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """One look at the server. `requests` and `failed` are counted from the start; 5xx and broken ones failed."""

    seconds: float
    memory_mb: float
    threads: int
    handles: int
    requests: int
    failed: int


class _Callers:
    def __init__(self, server: Program, paths: Sequence[str]) -> None:
        self._port = server.port
        self._paths = paths
        self._stopped = Event()
        self.requests = self.failed = 0
        self._threads = [Thread(target=self._run, args=(random.Random(number),)) for number in range(_CALLERS)]
        for thread in self._threads:
            thread.start()

    def close(self) -> None:
        self._stopped.set()
        for thread in self._threads:
            thread.join()

    def _run(self, chance: random.Random) -> None:
        while not self._stopped.is_set():
            with closing(HTTPConnection("127.0.0.1", self._port, timeout=30)) as connection:
                self._send_until_broken(connection, chance)

    def _send_until_broken(self, connection: HTTPConnection, chance: random.Random) -> None:
        while not self._stopped.wait(chance.expovariate(_PER_S / _CALLERS)):
            path = chance.choice(self._paths)
            method = "POST" if chance.random() < _CALLS else "GET"
            if method == "GET":
                service, handler = path.split("/")[4], path.split("/")[7]
                path = chance.choice(_READS).format(service=service, handler=handler)
            self.requests += 1
            try:
                programs.request(connection, method, path)
            except (AssertionError, OSError, HTTPException) as error:
                self.failed += 1
                print(f"bench: {method} failed: {type(error).__name__}", file=sys.stderr)
                return


def measure(stack: ExitStack, seconds: float) -> list[Sample]:
    """Return a sample a minute."""
    folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="tutumd-soak-")))
    stack.callback(end_processes, folder=folder)  # services outlive their server
    database = f"sqlite:///{folder / 'tutumd.db'}"
    server = programs.start_tutumd(stack, folder, database, "--engine", "local")
    paths = run_services(server, _COMMAND, _SERVICES)
    with closing(HTTPConnection("127.0.0.1", server.port, timeout=20)) as connection:
        for path in list(paths):
            body = {"operation": "REDEPLOY", "debounce": _DEBOUNCE_S}
            again = path.partition("/webhook/")[0] + "/webhook/handler/"
            paths.append(programs.ask(connection, "POST", again, body)["url"])
    began = time.monotonic()
    samples: list[Sample] = []
    with closing(_Callers(server, paths)) as callers:
        while time.monotonic() - began < seconds:
            time.sleep(min(_SAMPLE_S, seconds))
            samples.append(
                Sample(
                    seconds=time.monotonic() - began,
                    memory_mb=server.memory_mb,
                    threads=server.threads,
                    handles=server.handles,
                    requests=callers.requests,
                    failed=callers.failed,
                )
            )
            print(f"bench: {samples[-1]}", file=sys.stderr, flush=True)
    return samples


def growth(samples: Sequence[Sample], before_s: float = _BEFORE_S) -> float:
    """Divide the memory at the end by that after five minutes."""
    before = next((one for one in samples if one.seconds >= before_s), samples[0])
    return samples[-1].memory_mb / before.memory_mb


def table(samples: Sequence[Sample]) -> str:
    """Write the samples as a table, and the growth below it."""
    lines = ["| minutes | memory MB | threads | handles | requests | failed |", "| --- | --- | --- | --- | --- | --- |"]
    lines += [
        f"| {one.seconds / 60:.0f} | {one.memory_mb:.0f} | {one.threads} | {one.handles} | {one.requests:,} "
        f"| {one.failed} |"
        for one in samples
    ]
    return "\n".join([*lines, "", f"Memory at the end ÷ after 5 minutes: {growth(samples):.2f} (target: ≤ 1.15)"])
