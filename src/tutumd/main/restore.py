"""`tutumd restore`: replaces the SQLite database and the key for secrets with those of a backup.

All files are complete and checked before the first is replaced. From then until the end, a file `….restoring` exists,
and no server starts. A killed restore can be run again.
"""

import sqlite3
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path

from tutumd.errors import SettingsError
from tutumd.main import archive
from tutumd.main.backup import megabytes
from tutumd.main.key_files import SECRET_KEY_FILE, give_to_owner
from tutumd.main.storage import lock_folder, restoring_file, sqlite_path
from tutumd.settings import Options, Settings, read_settings
from tutumd.store.sql.sqlite_backup import check_database, keep_installation, settle, unfinished_actions
from tutumd.store.tables import is_known

STDIN = "-"
_FAILED = "the backup was not restored"


def restore(source: str, options: Options, *, force: bool) -> None:
    """Restore a backup from a file, or from standard input for `-`.

    Args:
        force: Replace an existing database. The old database stays under another name.

    Raises:
        SettingsError: The backup cannot be used, or a server runs, and nothing was changed.
    """
    settings = read_settings(options)
    path = sqlite_path(settings)
    if path is None:
        raise SettingsError(
            "the database is on PostgreSQL, and tutumd restore is for SQLite: empty the database, and restore the dump"
            " with pg_restore, see docs/how-to/database.md"
        )
    with archive.told_faults(_FAILED, path, path.parent):
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    with lock_folder(settings), archive.told_faults(_FAILED, path, path.parent):
        for lock in settings.data_dir.glob("*.lock"):
            give_to_owner(lock, settings.data_dir)
        if path.exists() and path.stat().st_size and not force:
            raise SettingsError(
                f"there is a database {path} already: --force replaces it, and keeps it under another name"
            )
        staged = {name: Path(f"{path}.restore-{name}") for name in archive.MEMBERS}
        try:
            manifest = _stage(source, staged)
            keep_installation(path, staged[archive.DATABASE])
            aside = _put_in_place(settings, path, {name: staged[name] for name in manifest.files})
        finally:
            for file in staged.values():
                file.unlink(missing_ok=True)
        _report(settings, path, manifest, aside)


def _stage(source: str, staged: Mapping[str, Path]) -> archive.Manifest:
    """Write the members of the archive beside the database, and check them."""
    for file in staged.values():  # leftovers of a killed restore
        file.unlink(missing_ok=True)
    try:
        with open(0 if source == STDIN else source, "rb", closefd=source != STDIN) as given:
            manifest = archive.read(given, staged)
        if not is_known(manifest.schema):
            raise SettingsError(
                f"of a newer tutumd, {manifest.version}, with schema {manifest.schema}: restore it with that version"
            )
        if (schema := check_database(staged[archive.DATABASE])) != manifest.schema:
            raise SettingsError(f"damaged: it has the schema {schema}, and says {manifest.schema}")
    except SettingsError as error:
        raise SettingsError(
            f"{'standard input' if source == STDIN else source} is {error}; nothing was changed"
        ) from error
    return manifest


def _put_in_place(settings: Settings, path: Path, staged: Mapping[str, Path]) -> list[Path]:
    """Replace the key, then the database. Return the new locations of the old files."""
    stamp = f"{datetime.now(UTC):%Y%m%d-%H%M%S}"
    for file in staged.values():
        give_to_owner(file, path.parent)
    marker = restoring_file(path)
    staged[archive.DATABASE].rename(marker)
    archive.sync_folder(path.parent)
    key, new_key = settings.data_dir / SECRET_KEY_FILE, staged.get(SECRET_KEY_FILE)
    kept = []
    if new_key:
        if key.exists() and key.read_bytes() != new_key.read_bytes():
            kept.append(_keep(key, stamp))
        new_key.replace(key)
        archive.sync_folder(key.parent)
    kept += _set_aside(path, stamp)
    marker.replace(path)
    archive.sync_folder(path.parent)
    return kept


def _set_aside(path: Path, stamp: str) -> list[Path]:
    """Keep the old database, if there is one, as a whole under another name, too. Return the names."""
    kept = []
    if path.exists():
        try:
            settle(path)
        except sqlite3.DatabaseError as error:  # a damaged database is kept as it is
            if getattr(error, "sqlite_errorcode", 0) & 0xFF == sqlite3.SQLITE_BUSY:
                raise
        kept.append(_keep(path, stamp))
    # Of a database that is damaged or was deleted: they must not be applied to the new one.
    for end in ("-wal", "-shm", "-journal"):
        if (beside := Path(f"{path}{end}")).exists():
            kept.append(beside.rename(f"{path}.before-{stamp}{end}"))
    return kept


def _keep(path: Path, stamp: str) -> Path:
    """Give a file a second name. It has the first name, too, until a new file replaces it."""
    kept = Path(f"{path}.before-{stamp}")
    if not kept.exists():  # a restore that was killed in the same second has kept what was there first
        kept.hardlink_to(path)
    return kept


def _report(settings: Settings, path: Path, manifest: archive.Manifest, aside: list[Path]) -> None:
    print(f"restored {path} of {manifest.created} ({megabytes(path.stat().st_size)}, schema {manifest.schema})")
    for kept in aside:
        print(f"the old file is {kept}")
    if SECRET_KEY_FILE not in manifest.files:
        print("the backup contains no key for secrets: set TUTUMD_SECRET_KEY to the key that was used then")
    elif settings.secret_key:
        print(f"TUTUMD_SECRET_KEY is set, so the restored {settings.data_dir / SECRET_KEY_FILE} is not used")
    if waiting := unfinished_actions(path):
        print(
            f"{waiting} unfinished {'action continues' if waiting == 1 else 'actions continue'} when a worker starts;"
            " to check them before, start tutumd web: tutum action list"
        )
