"""Processes that can end at any moment, also between two questions about the same one."""

import os
import signal
from collections.abc import Iterable
from contextlib import suppress

import psutil

from tests.support.waiting import wait_until


def runs(process: psutil.Process) -> bool:
    """Return whether a process runs or is stopped; one that ended and was not waited for does not."""
    with suppress(psutil.NoSuchProcess):
        return process.status() not in (psutil.STATUS_ZOMBIE, psutil.STATUS_DEAD)
    return False


def is_zombie(process: psutil.Process) -> bool:
    """Return whether a process has ended and was not waited for."""
    with suppress(psutil.NoSuchProcess):
        return process.status() == psutil.STATUS_ZOMBIE
    return False


def command(process: psutil.Process) -> list[str]:
    """Return the words of its command line, none if it has ended."""
    with suppress(psutil.NoSuchProcess):
        return process.cmdline()
    return []


def below(pid: int) -> list[psutil.Process]:
    """Return the processes below this one, zombies too."""
    return psutil.Process(pid).children(recursive=True)


def send_to_tree(pid: int, number: signal.Signals) -> None:
    """Send a signal to a process and to those below it.

    The first one comes first: after SIGSTOP it starts no others that would escape the signal.
    """
    first = psutil.Process(pid)
    first.send_signal(number)
    if number == signal.SIGSTOP:
        wait_until(lambda: first.status() == psutil.STATUS_STOPPED, "it has stopped", pause_s=0.001)
    send(below(pid), number)


def send(processes: Iterable[psutil.Process], number: signal.Signals) -> None:
    """Send a signal to those that are still there."""
    for process in processes:
        with suppress(psutil.NoSuchProcess):
            process.send_signal(number)


def kill_with_children(pid: int) -> None:
    """Kill a process with SIGKILL, and its children, but not what they have started."""
    parent = psutil.Process(pid)
    send([parent, *parent.children()], signal.SIGKILL)


def zombies() -> list[int]:
    """Return the children of this process that ended and were not waited for."""
    return [child.pid for child in psutil.Process(os.getpid()).children() if is_zombie(child)]
