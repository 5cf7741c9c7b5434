"""Processes under test, which can be started, killed, paused and resumed."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import psutil

from tests.support import nginx_bed
from tests.support.processes import kill_with_children, runs
from tests.support.server import APIKEY, USER

ROOT = Path(__file__).resolve().parents[2]
TUTUMD = (sys.executable, "-c", "from tutumd.main import main; main()")
"""The command `tutumd`, of this interpreter's environment."""

GRACE_S = 1.0
"""How long a worker that is to end may go on: less than most runs take, so that they are handed over."""

_END_S = 120.0


class Program:
    """One program that can be started again after it ended."""

    def __init__(
        self, name: str, command: Sequence[str], folder: Path, environment: Mapping[str, str], port: int = 0
    ) -> None:
        self.name = name
        self.port = port
        self._command = list(command)
        self._log = folder / f"{name}.log"
        self._folder = folder
        self._environment = dict(environment)
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        assert self._process is not None, f"{self.name} does not run"
        return self._process.pid

    @property
    def worker_pid(self) -> int:
        """The process that performs actions: the child of `tutumd serve`, or the program itself."""
        return next((child.pid for child in psutil.Process(self.pid).children() if runs(child)), self.pid)

    @property
    def runs(self) -> bool:
        return self._process is not None

    def start(self) -> None:
        assert self._process is None, f"{self.name} runs already"
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                self._command,
                env=self._environment,
                cwd=self._folder,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def kill(self) -> None:
        """End it and its children with SIGKILL; when this returns it is gone."""
        kill_with_children(self.pid)
        self._end(signal.SIGKILL)

    def kill_parent(self) -> None:
        """End it with SIGKILL, but not its children."""
        self._end(signal.SIGKILL)

    def stop(self) -> int:
        """End it as a service manager does; return its exit code."""
        return self._end(signal.SIGTERM)

    def pause(self) -> None:
        os.kill(self.pid, signal.SIGSTOP)

    def resume(self) -> None:
        os.kill(self.pid, signal.SIGCONT)

    def ended_by_itself(self) -> str:
        """Say that it ended although nobody asked it to; empty while it runs or after it was ended."""
        if self._process is None or self._process.poll() is None:
            return ""
        return f"{self.name} ended by itself with {self._process.returncode}: {self.tail()}"

    def tail(self) -> str:
        return self._log.read_text(errors="replace")[-2000:]

    def _end(self, how: signal.Signals) -> int:
        assert self._process is not None, f"{self.name} does not run"
        process, self._process = self._process, None
        process.send_signal(how)
        try:
            return process.wait(_END_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            raise


def environment() -> dict[str, str]:
    """Make the environment of the programs: this checkout's code, and the first admin."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("TUTUM")}
    return kept | {"PYTHONPATH": f"{ROOT / 'src'}:{ROOT}", "TUTUMD_ADMIN_USER": USER, "TUTUMD_ADMIN_APIKEY": APIKEY}


def web(name: str, folder: Path, database: str, data: Path, port: int) -> Program:
    """`tutumd web`, by its command line."""
    options = ["--host", "127.0.0.1", "--port", str(port), "--database", database, "--data-dir", str(data)]
    return Program(name, [*TUTUMD, "web", *options], folder, environment(), port)


def with_engine(half: str, name: str, folder: Path, database: str, data: Path, port: int = 0) -> Program:
    """`tutumd worker` or `tutumd serve` with the shared engine."""
    options = {"database": database, "data_dir": str(data), "max_containers": 10_000, "port": port, "grace": GRACE_S}
    command = [sys.executable, "-m", "tests.faults.launch", half, str(folder / "engine.sock"), json.dumps(options)]
    return Program(name, command, folder, environment(), port)


def engine(folder: Path, journal: Path, seed: int) -> Program:
    """The shared engine's process."""
    command = [sys.executable, "-m", "tests.faults.engine_process", str(folder / "engine.sock"), str(journal)]
    return Program("engine", [*command, str(seed)], folder, environment())


def proxy(folder: Path, port: int, webs: Sequence[int]) -> Program | None:
    """nginx in front of two web replicas; None where it is not installed."""
    if nginx_bed.find_nginx() is None:
        return None
    return Program("nginx", nginx_bed.command(folder, port, webs), folder, environment(), port)
