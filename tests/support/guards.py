"""What no test may do: reach beyond loopback, or leave processes and threads behind; and what a skip means in CI."""

import ipaddress
import os
import sys
import threading
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


def leaks() -> list[str]:
    """Return the child processes and threads that are still there, in words."""
    children = psutil.Process().children(recursive=True)
    left = [f"process {child.pid}: {child.name()}" for child in children]
    # AnyIO and httptools threads are daemons; a thread that would hold up the exit of the interpreter is a leak.
    threads = [thread for thread in threading.enumerate() if thread is not threading.main_thread()]
    return left + [f"thread {thread.name}" for thread in threads if not thread.daemon]


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host.partition("%")[0]).is_loopback
    except ValueError:
        return host in ("localhost", "")
