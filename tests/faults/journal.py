"""Journal of the shared engine, and pure functions over its entries."""

import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from pathlib import Path

ASKED, DONE = "asked", "done"
BEGIN, END = "begin", "end"
CREATE, START, REMOVE = "create", "start", "remove"
SETUP = "setup"
"""The run that made the containers that were there before any action."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One line of the engine's journal.

    Attributes:
        at: Monotonic time, the same for all processes of the machine.
        kind: `begin` and `end` of a run as its worker tells them; `asked` and `done` of a call that changes something.
        run: One performance of an action by one worker; a takeover is a new one.
        worker: Process ID.
        call: `create`, `start` or `remove` of the container `name`; the verb for `begin`.
    """

    at: float
    kind: str
    run: str
    worker: int
    action: str
    service: str
    call: str
    name: str = ""

    def line(self) -> str:
        return json.dumps(asdict(self)) + "\n"


class Reader:
    """Reads a journal that grows, each line once."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._read = 0
        self.entries: list[Entry] = []
        """Entries that were read since `forget`."""
        self.containers = Containers()
        """The containers as everything that was read so far left them."""

    def read(self) -> list[Entry]:
        """Read new entries; return all since `forget`."""
        with self.path.open("rb") as file:
            file.seek(self._read)
            content = file.read()
        whole = content[: content.rfind(b"\n") + 1]
        self._read += len(whole)
        for line in whole.splitlines():
            entry = Entry(**json.loads(line))
            self.entries.append(entry)
            if entry.kind == DONE:
                self.containers.apply(entry)
        return self.entries

    def forget(self) -> None:
        """Read new entries, and begin a new list."""
        self.read()
        self.entries = []


def read_entries(path: Path) -> list[Entry]:
    """Read a journal; a last line that was cut off by a kill did not happen."""
    text = path.read_text() if path.exists() else ""
    whole, _, _ = text.rpartition("\n")
    return [Entry(**json.loads(line)) for line in whole.splitlines()]


@dataclass(slots=True, kw_only=True)
class Containers:
    """The containers of all services, as the calls that were done left them: name of the container → it runs."""

    services: dict[str, dict[str, bool]] = field(default_factory=dict)

    def apply(self, entry: Entry) -> None:
        """Carry out a call. Each is idempotent, and none restores what a later run removed.

        A late `create` leaves a container that never runs; a late `start` finds it running or gone; so does `remove`.
        """
        containers = self.services.setdefault(entry.service, {})
        match entry.call:
            case "create":
                containers.setdefault(entry.name, False)
            case "start" if entry.name in containers:
                containers[entry.name] = True
            case "remove":
                containers.pop(entry.name, None)

    def copy(self) -> "Containers":
        return Containers(services={name: dict(containers) for name, containers in self.services.items()})

    def running(self, service: str) -> int:
        return sum(self.services.get(service, {}).values())


def replay(entries: Iterable[Entry]) -> Containers:
    """Return the containers that exist after these entries."""
    containers = Containers()
    for entry in entries:
        if entry.kind == DONE:
            containers.apply(entry)
    return containers


def open_runs(entries: Iterable[Entry], worker: int | None = None) -> list[Entry]:
    """List the beginnings of runs, of one worker or of all, that have not ended."""
    begun: dict[str, Entry] = {}
    for entry in entries:
        if entry.kind == BEGIN and worker in (None, entry.worker):
            begun[entry.run] = entry
        elif entry.kind == END:
            begun.pop(entry.run, None)
    return list(begun.values())
