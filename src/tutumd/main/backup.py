"""`tutumd backup`: a copy of the SQLite database with the key for secrets, in one file, while the server runs."""

import glob
import hashlib
import os
import shutil
import signal
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from shlex import quote
from tempfile import TemporaryDirectory
from typing import IO

import sqlalchemy as sa

from tutumd.errors import SettingsError
from tutumd.main import archive
from tutumd.main.key_files import OWNER_ONLY, SECRET_KEY_FILE, give_to_owner, open_private
from tutumd.main.storage import locked, sqlite_path
from tutumd.settings import Options, Settings, read_settings
from tutumd.store.sql.sqlite_backup import check_database, copy_database

STDOUT = "-"
_HEADROOM_BYTES = 1024 * 1024
_LONGEST_PAUSE_S = 1.0
_PAUSE_FOR_WORK = 3.0
"""Seconds of pause after a second of work."""


def backup(target: str, options: Options) -> None:
    """Write a backup to a file, or to standard output for `-`.

    Raises:
        SettingsError: There is none. No partial file stays, and an earlier file of that name is unchanged.
    """
    settings = read_settings(options)
    source = sqlite_path(settings)
    if source is None:
        raise SettingsError(_explain_dump(settings, target))
    if not os.access(source, os.F_OK):
        raise SettingsError(f"there is no database {source}: give the right --data-dir")
    if target == STDOUT and sys.stdout.isatty():
        raise SettingsError("a terminal cannot show a backup: redirect the output, or give a file instead of -")
    if target != STDOUT and not _may_replace(Path(target)):
        raise SettingsError(f"{target} exists and is not a tutumd backup: give another name")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # a half-written file is removed
    os.nice(19)  # with a lower priority than the server, whose calls must not wait
    final = Path(f"{source}.backup" if target == STDOUT else target)
    place = "standard output" if target == STDOUT else target
    lock, hint = settings.data_dir / "backup.lock", "another backup of this database is being written: wait for it"
    with locked(lock, hint, exclusive=True), archive.told_faults("no backup was written", source, place):
        give_to_owner(lock, settings.data_dir)
        _remove_left_behind(final)
        # Beside the final file, and not writable for anybody else.
        with TemporaryDirectory(prefix=f"{final.name}.part-", dir=final.parent, ignore_cleanup_errors=True) as name:
            _check_space(source, final.parent, copies=1 if target == STDOUT else 2)
            copy, part = Path(name, "db"), Path(name, "backup")
            manifest, paths = _copy(settings, source, copy)
            if target == STDOUT:
                archive.write(sys.stdout.buffer, manifest, paths, _pauses())
            else:
                with open(part, "xb", opener=open_private) as file:
                    archive.write(file, manifest, paths, _pauses(file))
                    file.flush()
                    os.fsync(file.fileno())
                part.rename(final)
                archive.sync_folder(final.parent)
    _report(settings, target, has_key=SECRET_KEY_FILE in manifest.files)


def _explain_dump(settings: Settings, target: str) -> str:
    """Return how to back up a PostgreSQL database with its own tools."""
    url = sa.make_url(settings.database_url)
    shown = url.set(drivername="postgresql")._replace(password=None).render_as_string()
    password = "" if url.password is None else "with the password in PGPASSWORD or ~/.pgpass.\n"
    key = "TUTUMD_SECRET_KEY" if settings.secret_key else settings.data_dir / SECRET_KEY_FILE
    return (
        "the database is on PostgreSQL, whose own tools back it up. Run\n"
        f"  (umask 077; pg_dump --format=custom --file={quote(target)} --dbname={quote(shown)})\n"
        f"{password}Keep the key for secrets, {key}, with the dump. To restore, see docs/how-to/database.md"
    )


def _may_replace(target: Path) -> bool:
    """Return whether a backup can take this name without loss."""
    if not target.is_file():
        return not os.path.lexists(target)
    with suppress(OSError), target.open("rb") as file:
        return file.read(len(archive.MANIFEST)) in (b"", archive.MANIFEST.encode())
    return False


def _remove_left_behind(final: Path) -> None:
    """Remove the folders of killed backups."""
    for left in final.parent.glob(f"{glob.escape(final.name)}.part-*"):
        if left.lstat().st_uid == os.geteuid():
            shutil.rmtree(left, ignore_errors=True)


def _copy(settings: Settings, source: Path, copy: Path) -> tuple[archive.Manifest, dict[str, Path]]:
    """Copy the database, check the copy, and return the manifest of the backup and its files."""
    created = datetime.now(UTC).isoformat(timespec="seconds")
    copy.touch(OWNER_ONLY)
    with copy.open("rb") as written:
        copy_database(source, copy, _pauses(written))
    try:
        schema = check_database(copy)
    except SettingsError as error:
        raise SettingsError(f"the database {source} is {error}; nothing was written") from error
    paths, key = {archive.DATABASE: copy}, settings.data_dir / SECRET_KEY_FILE
    if not settings.secret_key and key.exists():
        paths[SECRET_KEY_FILE] = key
    files: dict[str, object] = {}
    for name, path in paths.items():
        with path.open("rb") as file:
            files[name] = hashlib.file_digest(file, "sha256").hexdigest()
    return archive.Manifest(version=version("tutumd"), created=created, schema=schema, files=files), paths


def _pauses(written: IO[bytes] | None = None) -> Callable[[], None]:
    """Return a function that sleeps longer than its caller has worked since the last pause.

    Args:
        written: A file that is synced to the disk before each pause. Otherwise the system collects the writes, and each
            commit of the server waits until all of them are written (ext4, data=ordered).
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


def _report(settings: Settings, target: str, *, has_key: bool) -> None:
    where = "standard output" if target == STDOUT else f"{target} ({megabytes(Path(target).stat().st_size)})"
    print(f"the database {'and its key for secrets were' if has_key else 'was'} written to {where}", file=sys.stderr)
    if settings.secret_key:
        print("the backup does not contain TUTUMD_SECRET_KEY: keep that value, too", file=sys.stderr)
