"""Rules for all tests: no network beyond loopback, an orderly end on SIGTERM, and no skipped test in CI."""

import ipaddress
import os
import shutil
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import NoReturn

import pytest

from tests.support import namespace
from tests.support.machine import missing_packages

IN_CI = os.environ.get("CI", "").lower() in ("1", "true")


def lacking(reason: str) -> NoReturn:
    """Skip the test and say what the machine lacks; in CI, fail it."""
    if IN_CI:
        pytest.fail(reason, pytrace=False)
    pytest.skip(reason)


def require_part(part: str) -> None:
    """Skip the test, or fail it in CI, if the machine lacks a part; `machine.PARTS` has the names.

    The engines need root for their network namespaces.
    """
    if packages := missing_packages(part):
        lacking(f"this test needs: apt-get install --no-install-recommends {' '.join(packages)}")
    if part in ("docker", "podman", "image") and os.geteuid() != 0:
        lacking("this test needs root for a network namespace: sudo script/test")


def require_programs(*programs: str) -> None:
    """Skip the test, or fail it in CI, if one of the programs is missing."""
    for program in programs:
        if shutil.which(program) is None:
            lacking(f"this test needs: apt-get install {program}")


def forbid_network_beyond_loopback() -> None:
    """Make every connection of this process to another machine an error, until the process ends."""

    def audit(event: str, arguments: tuple[object, ...]) -> None:
        if event in ("socket.connect", "socket.sendto"):
            address = arguments[1]
            if isinstance(address, tuple) and not _is_loopback(str(address[0])) and not namespace.is_inside():
                raise PermissionError(f"tests may only reach loopback, not {address}")

    sys.addaudithook(audit)


def end_on_sigterm() -> None:
    """Handle SIGTERM as Ctrl-C, so that fixtures are torn down and nothing of the test beds stays behind."""

    def interrupt(number: int, frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    signal.signal(signal.SIGTERM, interrupt)


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host.partition("%")[0]).is_loopback
    except ValueError:
        return host in ("localhost", "")


class UnitGuard:
    """Refuses connections, processes, databases, and files to be written outside of one folder."""

    _REFUSED = frozenset(
        {"socket.bind", "socket.connect", "socket.sendto", "sqlite3.connect", "subprocess.Popen", "os.fork"}
    )

    def __init__(self) -> None:
        self._folder: str | None = None
        self._refused: list[str] = []
        sys.addaudithook(self._audit)

    @contextmanager
    def watch(self, folder: Path) -> Iterator[None]:
        """Fail at the end of the block if it tried any of these, even if it survived the refusal."""
        self._folder, self._refused = str(folder), []
        try:
            yield
        finally:
            self._folder = None
        if self._refused:
            pytest.fail(f"a unit test has no input or output: move it, or use a fake: {self._refused}", pytrace=False)

    def _audit(self, event: str, arguments: tuple[object, ...]) -> None:
        if self._folder is None or (event not in self._REFUSED and not self._is_write(event, arguments)):
            return
        self._refused.append(f"{event} {arguments[:2]}")
        raise PermissionError(self._refused[-1])

    def _is_write(self, event: str, arguments: tuple[object, ...]) -> bool:
        if event != "open" or isinstance(arguments[0], int):  # a descriptor of a file that was opened before
            return False
        flags, path = arguments[2], str(arguments[0])
        is_write = isinstance(flags, int) and bool(flags & (os.O_WRONLY | os.O_RDWR))
        return is_write and not path.startswith((str(self._folder), os.devnull)) and "__pycache__" not in path
