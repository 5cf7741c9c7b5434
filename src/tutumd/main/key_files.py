"""Files that only their owner can read: keys, each in one of the data folder, locks and the database."""

import contextlib
import logging
import os
from collections.abc import Callable
from pathlib import Path
from tempfile import NamedTemporaryFile

OWNER_ONLY = 0o600
SECRET_KEY_FILE = "secret.key"  # noqa: S105 (the name of a file)
"""File in the data folder with the key for secrets, unless that is a setting."""

WORKER_KEY_FILE = "worker.key"
"""File in the data folder with the key of workers, unless a setting names another one."""

_log = logging.getLogger(__name__)


def read_or_create(path: Path, make_key: Callable[[], str]) -> str:
    """Return the key in a file, which is created if it does not exist.

    The file appears as a whole. If several processes create it at once, all return the first one's key.
    """
    if not path.exists():
        with NamedTemporaryFile("w", encoding="ascii", dir=path.parent, prefix=path.name) as file:  # mode 0600
            file.write(make_key() + "\n")
            file.flush()
            os.fsync(file.fileno())
            with contextlib.suppress(FileExistsError):
                path.hardlink_to(file.name)
    return path.read_text(encoding="ascii", errors="replace").strip()


def open_private(path: str, flags: int) -> int:
    """Open a file, which only its owner can read if it is created: an opener for `open`."""
    return os.open(path, flags, OWNER_ONLY)


def make_private(database: Path, data_dir: Path) -> None:
    """Let only their owners read an SQLite database, which is created if it does not exist, and the keys and locks."""
    with contextlib.suppress(OSError):  # SQLite tells what is wrong with the file
        if not database.exists():
            database.touch(OWNER_ONLY)
    # SQLite creates `-wal` and `-shm` with the mode of the database.
    for path in [*database.parent.glob(f"{database.name}*"), *data_dir.glob("*key"), *data_dir.glob("*.lock")]:
        try:
            if path.is_file() and path.stat().st_mode & 0o077:
                path.chmod(OWNER_ONLY)
                _log.warning("others could read %s: now only its owner can", path)
        except OSError as error:  # the file is another user's, or its file system has no modes
            _log.warning("others can read %s, which cannot be changed: %s", path, error.strerror)
