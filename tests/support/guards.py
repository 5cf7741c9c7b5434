"""Rules for all tests: no network beyond loopback, an orderly end on SIGTERM, and no skipped test in CI."""

import ipaddress
import os
import shutil
import signal
import sys
from types import FrameType
from typing import NoReturn

import pytest

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
            if isinstance(address, tuple) and not _is_loopback(str(address[0])):
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
