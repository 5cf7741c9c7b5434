"""What the kernel tells about processes: the few facts of /proc that the local engine stands on."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

PROC = Path("/proc")
DEAD_STATES = frozenset("ZXx")


@dataclass(frozen=True, slots=True, kw_only=True)
class Stat:
    """One process. `start_ticks` counts clock ticks since the machine started."""

    pid: int
    state: str
    parent: int
    session: int
    start_ticks: int

    @property
    def is_alive(self) -> bool:
        """False for a zombie: it runs nothing any more, only its parent has not asked for it yet."""
        return self.state not in DEAD_STATES


@dataclass(frozen=True, slots=True, kw_only=True)
class Identity:
    """Which process is meant, for good: a PID alone is given to another process sooner or later."""

    pid: int
    start_ticks: int
    boot_id: str


def parse_stat(text: str) -> Stat:
    """Read a line of /proc/PID/stat. Source: proc_pid_stat(5), fields 1 to 4, 6 and 22."""
    head, _, tail = text.rpartition(")")  # the name of the program stands in parentheses and may contain some
    fields = tail.split()
    return Stat(
        pid=int(head.split("(", 1)[0]),
        state=fields[0],
        parent=int(fields[1]),
        session=int(fields[3]),
        start_ticks=int(fields[19]),
    )


def read_stat(pid: int) -> Stat | None:
    """Look at one process; None where there is none."""
    try:
        return parse_stat((PROC / str(pid) / "stat").read_text(errors="replace"))
    except (FileNotFoundError, ProcessLookupError):
        return None


def read_environment(pid: int) -> frozenset[bytes]:
    """List the `NAME=value` entries that a process was started with; none where they may not be read."""
    try:
        content = (PROC / str(pid) / "environ").read_bytes()
    except (FileNotFoundError, ProcessLookupError, PermissionError):
        return frozenset()
    return frozenset(content.split(b"\0"))


def live_processes() -> Iterator[Stat]:
    """Look at every process that is alive."""
    for entry in PROC.iterdir():
        if entry.name.isdigit() and (stat := read_stat(int(entry.name))) is not None and stat.is_alive:
            yield stat


def read_boot_id() -> str:
    """Read what changes whenever the machine starts. Source: random(4), /proc/sys/kernel/random/boot_id."""
    return (PROC / "sys/kernel/random/boot_id").read_text().strip()
