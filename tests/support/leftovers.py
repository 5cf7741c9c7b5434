"""Leftovers of test beds on the machine, found by the name of the bed.

The folder, the network namespace and the control groups of a bed carry its name: `tutumd-test-PID`, with a suffix if a
run has several beds. Only processes found through one of those three are ever signalled. The program
`python -m tests.support.leftovers` removes what dead runs left, lists it, and exits with 1 if there was anything.
"""

import contextlib
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import psutil

from tests.support.processes import command, runs, send
from tests.support.waiting import wait_until

PREFIX = "tutumd-test-"
NAMESPACES = Path("/run/netns")
CGROUPS = Path("/sys/fs/cgroup")
CLOCK_STEP_S = 2.0
"""Start times of one process differ by this much at most if the clock of the machine is set meanwhile."""
_OWNER = re.compile(re.escape(PREFIX) + r"[0-9]+(-[a-z0-9]+)?")


def folder_of(name: str) -> Path:
    """Return the folder of the bed `name`: short, since socket paths have a limit of 108 bytes."""
    return Path(tempfile.gettempdir()) / name


def remove_dead_beds() -> list[str]:
    """Remove what beds of dead runs left, and return a line for each bed."""
    lines = []
    for name in sorted(_bed_names()):
        if not _owner_lives(name):
            pids = remove(name)
            lines.append(f"{name}: removed what a dead run left, with {len(pids)} processes")
    return lines


def remove(name: str) -> list[int]:
    """End every process of the bed and remove its mounts, folder, control groups and network namespace.

    Returns:
        The processes that were still alive.
    """
    found = _processes(name)
    send(found, signal.SIGKILL)
    wait_until(lambda: not _processes(name), f"the processes of {name} end")
    for mount in reversed(mounts(name)):
        subprocess.run(["umount", "--lazy", mount], check=False, capture_output=True)
    shutil.rmtree(folder_of(name), ignore_errors=True)
    for cgroup in _cgroups(name):
        for folder, _, _ in os.walk(cgroup, topdown=False):
            with contextlib.suppress(OSError):
                os.rmdir(folder)
    if (NAMESPACES / name).exists():
        subprocess.run(["ip", "netns", "delete", name], check=False, capture_output=True)
    return [process.pid for process in found]


def processes(name: str, program: str = "") -> list[int]:
    """Return the live processes that belong to the bed; with `program`, those of that name only."""
    return [each.pid for each in _processes(name) if not program or Path((command(each) or [""])[0]).name == program]


def mounts(name: str) -> list[str]:
    """Return the mount points inside the bed's folder, outer ones first."""
    inside = str(folder_of(name)) + "/"
    points = [line.split()[4] for line in Path("/proc/self/mountinfo").read_text().splitlines()]
    return [point for point in points if point.startswith(inside)]


def traces(name: str) -> list[str]:
    """Return a line for everything that is left of the bed."""
    left = [f"process {each.pid}: {' '.join(command(each))}" for each in _processes(name)]
    left += [f"mount {point}" for point in mounts(name)]
    left += [f"control group {path}" for path in _cgroups(name)]
    left += [str(path) for path in (folder_of(name), NAMESPACES / name) if path.exists()]
    return left


def write_owner(name: str) -> None:
    """Write into the bed's folder which process owns it: a PID alone could be reused."""
    (folder_of(name) / "owner").write_text(str(psutil.Process().create_time()))


def _bed_names() -> set[str]:
    names = {path.name for path in Path(tempfile.gettempdir()).glob(PREFIX + "*")}
    names |= {path.name for path in NAMESPACES.glob(PREFIX + "*")} if NAMESPACES.exists() else set()
    return {name for name in names if _OWNER.fullmatch(name)}


def _owner_lives(name: str) -> bool:
    pid = int(name.removeprefix(PREFIX).partition("-")[0])
    try:
        started = psutil.Process(pid).create_time()
        return abs(started - float((folder_of(name) / "owner").read_text())) < CLOCK_STEP_S
    except psutil.NoSuchProcess:
        return False
    except (FileNotFoundError, ValueError):
        return True


def _processes(name: str) -> list[psutil.Process]:
    namespace = _inode(NAMESPACES / name)
    folder = os.fsencode(folder_of(name)) + b"/"
    found = psutil.process_iter()
    return [each for each in found if each.pid != os.getpid() and runs(each) and _is_of(each, name, namespace, folder)]


def _is_of(process: psutil.Process, name: str, namespace: int | None, folder: bytes) -> bool:
    base = Path("/proc", str(process.pid))
    try:
        if namespace is not None and _inode(base / "ns" / "net") == namespace:
            return True
        if f"/{name}/" in base.joinpath("cgroup").read_text() or _is_rooted_in(base, folder):
            return True
        # The shims' own argument list is where an engine's runtime processes name the folder.
        arguments = command(process)
        return "containerd" in arguments[0] and any(os.fsdecode(folder) in each for each in arguments)
    except (OSError, IndexError):
        # It belongs to another user or has ended. Reading the mounts of an ending process is an invalid argument.
        return False


def _is_rooted_in(process: Path, folder: bytes) -> bool:
    """Return whether the root of the process is an overlay of layers in the folder, as in a container."""
    for line in process.joinpath("mountinfo").read_bytes().splitlines():
        # proc(5): the fifth field is the mount point.
        if line.split(b" ")[4] == b"/":
            return folder in line
    return False


def _inode(path: Path) -> int | None:
    try:
        return path.stat().st_ino
    except (FileNotFoundError, ProcessLookupError, PermissionError):
        return None


def _cgroups(name: str) -> Iterator[Path]:
    # Version 2 has one tree, version 1 one per controller.
    return (path for path in [CGROUPS / name, *CGROUPS.glob(f"*/{name}")] if path.exists())


if __name__ == "__main__":
    lines = remove_dead_beds()
    print("\n".join(lines), end="\n" if lines else "")
    sys.exit(1 if lines else 0)
