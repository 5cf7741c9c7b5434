"""Questions about processes that end in between."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import psutil
import pytest

from tests.support import processes
from tests.support.waiting import wait_until

# Starts short-lived processes all the time; the kernel waits for them.
CROWD = """
import os, signal, time
signal.signal(signal.SIGCHLD, signal.SIG_IGN)
while True:
    for lives_s in (0.004, 0.003, 0.002, 0.001, 0.0):
        if os.fork() == 0:
            time.sleep(lives_s)
            os._exit(0)
    time.sleep(0.001)
"""


@contextmanager
def crowd() -> Iterator[int]:
    """Yield the PID of a process whose children come and go."""
    with subprocess.Popen([sys.executable, "-c", CROWD], start_new_session=True) as process:
        try:
            wait_until(lambda: processes.below(process.pid), "there are children", pause_s=0.001)
            yield process.pid
            assert process.poll() is None
        finally:
            os.killpg(process.pid, signal.SIGKILL)


def is_still(process: psutil.Process) -> bool:
    with suppress(psutil.NoSuchProcess):
        return process.status() in (psutil.STATUS_STOPPED, psutil.STATUS_ZOMBIE)
    return True


@pytest.mark.slow
def test_a_tree_is_stopped_as_a_whole_and_goes_on() -> None:
    with crowd() as pid:
        for _ in range(20):
            processes.send_to_tree(pid, signal.SIGSTOP)
            wait_until(lambda: all(map(is_still, (psutil.Process(pid), *processes.below(pid)))), "all are stopped")
            processes.send_to_tree(pid, signal.SIGCONT)


@pytest.mark.slow
def test_processes_that_ended_are_no_error() -> None:
    with crowd() as pid:
        for _ in range(20):
            for child in processes.below(pid):
                for question in (processes.runs, processes.is_zombie, processes.command):
                    question(child)


def test_a_process_that_nobody_waited_for_does_not_run() -> None:
    with subprocess.Popen([sys.executable, "-c", ""]) as child:
        process = psutil.Process(child.pid)
        wait_until(lambda: processes.is_zombie(process), "it is a zombie")
        assert processes.zombies() == [child.pid]
        assert not processes.runs(process)
    assert not processes.runs(process)
    assert not processes.is_zombie(process)
    assert processes.command(process) == []
    with pytest.raises(psutil.NoSuchProcess):
        process.status()
