"""The file that a backup is: a tar archive of a manifest, the database and the key for secrets."""

import hashlib
import json
import os
import tarfile
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from io import BufferedReader, BytesIO
from pathlib import Path
from typing import IO

from tutumd.errors import SettingsError
from tutumd.main.key_files import OWNER_ONLY, SECRET_KEY_FILE, open_private

DATABASE = "tutumd.db"
MANIFEST = "manifest.json"
MEMBERS = (DATABASE, SECRET_KEY_FILE)

_FORMAT = 1
_MAX_MANIFEST_BYTES = 64 * 1024
_MAX_TEXT = 100
_CHUNK_BYTES = 1024 * 1024
_LIES = (tarfile.TarError, ValueError, TypeError, LookupError, ArithmeticError, EOFError, RecursionError)
"""What tarfile raises for headers that are wrong."""
# What people give instead of a backup, by its first bytes.
_OTHERS = {
    b"SQLite format 3\0": "a bare SQLite database: stop tutumd, and copy it to the place of tutumd.db",
    b"PGDMP": "a dump of PostgreSQL: restore it with pg_restore, see docs/how-to/database.md",
    b"\x1f\x8b": "compressed: gunzip -c FILE | tutumd restore -",
    b"\x28\xb5\x2f\xfd": "compressed: zstd -dc FILE | tutumd restore -",
    b"\xfd7zXZ": "compressed: xz -dc FILE | tutumd restore -",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifest:
    """The description of an archive, its first member.

    Attributes:
        version: Of the tutumd that wrote it.
        created: When the copy of the database began, in UTC.
        files: SHA-256 of each member by name.
    """

    version: str
    created: str
    schema: str
    files: dict[str, str]
    format: int = field(default=_FORMAT)


def is_backup(beginning: bytes) -> bool:
    """Return whether a file that begins so is a backup, or empty."""
    return not beginning or beginning.startswith(MANIFEST.encode())


def checksum(path: Path) -> str:
    """Return the SHA-256 of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def write(target: IO[bytes], manifest: Manifest, paths: dict[str, Path], between: Callable[[], None]) -> None:
    """Write an archive, the manifest first.

    Args:
        between: Called after each megabyte, for a pause.
    """
    with tarfile.open(fileobj=target, mode="w|") as archive:
        text = json.dumps(asdict(manifest), indent=2).encode() + b"\n"
        archive.addfile(_member(MANIFEST, len(text)), BytesIO(text))
        for name, path in paths.items():
            with path.open("rb") as file:
                archive.addfile(_member(name, path.stat().st_size), _Paced(file, between))


def read(source: BufferedReader, targets: Mapping[str, Path]) -> Manifest:
    """Copy the members of an archive into new files, and return its manifest once all match it.

    Args:
        targets: The file to write for each member.

    Raises:
        SettingsError: It is not a backup, or it is damaged. The text begins with what it is.
    """
    beginning = source.peek(16)
    for magic, advice in _OTHERS.items():
        if beginning.startswith(magic):
            raise SettingsError(advice)
    try:
        with tarfile.open(fileobj=source, mode="r|") as archive:
            manifest = _read_manifest(archive)
            _read_files(archive, dict(manifest.files), targets)
    except _LIES as error:
        raise SettingsError(f"damaged, cut off or not a backup of tutumd: {error}") from error
    return manifest


def _read_files(archive: tarfile.TarFile, left: dict[str, str], targets: Mapping[str, Path]) -> None:
    while (member := archive.next()) is not None:
        file = archive.extractfile(member) if member.isreg() and member.name in left else None
        if file is None:
            raise SettingsError(f"damaged: it contains {member.name[:50]!r}, which its {MANIFEST} does not name")
        if _copy(file, targets[member.name]) != left.pop(member.name):
            raise SettingsError(f"damaged: its {member.name} does not match its {MANIFEST}")
    for name in left:
        raise SettingsError(f"damaged: its {name} is missing")


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


def _read_manifest(archive: tarfile.TarFile) -> Manifest:
    member = archive.next()
    file = archive.extractfile(member) if member and member.name == MANIFEST and member.isreg() else None
    if file is None:
        raise SettingsError(f"not a backup of tutumd: it does not begin with {MANIFEST}")
    try:
        told = json.loads(file.read(_MAX_MANIFEST_BYTES))
        if told["format"] > _FORMAT:
            raise SettingsError(f"of a newer tutumd, {told['version']}: restore it with that version")
        manifest = Manifest(**told)
        texts = (manifest.version, manifest.created, manifest.schema)
        if not (all(isinstance(text, str) and text.isprintable() and len(text) < _MAX_TEXT for text in texts)):
            raise ValueError
        if DATABASE not in manifest.files or not dict(manifest.files).keys() <= set(MEMBERS):
            raise ValueError
    except (ValueError, KeyError, TypeError, RecursionError):
        raise SettingsError(f"damaged: its {MANIFEST} cannot be read") from None
    return manifest


def _member(name: str, size: int) -> tarfile.TarInfo:
    member = tarfile.TarInfo(name)
    member.size, member.mode = size, OWNER_ONLY
    return member


class _Paced:
    """A file that is read with a pause after each megabyte."""

    def __init__(self, file: IO[bytes], between: Callable[[], None]) -> None:
        self._file, self._between = file, between
        self._left = _CHUNK_BYTES

    def read(self, size: int = -1) -> bytes:
        content = self._file.read(size)
        self._left -= len(content)
        if self._left <= 0:
            self._left = _CHUNK_BYTES
            self._between()
        return content
