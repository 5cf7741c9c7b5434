"""The fields of /proc that the local engine reads."""

import os
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

_EXEC_TRIES = 1_000
_PAGE = 65_536


@dataclass(frozen=True, slots=True, kw_only=True)
class Stat:
    """One process. `start_ticks` counts clock ticks from the start of the machine."""

    pid: int
    state: str
    parent: int
    session: int
    start_ticks: int

    @property
    def is_alive(self) -> bool:
        """Whether it still runs. A zombie does not run: its parent has not waited for it yet."""
        return self.state not in "ZXx"


class Identity(NamedTuple):
    """One process, distinguished from later processes with the same PID. It is a list in JSON."""

    pid: int
    start_ticks: int
    boot_id: str


def parse_stat(text: str) -> Stat:
    """Parse the content of /proc/PID/stat. Source: proc_pid_stat(5), fields 1 to 4, 6 and 22."""
    head, _, tail = text.rpartition(")")  # the program's name is in parentheses and may itself contain parentheses
    fields = tail.split()
    return Stat(
        pid=int(head.split("(", 1)[0]),
        state=fields[0],
        parent=int(fields[1]),
        session=int(fields[3]),
        start_ticks=int(fields[19]),
    )


def read_stat(pid: int) -> Stat | None:
    """Return the process that has this PID now, or None."""
    try:
        return parse_stat(_read(f"/proc/{pid}/stat").decode(errors="replace"))
    except (FileNotFoundError, ProcessLookupError):
        return None


def read_environment(pid: int) -> frozenset[bytes]:
    """Return the `NAME=value` entries with which a process was started; none if they cannot be read."""
    seen = 0
    try:
        for _ in range(_EXEC_TRIES):
            if content := _read(f"/proc/{pid}/environ"):
                return frozenset(content.split(b"\0"))
            Path(f"/proc/{pid}/exe").readlink()  # a zombie or a kernel thread has none
            # proc_pid_stat(5), fields 50 and 51. While a process replaces its program, both are 0, and then equal for a
            # moment. An environment is empty if they are equal twice, at one address.
            begin, end = map(int, _read(f"/proc/{pid}/stat").rpartition(b")")[2].split()[47:49])
            if begin == end == seen != 0:
                break
            seen = end
            time.sleep(0.001)
    except (FileNotFoundError, ProcessLookupError, PermissionError):
        pass
    return frozenset()


def live_processes() -> Iterator[Stat]:
    """Return every process of this machine that is alive."""
    for name in os.listdir("/proc"):  # noqa: PTH208 (see _read)
        if name.isdigit() and (stat := read_stat(int(name))) is not None and stat.is_alive:
            yield stat


def _read(path: str) -> bytes:
    # All processes are read repeatedly while containers end, and pathlib takes a third of that time.
    file = os.open(path, os.O_RDONLY)
    try:
        content = part = os.read(file, _PAGE)
        while len(part) == _PAGE:
            content += (part := os.read(file, _PAGE))
        return content
    finally:
        os.close(file)


def read_boot_id() -> str:
    """Return an ID that changes with every start of the machine. Source: random(4)."""
    return _read("/proc/sys/kernel/random/boot_id").decode().strip()
