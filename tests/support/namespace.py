"""Programs in a network namespace of the tests."""

import ctypes
import os
import subprocess
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

from tests.support.leaks import current_owner
from tests.support.leftovers import NAMESPACES
from tests.support.programs import check, start

T = TypeVar("T")
_CLONE_NEWNET = 0x40000000  # linux/sched.h
_owners: dict[str, dict[str, str]] = {}
"""Who made each namespace: the owner of all that runs in it."""
_joined = threading.local()


def make(name: str) -> None:
    """Make the namespace, with only loopback in it."""
    _owners[name] = current_owner()
    check(["ip", "netns", "add", name])
    check(["ip", "-n", name, "link", "set", "lo", "up"])


def run_in(name: str, command: Sequence[str], timeout_s: float = 120) -> str:
    """Run a program in the namespace and return its stdout. Raises RuntimeError when it fails."""
    return check([*enter(name), *command], timeout_s=timeout_s)


def call_in(name: str, function: Callable[[], T]) -> T:
    """Call a function in a thread of its own that is in the namespace, and return its result."""
    with ThreadPoolExecutor(1, initializer=_join, initargs=(name,)) as thread:
        return thread.submit(function).result()


def is_inside() -> bool:
    """Tell whether this thread is in a namespace, from which no other machine can be reached."""
    return hasattr(_joined, "name")


def _join(name: str) -> None:
    """Move this thread into the namespace: setns(2)."""
    libc = ctypes.CDLL(None, use_errno=True)
    namespace = os.open(NAMESPACES / name, os.O_RDONLY | os.O_CLOEXEC)
    try:
        if libc.setns(namespace, _CLONE_NEWNET):
            raise OSError(ctypes.get_errno(), f"no thread can join the namespace {name}")
        _joined.name = name
    finally:
        os.close(namespace)


def spawn_in(name: str, command: Sequence[str], log: Path) -> "subprocess.Popen[bytes]":
    """Start a program in the namespace, with its output appended to `log`."""
    return start([*enter(name), *command], log, env=os.environ | _owners[name])


def enter(name: str) -> list[str]:
    """Return the begin of a command that runs in the namespace."""
    # Not `ip netns exec`: it mounts another /sys, without the control groups that an engine needs.
    return ["nsenter", f"--net={NAMESPACES / name}"]
