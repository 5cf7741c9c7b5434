"""Other processes that write to a database, as the test tells them."""

import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.support.programs import running

_PROGRAM = Path(__file__).with_name("writer_program.py")


class Writer:
    """A process that runs `writer_program.py`."""

    def __init__(self, process: "subprocess.Popen[bytes]") -> None:
        self._process = process

    def tell(self, command: str) -> None:
        """Give a command, which may take a while."""
        assert self._process.stdin is not None
        self._process.stdin.write(f"{command}\n".encode())
        self._process.stdin.flush()

    def answer(self) -> str:
        """Return the answer to a command. Without one, the process has ended: then it is empty."""
        assert self._process.stdout is not None
        return self._process.stdout.readline().decode().strip()

    def ask(self, command: str) -> str:
        """Give a command and return its answer."""
        self.tell(command)
        return self.answer()

    def stop(self) -> None:
        """Stop the process until `go_on`."""
        self._process.send_signal(signal.SIGSTOP)

    def go_on(self) -> None:
        """Let a stopped process go on."""
        self._process.send_signal(signal.SIGCONT)

    def kill(self) -> None:
        """Kill the process."""
        self._process.kill()
        self._process.wait(60)


@contextmanager
def writer(url: str) -> Iterator[Writer]:
    """Run a process that writes to a database."""
    command = [sys.executable, str(_PROGRAM), url]
    with running(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        started = Writer(process)
        try:
            yield started
        finally:
            started.go_on()
