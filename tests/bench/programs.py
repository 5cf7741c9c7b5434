"""Measured programs, each a process on a free port of loopback."""

import json
import os
import signal
import subprocess
import sys
import time
from contextlib import ExitStack
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


class Program:
    """One running program. `ready_s` is the time from its start to its first response."""

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
        """Resident memory."""
        return float(psutil.Process(self._process.pid).memory_info().rss / 2**20)

    def settle(self) -> None:
        """Wait until the program is idle, up to a limit: a backlog would slow down the next measurement."""
        process = psutil.Process(self._process.pid)
        deadline = time.monotonic() + _SETTLE_S
        while process.cpu_percent(0.2) > 100 * _IDLE_SHARE and time.monotonic() < deadline:
            pass

    def stop(self) -> None:
        """End it."""
        self._process.send_signal(signal.SIGTERM)
        try:
            self._process.wait(15)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait(5)

    def _wait_ready(self, probe: str) -> None:
        deadline = time.monotonic() + _READY_S
        while time.monotonic() < deadline:
            if self._process.poll() is not None:
                break
            connection = HTTPConnection("127.0.0.1", self.port, timeout=2)
            try:
                connection.request("GET", probe)
                connection.getresponse().read()
                return
            except (OSError, HTTPException):
                time.sleep(0.005)
            finally:
                connection.close()
        raise RuntimeError(f"a program did not get ready: {self._log.read_text(errors='replace')[-2000:]}")


def start_tutumd(stack: ExitStack, folder: Path, database: str, *options: str, how: str = "serve") -> Program:
    """Start `tutumd serve` or one of its halves; the stack ends it."""
    port = free_port()
    command = [sys.executable, "-c", _TUTUMD, how, "--host", "127.0.0.1", "--port", str(port)]
    command += ["--data-dir", str(folder / "data"), "--database", database, *options]
    return _entered(stack, Program(command, folder, "/healthz", port))


def start_bare(stack: ExitStack, folder: Path) -> Program:
    """Start the minimal responder."""
    port = free_port()
    return _entered(stack, Program([sys.executable, "-m", "tests.bench.bare", str(port)], folder, "/", port))


def start_rival(stack: ExitStack, folder: Path) -> Program:
    """Start `webhook` with one hook that runs /bin/true. It responds before the command has run."""
    hooks = folder / "hooks.json"
    hooks.write_text(json.dumps([{"id": "true", "execute-command": "/bin/true", "http-methods": ["POST"]}]))
    port = free_port()
    command = ["webhook", "-hooks", str(hooks), "-ip", "127.0.0.1", "-port", str(port)]
    return _entered(stack, Program(command, folder, "/", port))


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
