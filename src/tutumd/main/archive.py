"""The file format of a backup: a tar archive of a manifest, the database and the key for secrets."""

import hashlib
import os
import sqlite3
import tarfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from io import BufferedReader, BytesIO
from pathlib import Path
from typing import IO, Annotated

from pydantic import ConfigDict, StringConstraints, TypeAdapter, with_config

from tutumd.errors import SettingsError
from tutumd.main.key_files import OWNER_ONLY, SECRET_KEY_FILE, open_private
from tutumd.main.storage import restoring_file

DATABASE = "tutumd.db"
MANIFEST = "manifest.json"
MEMBERS = (DATABASE, SECRET_KEY_FILE)

_FORMAT = 1
_MAX_MANIFEST_BYTES = 64 * 1024
_CHUNK_BYTES = 1024 * 1024
_LIES = (tarfile.TarError, ValueError, TypeError, LookupError, ArithmeticError, EOFError, RecursionError)
"""Exceptions that tarfile raises for invalid headers."""
# Files that people confuse with a backup, by their first bytes.
_OTHERS = {
    b"SQLite format 3\0": "a bare SQLite database: stop tutumd, and copy it to the place of tutumd.db",
    b"PGDMP": "a dump of PostgreSQL: restore it with pg_restore, see docs/how-to/database.md",
    b"\x1f\x8b": "compressed: gunzip -c FILE | tutumd restore -",
    b"\x28\xb5\x2f\xfd": "compressed: zstd -dc FILE | tutumd restore -",
    b"\xfd7zXZ": "compressed: xz -dc FILE | tutumd restore -",
}

_Text = Annotated[str, StringConstraints(max_length=100, pattern=r"^[ -~]*$")]


@with_config(ConfigDict(extra="forbid", strict=True))
@dataclass(frozen=True, slots=True, kw_only=True)
class Manifest:
    """The description of an archive, its first member.

    Attributes:
        version: Version of the tutumd that wrote it.
        created: Time at which the copy of the database began, in UTC.
        files: SHA-256 of each member by name.
    """

    version: _Text
    created: _Text
    schema: _Text
    files: dict[str, object]
    format: int = _FORMAT


_MANIFEST = TypeAdapter(Manifest)


def write(target: IO[bytes], manifest: Manifest, paths: Mapping[str, Path], between: Callable[[], None]) -> None:
    """Write an archive, the manifest first.

    Args:
        between: Called before each megabyte, for a pause.
    """
    with tarfile.open(fileobj=target, mode="w|") as archive:
        archive.copybufsize = _CHUNK_BYTES  # type: ignore[attr-defined] # typeshed lacks it
        text = _MANIFEST.dump_json(manifest, indent=2) + b"\n"
        archive.addfile(_member(MANIFEST, len(text)), BytesIO(text))
        for name, path in paths.items():
            with path.open("rb") as file:
                archive.addfile(_member(name, path.stat().st_size), _Paced(file, between))


def read(source: BufferedReader, targets: Mapping[str, Path]) -> Manifest:
    """Copy the members of an archive into new files, and return its manifest if all match it.

    Args:
        targets: The file to write for each member.

    Raises:
        SettingsError: The archive is not a backup, or is damaged. The text begins with a description of the archive.
    """
    for magic, advice in _OTHERS.items():
        if source.peek(16).startswith(magic):
            raise SettingsError(advice)
    try:
        with tarfile.open(fileobj=source, mode="r|") as archive:
            manifest = _read_manifest(archive)
            _read_files(archive, dict(manifest.files), targets)
    except _LIES as error:
        raise SettingsError(f"damaged, cut off or not a backup of tutumd: {error}") from error
    return manifest


def _read_manifest(archive: tarfile.TarFile) -> Manifest:
    member = archive.next()
    file = archive.extractfile(member) if member and member.name == MANIFEST and member.isreg() else None
    if file is None:
        raise SettingsError(f"not a backup of tutumd: it does not begin with {MANIFEST}")
    try:
        manifest = _MANIFEST.validate_json(file.read(_MAX_MANIFEST_BYTES))
        if DATABASE not in manifest.files:
            raise ValueError
    except ValueError:
        raise SettingsError(f"damaged: its {MANIFEST} cannot be read") from None
    if manifest.format > _FORMAT:
        raise SettingsError(f"of a newer tutumd, {manifest.version}: restore it with that version")
    return manifest


def _read_files(archive: tarfile.TarFile, left: dict[str, object], targets: Mapping[str, Path]) -> None:
    while (member := archive.next()) is not None:
        file = archive.extractfile(member) if member.isreg() and member.name in left else None
        if file is None:
            raise SettingsError(f"damaged: it contains {member.name[:50]!r}, which its {MANIFEST} does not name")
        if _copy(file, targets[member.name]) != left.pop(member.name):
            raise SettingsError(f"damaged: its {member.name} does not match its {MANIFEST}")
    if left:
        raise SettingsError(f"damaged: it contains no {', '.join(left)[:50]!r}")


def _copy(file: IO[bytes], path: Path) -> str:
    """Write a new file, sync it to the disk, and return its SHA-256."""
    digest = hashlib.sha256()
    with open(path, "xb", opener=open_private) as target:
        while chunk := file.read(_CHUNK_BYTES):
            digest.update(chunk)
            target.write(chunk)
        target.flush()
        os.fsync(target.fileno())
    return digest.hexdigest()


def _member(name: str, size: int) -> tarfile.TarInfo:
    member = tarfile.TarInfo(name)
    member.size, member.mode = size, OWNER_ONLY
    return member


class _Paced:
    """A file that is read with a pause before each read."""

    def __init__(self, file: IO[bytes], between: Callable[[], None]) -> None:
        self._file, self._between = file, between

    def read(self, size: int = -1) -> bytes:
        self._between()
        return self._file.read(size)


@contextmanager
def told_faults(failed: str, database: Path, place: Path | str) -> Iterator[None]:
    """Raise faults of files and of SQLite as SettingsError.

    Args:
        failed: Sentence about what did not happen.
        place: File to name if the fault names none.
    """
    try:
        yield
    except (OSError, sqlite3.Error) as error:
        where, what = (error.filename, error.strerror) if isinstance(error, OSError) else (None, error)
        after = (
            f"{restoring_file(database)} exists, so no server starts: run tutumd restore again"
            if restoring_file(database).exists()
            else "nothing was changed"
        )
        raise SettingsError(f"{failed}: {where or place}: {what}; {after}") from error


def sync_folder(folder: Path) -> None:
    """Sync the names in a folder to the disk."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
