"""Measured programs, each a process on a free port of loopback."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import ExitStack, suppress
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from typing import Any

import psutil

from tests.support.server import free_port

USER, KEY = "bench", "bench-key-bench-key-bench"
RIVAL_PATH = "/hooks/true"
_TUTUMD = "from tutumd.main import main; main()"
_READY_S = 20.0
_IDLE_SHARE = 0.10
_SETTLE_S = 10.0
_SETTLE_LOOK_S = 0.2
_READY = "/readyz"


class Program:
    """One running program with its child processes. `ready_s` is the time from its start until `probe` is answered.

    A tutumd is ready when it says so at `/readyz`: its worker has to work too.
    """

    def __init__(self, command: list[str], folder: Path, probe: str, port: int) -> None:
        self.port = port
        environment = {name: value for name, value in os.environ.items() if not name.startswith("TUTUM")}
        environment |= {"TUTUMD_ADMIN_USER": USER, "TUTUMD_ADMIN_APIKEY": KEY}
        self._log = folder / f"log-{port}"
        with self._log.open("wb") as log:
            began = time.monotonic()
            self._process = subprocess.Popen(
                command, env=environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
            )
        try:
            self._wait_ready(probe)
        except BaseException:
            self.stop()
            raise
        self.ready_s = time.monotonic() - began

    @property
    def memory_mb(self) -> float:
        """Memory of all its processes. What they share counts once (PSS)."""
        return self._sum(_pss_kb) / 2**10

    @property
    def threads(self) -> int:
        return int(self._sum(psutil.Process.num_threads))

    @property
    def handles(self) -> int:
        """File descriptors of all its processes."""
        return int(self._sum(psutil.Process.num_fds))

    def settle(self) -> None:
        """Wait until the program is idle, up to a limit: a backlog would slow down the next measurement."""
        deadline = time.monotonic() + _SETTLE_S
        share = 1.0
        while share > _IDLE_SHARE and time.monotonic() < deadline:
            before, began = self._cpu_s(), time.monotonic()
            time.sleep(_SETTLE_LOOK_S)
            share = (self._cpu_s() - before) / (time.monotonic() - began)

    def stop(self) -> None:
        """End it."""
        self._process.send_signal(signal.SIGTERM)
        try:
            self._process.wait(15)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait(5)

    def _sum(self, measure: Callable[[psutil.Process], float]) -> float:
        """Measure its process and those below it that run the same program: services do not count."""
        own = psutil.Process(self._process.pid)
        total, exe = measure(own), own.exe()
        for one in own.children(recursive=True):
            with suppress(psutil.NoSuchProcess, OSError):  # it has just ended
                total += measure(one) if one.exe() == exe else 0
        return total

    def _cpu_s(self) -> float:
        return self._sum(lambda one: sum(one.cpu_times()[:2]))

    def _wait_ready(self, probe: str) -> None:
        deadline = time.monotonic() + _READY_S
        while time.monotonic() < deadline:
            if self._process.poll() is not None:
                break
            connection = HTTPConnection("127.0.0.1", self.port, timeout=2)
            try:
                connection.request("GET", probe)
                said = connection.getresponse().read()
                if probe != _READY or json.loads(said)["status"] == "ready":
                    return
            except (OSError, HTTPException):
                pass
            finally:
                connection.close()
            time.sleep(0.005)
        raise RuntimeError(f"a program did not get ready: {self._log.read_text(errors='replace')[-2000:]}")


def start_tutumd(stack: ExitStack, folder: Path, database: str, *options: str, how: str = "serve") -> Program:
    """Start `tutumd serve` or one of its halves; the stack ends it."""
    port = free_port()
    command = [sys.executable, "-c", _TUTUMD, how, "--host", "127.0.0.1", "--port", str(port)]
    command += ["--data-dir", str(folder / "data"), "--database", database, *options]
    # Without a worker, `/readyz` is never "ready".
    return _entered(stack, Program(command, folder, _READY if how == "serve" else "/healthz", port))


def start_rival(stack: ExitStack, folder: Path) -> Program:
    """Start `webhook` with one hook that runs /bin/true. It responds before the command has run."""
    hooks = folder / "hooks.json"
    hooks.write_text(json.dumps([{"id": "true", "execute-command": "/bin/true", "http-methods": ["POST"]}]))
    port = free_port()
    command = ["webhook", "-hooks", str(hooks), "-ip", "127.0.0.1", "-port", str(port)]
    return _entered(stack, Program(command, folder, "/", port))


def _pss_kb(process: psutil.Process) -> int:
    rollup = Path(f"/proc/{process.pid}/smaps_rollup").read_text()
    return next(int(line.split()[1]) for line in rollup.splitlines() if line.startswith("Pss:"))


def _entered(stack: ExitStack, program: Program) -> Program:
    stack.callback(program.stop)
    return program


def request(connection: HTTPConnection, method: str, path: str, body: object = None) -> bytes:
    """Send an API request with credentials, and return the body of the response."""
    headers = {"Authorization": f"ApiKey {USER}:{KEY}", "Content-Type": "application/json"}
    connection.request(method, path, None if body is None else json.dumps(body), headers)
    answer = connection.getresponse()
    content = answer.read()
    assert answer.status < 300, f"{method} was answered {answer.status}: {content[:200]!r}"
    return content


def ask(connection: HTTPConnection, method: str, path: str, body: object = None) -> Any:
    """Send an API request with credentials, and return the JSON of the response."""
    return json.loads(request(connection, method, path, body))
