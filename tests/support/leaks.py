"""Processes and threads that a test or a fixture left behind: found, ended, and blamed on the one that left them.

A process inherits the environment of the process that started it, so the variable `OWNER` names the test, or the
fixture of a wider scope, that a process belongs to, even if it is no child of pytest any more. Services of the `local`
engine get a clean environment; they are found by the folder that they work in.
"""

import asyncio
import contextlib
import gc
import os
import subprocess
import sys
import threading
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil

from tests.support.processes import runs

OWNER = "TEST_OWNER"
_STARTS_OF_PROCESSES = frozenset({"subprocess.Popen", "os.fork", "os.posix_spawn"})
END_S = 20.0
"""How long what is about to end may take, in a process of pytest."""


class LeakCheck:
    """The check for leftovers of one pytest process."""

    def __init__(self, end_s: float = END_S) -> None:
        self._end_s = end_s
        self._known_threads = set(threading.enumerate())
        self._has_spawned = False
        sys.addaudithook(self._audit)

    def _audit(self, event: str, _arguments: tuple[object, ...]) -> None:
        if event in _STARTS_OF_PROCESSES:
            self._has_spawned = True

    @contextmanager
    def test(self, name: str) -> Iterator[None]:
        """Make a test the owner of the processes that start while the block runs."""
        self._has_spawned = False
        self._known_threads.update(threading.enumerate())
        with _owned_by(name):
            yield

    @contextmanager
    def fixture(self, name: str) -> Iterator[None]:
        """Make a fixture of a wider scope the owner of the processes and threads that start while the block runs."""
        before = set(threading.enumerate())
        with _owned_by(name):
            yield
        self._known_threads.update(set(threading.enumerate()) - before)

    def end_leftovers_of_test(self, name: str, folder: Path | None) -> list[str]:
        """End what a test left running, and return a line for each process and thread.

        Args:
            folder: The test's folder for temporary files, if it has one.
        """
        # Looking at every process takes longer than most tests, and most tests start none.
        processes = end_processes(name, folder, self._end_s) if self._has_spawned else []
        threads = [thread for thread in threading.enumerate() if self._is_left(thread)]
        self._known_threads.update(threads)
        return processes + [f"thread {thread.name}" for thread in threads]

    def _is_left(self, thread: threading.Thread) -> bool:
        # A daemon thread does not delay the exit of the interpreter.
        if thread in self._known_threads or thread.daemon:
            return False
        # A worker thread of AnyIO ends with its event loop, whose own thread is judged.
        loop = getattr(thread, "loop", None)
        if isinstance(loop, asyncio.AbstractEventLoop) and loop.is_running():
            return False
        thread.join(self._end_s)
        return thread.is_alive()


def current_owner() -> dict[str, str]:
    """Return the variable that names the owner of what starts now; none outside of a test run.

    A test bed that lives longer than a test passes it on to the processes that it starts during a test.
    """
    return {OWNER: os.environ[OWNER]} if OWNER in os.environ else {}


def end_processes(owner: str | None = None, folder: Path | None = None, end_s: float = 0.0) -> list[str]:
    """End the processes of an owner, and those that work in a folder; return a line for each.

    Args:
        end_s: How long one may take to end by itself. One that was killed lives for a moment.
    """
    mark = _full(owner) if owner else None
    deadline = time.monotonic() + end_s
    while found := [each for each in psutil.process_iter() if each.pid != os.getpid() and _belongs(each, mark, folder)]:
        if time.monotonic() >= deadline:
            break
        time.sleep(0.05)
    left = []
    for process in found:
        with contextlib.suppress(psutil.NoSuchProcess):
            left.append(f"process {process.pid}: {' '.join(process.cmdline())}")
            process.kill()
    psutil.wait_procs(found, timeout=60)
    _wait_for_children({process.pid for process in found})
    return left


def forget_failure() -> None:
    """Collect what the traceback of a failed test kept alive, so that no later test is blamed for it."""
    for name in ("last_exc", "last_type", "last_value", "last_traceback"):
        if hasattr(sys, name):
            delattr(sys, name)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        gc.collect()


@contextmanager
def _owned_by(name: str) -> Iterator[None]:
    before = os.environ.get(OWNER)
    os.environ[OWNER] = _full(name)
    try:
        yield
    finally:
        if before is None:
            del os.environ[OWNER]
        else:
            os.environ[OWNER] = before


def _full(name: str) -> str:
    # Several pytest processes have fixtures of the same name.
    return f"{os.getpid()} {name}"


def _belongs(process: psutil.Process, mark: str | None, folder: Path | None) -> bool:
    with contextlib.suppress(psutil.Error):
        if mark and process.environ().get(OWNER) == mark:
            return runs(process)
    for link in ("cwd", "fd/1", "fd/2") if folder else ():
        with contextlib.suppress(OSError):
            if Path("/proc", str(process.pid), link).readlink().is_relative_to(str(folder)):
                return runs(process)
    return False


def _wait_for_children(pids: set[int]) -> None:
    """Wait for the `Popen` objects of ended processes: an object that is collected before that raises a warning."""
    if pids:
        for each in gc.get_objects():
            if issubclass(type(each), subprocess.Popen) and each.pid in pids:
                each.wait(60)
