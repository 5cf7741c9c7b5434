"""What no test may do: reach beyond loopback, or leave processes and threads behind; and what a skip means in CI."""

import contextlib
import ipaddress
import os
import signal
import sys
import threading
from pathlib import Path
from types import FrameType
from typing import NoReturn

import psutil
import pytest

IN_CI = os.environ.get("CI", "").lower() in ("1", "true")


def lacking(reason: str) -> NoReturn:
    """Skip the test aloud because the machine lacks something; in CI, fail it."""
    if IN_CI:
        pytest.fail(reason, pytrace=False)
    pytest.skip(reason)


def forbid_network_beyond_loopback() -> None:
    """Make every connection of this process to another machine an error, for the rest of its life."""

    def audit(event: str, arguments: tuple[object, ...]) -> None:
        if event in ("socket.connect", "socket.sendto"):
            address = arguments[1]
            if isinstance(address, tuple) and not _is_loopback(str(address[0])):
                raise PermissionError(f"a test wanted to reach {address}, which is beyond loopback")

    sys.addaudithook(audit)


def end_on_sigterm() -> None:
    """Let SIGTERM end the run as Ctrl-C does: fixtures are finished, so nothing of the test bed stays behind."""

    def interrupt(number: int, frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    signal.signal(signal.SIGTERM, interrupt)


def leaks(folder: Path) -> list[str]:
    """End what the tests left running, and return it in words.

    Args:
        folder: The run's folder for temporary files. A process that writes to it, or has its working directory there,
            was made by a test, also when it is no child any more (the `local` engine's services outlive the server).
    """
    left = []
    children = {child.pid for child in psutil.Process().children(recursive=True)}
    for process in psutil.process_iter():
        if process.pid != os.getpid() and (process.pid in children or _works_in(process, folder)):
            with contextlib.suppress(psutil.NoSuchProcess):
                left.append(f"process {process.pid}: {' '.join(process.cmdline())}")
                process.kill()
    # A daemon thread may sleep on; any other one would hold up the exit of the interpreter.
    threads = [thread for thread in threading.enumerate() if thread is not threading.main_thread()]
    return left + [f"thread {thread.name}" for thread in threads if not thread.daemon]


def _works_in(process: psutil.Process, folder: Path) -> bool:
    base = Path("/proc", str(process.pid))
    for link in ("cwd", "fd/1", "fd/2"):
        with contextlib.suppress(OSError):
            if (base / link).readlink().is_relative_to(folder):
                return True
    return False


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host.partition("%")[0]).is_loopback
    except ValueError:
        return host in ("localhost", "")
