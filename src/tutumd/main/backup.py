"""`tutumd backup`: a copy of the SQLite database with the key for secrets, in one file, while the server runs."""

import fcntl
import glob
import os
import shutil
import signal
import sqlite3
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager, suppress
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from shlex import quote
from tempfile import TemporaryDirectory
from typing import IO, Any

import sqlalchemy as sa

from tutumd.errors import SettingsError
from tutumd.main import archive
from tutumd.main.key_files import OWNER_ONLY, SECRET_KEY_FILE, open_private
from tutumd.main.storage import is_new
from tutumd.settings import Settings, read_settings
from tutumd.store.sql.database import Database
from tutumd.store.sql.sqlite_backup import check_database, copy_database

STDOUT = "-"
_NICE = 19
_HEADROOM_BYTES = 1024 * 1024
_LONGEST_PAUSE_S = 1.0
_PAUSE_FOR_WORK = 3.0
"""Seconds of pause after a second of work."""


def backup(target: str, options: Mapping[str, Any]) -> None:
    """Write a backup to a file, or to standard output for `-`.

    Raises:
        SettingsError: There is none. Nothing is left behind, and a former file of that name is unchanged.
    """
    settings = read_settings(options)
    if not settings.database_url.startswith("sqlite:"):
        raise SettingsError(_explain_dump(settings, target))
    if is_new(settings):
        raise SettingsError(f"there is no database {database_path(settings)}: give the right --data-dir")
    if target == STDOUT and sys.stdout.isatty():
        raise SettingsError("a terminal cannot show a backup: redirect the output, or give a file instead of -")
    if target != STDOUT and not _may_replace(Path(target)):
        raise SettingsError(f"{target} exists and is not a tutumd backup: give another name")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # what is half done is removed
    os.nice(_NICE)  # after the server, whose calls must not wait
    source = database_path(settings)
    final = Path(f"{source}.backup" if target == STDOUT else target)
    written = "standard output" if target == STDOUT else target
    with _told(final, written), _private_folder(final, settings.data_dir) as folder:
        _check_space(source, final.parent, copies=1 if target == STDOUT else 2)
        copy, part = folder / "db", folder / "backup"
        if target == STDOUT:
            _write(settings, source, copy, sys.stdout.buffer)
        else:
            with open(part, "xb", opener=open_private) as file:
                _write(settings, source, copy, file)
                file.flush()
                os.fsync(file.fileno())
            part.rename(final)
            sync_folder(final.parent)
    _report(settings, target)


def _explain_dump(settings: Settings, target: str) -> str:
    """Return how to back up a database on PostgreSQL, whose own tools do it."""
    with closing(Database(settings.database_url)) as database:
        url = database.url
    shown = url._replace(drivername="postgresql", password=None).render_as_string()
    password = "" if url.password is None else "with the password in PGPASSWORD or ~/.pgpass.\n"
    key = "TUTUMD_SECRET_KEY" if settings.secret_key else settings.data_dir / SECRET_KEY_FILE
    return (
        "the database is on PostgreSQL, whose own tools back it up. Run\n"
        f"  (umask 077; pg_dump --format=custom --file={quote(target)} --dbname={quote(shown)})\n"
        f"{password}Keep the key for secrets, {key}, with the dump. To restore, see docs/how-to/database.md"
    )


def _may_replace(target: Path) -> bool:
    """Return whether nothing is lost if a backup takes this name."""
    if not target.is_file():
        return not os.path.lexists(target)
    with suppress(OSError), target.open("rb") as file:
        return archive.is_backup(file.read(len(archive.MANIFEST)))
    return False


def database_path(settings: Settings) -> Path:
    """Return the file of an SQLite database."""
    return Path(str(sa.make_url(settings.database_url).database))


