"""A real `tutumd serve` process on a free port of loopback, with the credentials of the specification's examples."""

import os
import secrets
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from itertools import cycle, islice
from pathlib import Path
from typing import Any, Self

import psutil

from tests.support.api import APIKEY as APIKEY
from tests.support.api import BIN as BIN
from tests.support.api import LIMIT_S as LIMIT_S
from tests.support.api import USER as USER
from tests.support.api import Answer as Answer
from tests.support.api import Api
from tests.support.api import request as request
from tests.support.leaks import END_S, current_owner, end_processes
from tests.support.processes import kill_with_children, runs
from tests.support.programs import start, without_settings
from tests.support.waiting import wait_until

PATIENT = (sys.executable, str(Path(__file__).with_name("patient_program.py")))
"""Replaces `tutumd` where a test holds a redeploy back by `run_gated_service`."""

NOTIFIER = "tutumd.main.notify"


class LiveServer(Api):
    """A server with one data folder. It can be killed and started again on the same port.

    Args:
        folder: For the data, the log, and the home of programs that talk to the server.
        options: Of `tutumd serve`, for example `("--engine", "local")`.
        environment: Added to the process environment, for example that of a Docker test bed.
        command: Replaces `tutumd`.
        apikey: Of the examples' user, if the data folder has another one.
        port: Of a server that this one replaces.
    """

    def __init__(
        self,
        folder: Path,
        *options: str,
        environment: Mapping[str, str] | None = None,
        command: Sequence[str] = (str(BIN / "tutumd"),),
        apikey: str = APIKEY,
        port: int | None = None,
    ) -> None:
        super().__init__(folder, port or free_port(), apikey=apikey)
        self._options = options
        self._environment = dict(environment or {})
        self._command = list(command)
        self._process: subprocess.Popen[bytes] | None = None
        self._owner = current_owner()
        self._gates: list[Path] = []

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Stop the server and end its services, also those of a server that a test has killed."""
        try:
            if self._process is not None:
                if "local" in self._options:
                    self.terminate_services()
                assert self.stop() in (0, -signal.SIGTERM)
                left = end_processes(folder=self.folder, end_s=END_S)
                assert not left, f"the server left processes behind: {left}"
        finally:
            if self._process is not None:
                self.kill()
            end_processes(folder=self.folder)

    @property
    def log(self) -> str:
        return (self.folder / "server.log").read_text(errors="replace")

    @property
    def pid(self) -> int:
        assert self._process is not None, "the server is not running"
        return self._process.pid

    @property
    def worker(self) -> psutil.Process:
        """The worker process, once there is one."""
        return wait_until(self.find_worker, "the server has a worker", pause_s=0.01)

    def _children(self) -> Iterator[psutil.Process]:
        return filter(runs, psutil.Process(self.pid).children())

    def find_worker(self) -> psutil.Process | None:
        """Return the worker process, if there is one."""
        return next((child for child in self._children() if NOTIFIER not in child.cmdline()), None)

    def find_notifier(self) -> psutil.Process | None:
        """Return the notifier process, if there is one."""
        return next((child for child in self._children() if NOTIFIER in child.cmdline()), None)

    def start(self) -> None:
        """Start the server and wait until it responds."""
        credentials = {"TUTUMD_ADMIN_USER": USER, "TUTUMD_ADMIN_APIKEY": APIKEY}
        address = ["--host", "127.0.0.1", "--port", str(self.port), "--data-dir", str(self.data)]
        self._process = start(
            [*self._command, "serve", *address, *self._options],
            self.folder / "server.log",
            env=without_settings() | self._environment | credentials | self._owner,
            cwd=self.folder,
        )
        wait_until(self._answers, f"the server responds; {self.folder}/server.log", timeout_s=LIMIT_S)

    def stop(self) -> int:
        """Stop the server as a service manager would, and return its exit code."""
        return self._end(signal.SIGTERM)

    def kill(self) -> None:
        """Kill the server with SIGKILL: the edge and its worker, but no service."""
        kill_with_children(self.pid)
        self._end(signal.SIGKILL)

    def kill_edge(self) -> None:
        """Kill the edge alone with SIGKILL."""
        self._end(signal.SIGKILL)

    def run_gated_service(self, name: str, containers: int = 1) -> tuple[str, Path]:
        """Run a service whose processes end on SIGTERM once a file exists; return its UUID and the file."""
        assert tuple(self._command) == PATIENT, "this server kills them after 10 s, whatever the test does"
        gate = self.folder / f"{name}.gate"
        self._gates.append(gate)
        wait_for_gate = f"while test ! -e {gate}; do sleep 0.1; done; exit"
        return self.run_service(name, f"trap '{wait_for_gate}' TERM; while :; do sleep 0.1; done", containers), gate

    def terminate_services(self) -> None:
        """Terminate every service that the server made: they outlive it otherwise."""
        for gate in self._gates:
            gate.touch()
        for service in self._services():
            self.request("DELETE", service["resource_uri"])
        wait_until(lambda: not self._services(), "all services are terminated")

    def _services(self) -> list[dict[str, Any]]:
        return [service for service in self.objects("/api/v1/service/") if service["state"] != "Terminated"]

    def _answers(self) -> bool:
        assert self._process is not None
        if self._process.poll() is not None:
            raise RuntimeError(f"the server exited with {self._process.returncode}: {self.log[-3000:]}")
        try:
            return self.request("GET", "/healthz").status == 200
        except OSError:
            return False

    def _end(self, how: signal.Signals) -> int:
        assert self._process is not None, "the server is not running"
        self._process.send_signal(how)
        return self.wait()

    def wait(self) -> int:
        """Wait until the server, which was told to end, has ended, and return its exit code."""
        assert self._process is not None, "the server is not running"
        process, self._process = self._process, None
        try:
            return process.wait(timeout=LIMIT_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            raise


def free_port() -> int:
    """Return a port that nobody listens on, and that no test of this run has got, or will soon.

    It is below the range that Linux takes ports of outgoing connections from, no other process of the same run draws
    it, and this one does only once. So it stays free until it is used, also while a server is being restarted.
    """
    for port in _PORTS:
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
    raise RuntimeError("no port is free")


def _ports() -> Iterator[int]:
    """Yield one port after the other from a random one on: of several workers of pytest, each has its own."""
    worker = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
    ports = range(10_000 + worker, 32_000, int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1")))
    return islice(cycle(ports), secrets.randbelow(len(ports)), None)


_PORTS = _ports()
