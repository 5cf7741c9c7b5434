"""Data folder of the local engine, with one folder per service.

    UUID/service.json         the record, replaced as a whole, on disk when `save` returns
    UUID/output/SLOT.log      output of one container, with one older part in SLOT.log.1
    UUID/work/N               working directory of `NAME-N`, unless the definition names another one

Only one process uses the folder at a time, so records are also kept in memory.

A process keeps its output file open and appends to it, so that the process does not need the server. A file that has
grown too large is copied and then emptied. Since the file was opened for appending, the next line is written at the new
beginning. Lines that are written between copying and emptying are lost.
"""

import os
import shutil
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import partial
from operator import attrgetter
from pathlib import Path

from tutumd.engines.local.records import RECORD_JSON, ServiceRecord

RECORD = "service.json"
MAX_OUTPUT_BYTES = 10 * 1024 * 1024
TAIL_BYTES = 256 * 1024


class DataFolder:
    """Records, files and locks of all services. For several threads. Methods raise OSError if the disk fails."""

    def __init__(self, path: Path) -> None:
        self._path = self.path = path.absolute()
        # Each single operation on a dict is atomic.
        self._records: dict[str, ServiceRecord] = {}
        self._service_locks: dict[str, threading.Lock] = {}
        self.unreadable: dict[str, str] = {}  # why a record cannot be read, by service; such a service is ignored
        self._path.mkdir(parents=True, exist_ok=True)
        self._path.chmod(0o700)
        for record_path in sorted(self._path.glob(f"*/{RECORD}")):
            try:
                record = RECORD_JSON.validate_json(record_path.read_bytes())
            except (OSError, ValueError) as error:
                self.unreadable[record_path.parent.name] = f"{RECORD} cannot be read: {error!r}"
            else:
                self._records[record.uuid] = record

    @contextmanager
    def hold(self, uuid: str, *, timeout_s: float) -> Iterator[bool]:
        """Hold the lock of a service. Yields False, without the lock, if it is not free within `timeout_s`.

        An action holds the lock until it ends, supervision only for a moment.
        """
        service_lock = self._service_locks.setdefault(uuid, threading.Lock())
        is_held = service_lock.acquire(timeout=timeout_s)
        try:
            yield is_held
        finally:
            if is_held:
                service_lock.release()

    def records(self) -> tuple[ServiceRecord, ...]:
        """Return the records of all services, by UUID."""
        return tuple(sorted(self._records.copy().values(), key=attrgetter("uuid")))

    def get(self, uuid: str) -> ServiceRecord | None:
        """Return the record of a service, or None."""
        return self._records.get(uuid)

    def save(self, record: ServiceRecord) -> ServiceRecord:
        """Store a record and return it. It is on disk when this returns."""
        folder = self._path / record.uuid
        for directory in (folder, folder / "output", folder / "work"):
            directory.mkdir(mode=0o700, exist_ok=True)
        _write_durably(folder / RECORD, RECORD_JSON.dump_json(record, indent=1))
        self._records[record.uuid] = record
        return record

    def remove(self, uuid: str) -> None:
        """Remove a service with all its files. Does nothing if there is none."""
        folder = self._path / uuid
        (folder / RECORD).unlink(missing_ok=True)
        self._records.pop(uuid, None)
        if folder.exists():
            shutil.rmtree(folder)

    def output(self, uuid: str, slot: str) -> Path:
        """Return the output file of a container."""
        return self._path / uuid / "output" / f"{slot}.log"

    def outputs(self) -> tuple[Path, ...]:
        """Return the output files of all services, including services with an unreadable record: their processes
        run.
        """
        with suppress(FileNotFoundError):  # a service was removed just now
            return tuple(self._path.glob("*/output/*.log"))
        return ()

    def drop_old_outputs(self, record: ServiceRecord) -> None:
        """Remove the output of containers that are no longer in the record."""
        slots = {c.slot for c in record.all_containers}
        for path in (self._path / record.uuid / "output").iterdir():
            if path.name.split(".", 1)[0] not in slots:
                path.unlink(missing_ok=True)

    def working_directory(self, uuid: str, number: int) -> Path:
        """Return the working directory of `NAME-number`, after creating it if needed."""
        directory = self._path / uuid / "work" / str(number)
        directory.mkdir(mode=0o700, exist_ok=True)
        return directory


def _write_durably(path: Path, content: bytes) -> None:
    """Replace a file so that after a crash either the old or the new content exists completely."""
    temporary = path.with_name(f"{path.name}.new")
    with open(temporary, "wb", opener=partial(os.open, mode=0o600)) as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)
    directory = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)


def rotate(path: Path, *, max_bytes: int = MAX_OUTPUT_BYTES) -> None:
    """Move the content to `PATH.1` if the file is larger than `max_bytes`."""
    older = _older(path)
    copy = older.with_name(f"{older.name}.new")
    try:
        if path.stat().st_size <= max_bytes:
            return
        shutil.copyfile(path, copy)
        copy.replace(older)
    except FileNotFoundError:
        return  # its container is gone
    except OSError:
        copy.unlink(missing_ok=True)  # no room for the copy: emptying matters all the more
    os.truncate(path, 0)


def read_on(path: Path, position: int) -> tuple[list[str], int]:
    """Return the complete lines after a position, at most 256 KiB, and the position after them. Lines that were moved
    to `PATH.1` since then are included.
    """
    moved = []
    if size_of(path) < position:
        moved, position = _split(_read(_older(path), position)), 0
    content = _read(path, position)
    complete = content[: content.rfind(b"\n") + 1] or (content if len(content) == TAIL_BYTES else b"")
    return moved + _split(complete), position + len(complete)


def size_of(path: Path) -> int:
    """Return the number of bytes in a file; 0 if there is none."""
    with suppress(FileNotFoundError):
        return path.stat().st_size
    return 0


def tail(path: Path, lines: int, end: int | None = None) -> list[str]:
    """Return the last lines up to a position, by default the end, at most 256 KiB; none if there is no file."""
    last_lines = _last_lines(path, lines, end)
    if len(last_lines) < lines:
        last_lines = _last_lines(_older(path), lines - len(last_lines)) + last_lines
    return last_lines


def _read(path: Path, start: int, size: int = TAIL_BYTES) -> bytes:
    with suppress(FileNotFoundError), path.open("rb") as file:
        file.seek(start)
        return file.read(size)
    return b""


def _last_lines(path: Path, lines: int, end: int | None = None) -> list[str]:
    if lines <= 0:
        return []
    end = size_of(path) if end is None else end
    start = max(0, end - TAIL_BYTES)
    last_lines = _split(_read(path, start, end - start))
    if start and len(last_lines) > 1:
        last_lines = last_lines[1:]  # probably the end of a line that began earlier
    return last_lines[-lines:]


def _split(content: bytes) -> list[str]:
    return content.decode(errors="replace").removesuffix("\n").split("\n") if content else []


def _older(path: Path) -> Path:
    return path.with_name(f"{path.name}.1")