def sync_folder(folder: Path) -> None:
    """Sync the names in a folder to the disk."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _write(settings: Settings, source: Path, copy: Path, target: IO[bytes]) -> None:
    created = datetime.now(UTC).isoformat(timespec="seconds")
    copy.touch(OWNER_ONLY)
    with copy.open("rb") as written:
        copy_database(source, copy, _pauses(written))
    try:
        schema = check_database(copy, _pauses())
    except SettingsError as error:
        raise SettingsError(f"the database {source} is {error}; nothing was written") from error
    paths = {archive.DATABASE: copy}
    if _has_key(settings):
        paths[SECRET_KEY_FILE] = settings.data_dir / SECRET_KEY_FILE
    files = {name: archive.checksum(path) for name, path in paths.items()}
    manifest = archive.Manifest(version=version("tutumd"), created=created, schema=schema, files=files)
    archive.write(target, manifest, paths, _pauses(None if target is sys.stdout.buffer else target))


def _has_key(settings: Settings) -> bool:
    """Return whether the key for secrets is a file that the backup must include."""
    return not settings.secret_key and (settings.data_dir / SECRET_KEY_FILE).exists()


def _pauses(written: IO[bytes] | None = None) -> Callable[[], None]:
    """Return a function that sleeps longer than its caller has worked since the last pause.

    Args:
        written: A file that is synced to the disk before each pause. Otherwise the system gathers what is written, and
            each commit of the server waits until it has written all of that (ext4, data=ordered).
    """
    last = time.monotonic()

    def pause() -> None:
        nonlocal last
        if written is not None:
            written.flush()
            os.fdatasync(written)
        time.sleep(min((time.monotonic() - last) * _PAUSE_FOR_WORK, _LONGEST_PAUSE_S))
        last = time.monotonic()

    return pause


@contextmanager
def _private_folder(final: Path, data_dir: Path) -> Iterator[Path]:
    """Make a folder beside a file that nobody else can write to; remove it at the end, and those of killed backups."""
    lock = os.open(data_dir, os.O_RDONLY)  # of the folder itself: a file would have an owner, which differs
    try:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise SettingsError("another backup of this database is being written: wait for it") from None
        prefix = f"{final.name}.part-"
        for left in final.parent.glob(f"{glob.escape(prefix)}*"):
            if left.lstat().st_uid == os.geteuid():
                shutil.rmtree(left, ignore_errors=True)
        with TemporaryDirectory(prefix=prefix, dir=final.parent, ignore_cleanup_errors=True) as folder:
            yield Path(folder)
    finally:
        os.close(lock)


@contextmanager
def _told(final: Path, written: str) -> Iterator[None]:
    """Raise faults of files as SettingsError."""
    try:
        yield
    except BrokenPipeError as error:
        text = "the program that reads the backup has ended, so the backup is incomplete: start both again"
        raise SettingsError(text) from error
    except OSError as error:
        raise SettingsError(f"no backup was written: {error.filename or written}: {error.strerror}") from error
    except sqlite3.Error as error:
        raise SettingsError(f"no backup was written to {final.parent}: {error}") from error


def _check_space(source: Path, folder: Path, *, copies: int) -> None:
    needed = copies * (source.stat().st_size + _HEADROOM_BYTES)
    free = shutil.disk_usage(folder).free
    if free < needed:
        raise SettingsError(
            f"no backup was written: it needs {megabytes(needed)} of space in {folder.absolute()} for a moment,"
            f" and {megabytes(free)} are free"
        )


def megabytes(size: int) -> str:
    """Return a size for people."""
    return f"{size / 1e6:,.1f} MB"


def _report(settings: Settings, target: str) -> None:
    where = "standard output" if target == STDOUT else f"{target} ({megabytes(Path(target).stat().st_size)})"
    what = "the database and its key for secrets were" if _has_key(settings) else "the database was"
    print(f"{what} written to {where}", file=sys.stderr)
    if settings.secret_key:
        print("the backup does not contain TUTUMD_SECRET_KEY: keep that value, too", file=sys.stderr)
