"""Calls while the services of the same server are redeployed: `tutumd serve` with 100 services of the engine local."""

import time
from contextlib import ExitStack, closing
from dataclasses import replace
from http.client import HTTPConnection
from pathlib import Path
from threading import Event, Thread

from tests.bench import claims, load, programs
from tests.bench.load import USUAL, Target
from tests.bench.programs import Program
from tests.bench.results import Work
from tests.support.leaks import end_processes
from tests.support.waiting import wait_until

SERVICES = 100
_WARM_S = 2
_PAUSE_S = 0.25
_LIMIT_S = 60.0


class Working:
    """One folder with services, served by `tutumd serve` and by `tutumd web` alone in turn."""

    def __init__(self, stack: ExitStack, folder: Path, run_command: str, services: int = SERVICES) -> None:
        folder.mkdir()
        self._folder = folder
        self._file = folder / "tutumd.db"
        self._paths = folder / "paths"
        stack.callback(end_processes, folder=folder)  # services outlive their server
        with ExitStack() as running:
            server = self._start(running, "serve")
            self._paths.write_text("".join(f"{path}\n" for path in run_services(server, run_command, services)))
            self._wait_idle()

    def measure(self, rival: Target, seconds: int) -> Work:
        """Measure one round."""
        of_rival = load.call(rival, connections=USUAL, seconds=seconds)
        with ExitStack() as stack:
            web = self._start(stack, "web")
            load.call(self._target(web), connections=USUAL, seconds=1)
            alone = load.call(self._target(web), connections=USUAL, seconds=seconds)
        with ExitStack() as stack:
            work = self._measure_serve(self._start(stack, "serve"), seconds)
        return replace(work, web_calls_per_s=alone.calls_per_s, rival_calls_per_s=of_rival.calls_per_s)

    def _measure_serve(self, server: Program, seconds: int) -> Work:
        since = time.time()
        with closing(_Feeder(server, self._paths.read_text().split())):
            time.sleep(_WARM_S)
            quiet = (time.time(), time.time() + seconds)
            time.sleep(seconds)
        load.call(self._target(server), connections=USUAL, seconds=1)
        begin = time.time()
        called = load.call(self._target(server), connections=USUAL, seconds=seconds)
        end = time.time()
        self._wait_idle()
        actions = claims.read(self._file)
        waited = [one for one in actions if one.started and begin <= one.started < end]
        return Work(
            calls_per_s=called.calls_per_s,
            p99_ms=called.p99_ms,
            failed=called.failed,
            web_calls_per_s=0.0,
            rival_calls_per_s=0.0,
            redeploys_per_s=claims.ended_per_s(actions, begin, end),
            quiet_redeploys_per_s=claims.ended_per_s(actions, *quiet),
            claims_p99_ms=claims.p99(claims.claim_delays(actions, begin, end)) * 1e3,
            queued_p99_ms=claims.p99([(one.started or end) - one.created for one in waited]) * 1e3 if waited else 0.0,
            lapsed=sum(one.lapsed for one in actions if one.created >= since),
        )

    def _start(self, stack: ExitStack, how: str) -> Program:
        engine = ("--engine", "local") if how == "serve" else ()
        return programs.start_tutumd(stack, self._folder, f"sqlite:///{self._file}", *engine, how=how)

    def _target(self, server: Program) -> Target:
        return Target(name="", ports=(server.port,), paths=(self._paths,))

    def _wait_idle(self) -> None:
        wait_until(lambda: claims.count_live(self._file) == 0, "all actions end", timeout_s=_LIMIT_S)


class _Feeder:
    """Calls the handlers in turn, few enough to be no load, so that a redeploy of each service is always queued."""

    def __init__(self, server: Program, paths: list[str]) -> None:
        self._stopped = Event()
        self._thread = Thread(target=self._run, args=(server, paths))
        self._thread.start()

    def close(self) -> None:
        self._stopped.set()
        self._thread.join()

    def _run(self, server: Program, paths: list[str]) -> None:
        with closing(HTTPConnection("127.0.0.1", server.port, timeout=20)) as connection:
            while not self._stopped.wait(_PAUSE_S):
                for path in paths:
                    programs.request(connection, "POST", path)


def run_services(server: Program, run_command: str, services: int, **fields: object) -> list[str]:
    """Create services, start them, and return the path of a handler of each, made with these fields."""
    paths = []
    with closing(HTTPConnection("127.0.0.1", server.port, timeout=20)) as connection:
        for number in range(services):
            definition = {"name": f"bench-{number}", "image": "none", "run_command": run_command}
            uri = programs.ask(connection, "POST", "/api/v1/service/", definition)["resource_uri"]
            programs.request(connection, "POST", f"{uri}start/")
            handler = {"operation": "REDEPLOY", **fields}
            paths.append(programs.ask(connection, "POST", f"{uri}webhook/handler/", handler)["url"])
    return paths
