"""The data folder of the local engine: a folder per service with its record, its output and its working folders.

    UUID/service.json         the record, replaced as a whole, on disk when `save` returns
    UUID/output/SLOT.log      what the processes of one container wrote, with one older part in SLOT.log.1
    UUID, in it work/N        where `NAME-N` runs unless the definition says where; kept until the service is terminated

Only one process uses the folder at a time, so records are kept in memory as well.
"""

import json
import os
import shutil
import threading
from pathlib import Path

from tutumd.engines.local.records import ServiceRecord, record_from_json, record_to_json

RECORD = "service.json"


class Folder:
    """Records and files of all services below one directory. Safe to use from several threads.

    Methods raise OSError where the disk does not do what it should.
    """

    def __init__(self, data_dir: Path) -> None:
        self._data_dir = data_dir = data_dir.absolute()
        self._lock = threading.Lock()
        self._records: dict[str, ServiceRecord] = {}
        self._revision = 0
        self.unreadable: dict[str, str] = {}
        """Services whose record cannot be read, with the reason: they are left alone."""
        data_dir.mkdir(parents=True, exist_ok=True)
        data_dir.chmod(0o700)
        for path in sorted(data_dir.glob(f"*/{RECORD}")):
            self._load(path)

    @property
    def revision(self) -> int:
        """A number that grows with every change of a record."""
        return self._revision

    def records(self) -> tuple[ServiceRecord, ...]:
        """List the records of all services, by UUID."""
        with self._lock:
            return tuple(self._records[uuid] for uuid in sorted(self._records))

    def get(self, uuid: str) -> ServiceRecord | None:
        """Read one record."""
        with self._lock:
            return self._records.get(uuid)

    def save(self, record: ServiceRecord) -> ServiceRecord:
        """Store a record: on disk when this returns. Returns it."""
        home = self._data_dir / record.uuid
        for directory in (home, home / "output", home / "work"):
            directory.mkdir(mode=0o700, exist_ok=True)
        _write_durably(home / RECORD, json.dumps(record_to_json(record), indent=1))
        with self._lock:
            self._records[record.uuid] = record
            self._revision += 1
        return record

    def remove(self, uuid: str) -> None:
        """Remove a service with all its files; one that is not there is fine."""
        home = self._data_dir / uuid
        (home / RECORD).unlink(missing_ok=True)
        with self._lock:
            self._records.pop(uuid, None)
            self._revision += 1
        if home.exists():
            shutil.rmtree(home)

    def output(self, uuid: str, slot: str) -> Path:
        """Say where the processes of a container write."""
        return self._data_dir / uuid / "output" / f"{slot}.log"

    def outputs(self) -> tuple[Path, ...]:
        """Return the output files that processes may be writing."""
        return tuple(self.output(record.uuid, c.slot) for record in self.records() for c in record.all_containers)

    def drop_old_outputs(self, record: ServiceRecord) -> None:
        """Remove output that belongs to no container of the record any more."""
        slots = {c.slot for c in record.all_containers}
        for path in (self._data_dir / record.uuid / "output").iterdir():
            if path.name.split(".", 1)[0] not in slots:
                path.unlink(missing_ok=True)

    def working_directory(self, uuid: str, number: int) -> Path:
        """Make the folder of `NAME-number` where there is none yet, and say where it is."""
        directory = self._data_dir / uuid / "work" / str(number)
        directory.mkdir(mode=0o700, exist_ok=True)
        return directory

    def _load(self, path: Path) -> None:
        try:
            record = record_from_json(json.loads(path.read_text()))
        except (OSError, ValueError, KeyError, TypeError, IndexError) as error:
            self.unreadable[path.parent.name] = f"{path.name} cannot be read: {error!r}"
        else:
            self._records[record.uuid] = record


def _write_durably(path: Path, text: str) -> None:
    """Replace a file so that after a crash either the old or the new one is there, as a whole."""
    temporary = path.with_name(f"{path.name}.new")
    handle = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    with os.fdopen(handle, "w") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)
    directory = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)
