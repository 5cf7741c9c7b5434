"""Files that only their owner can read: keys, locks and the database."""

import contextlib
import logging
import os
import secrets
from collections.abc import Callable
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import TYPE_CHECKING

from tutumd.errors import SettingsError

if TYPE_CHECKING:
    from tutumd.application.admission.encryption import SecretCipher
    from tutumd.settings import Settings

OWNER_ONLY = 0o600
SECRET_KEY_FILE = "secret.key"  # noqa: S105 (the name of a file)
"""File in the data folder with the key for secrets, unless that is a setting."""

WORKER_KEY_FILE = "worker.key"
"""File in the data folder with the key of workers, unless a setting names another one."""

DEMO_KEY_FILE = "demo-apikey"
"""File in the data folder with the API key of `--demo`."""

_MIN_LENGTH = 32
_log = logging.getLogger(__name__)


def read_or_create(path: Path, make_key: Callable[[], str], remedy: str = "make it readable for this user") -> str:
    """Return the key in a file, which is created if it does not exist.

    The file appears with its complete content. If several processes create it at the same time, all return the key of
    the first.

    Raises:
        SettingsError: The file cannot be used. The text does not contain the key.
    """
    try:
        if not path.exists():
            with NamedTemporaryFile("w", encoding="ascii", dir=path.parent, prefix=path.name) as file:  # mode 0600
                file.write(make_key() + "\n")
                file.flush()
                os.fsync(file.fileno())
                with contextlib.suppress(FileExistsError):
                    path.hardlink_to(file.name)
        return path.read_text(encoding="ascii", errors="replace").strip()
    except OSError as error:
        raise SettingsError(f"the key file {path} cannot be used: {error.strerror}; {remedy}") from error


def load_cipher(settings: "Settings", *, is_first_start: bool = True) -> "SecretCipher":
    """Return the cipher of secrets. Without the setting, the key is in `secret.key`, which is generated once.

    Args:
        is_first_start: False for a database that was used before: then a missing key causes a warning.

    Raises:
        SettingsError: The key is invalid, or its file cannot be read or created. The text does not contain the key.
    """
    from tutumd.application.admission.encryption import SecretCipher, make_key  # slow to import, and not for workers

    if settings.secret_key:
        return SecretCipher([key.strip() for key in settings.secret_key.split(",") if key.strip()])
    path = settings.data_dir / SECRET_KEY_FILE
    if not is_first_start and not path.exists():
        _log.warning(
            "%s is missing, so a new key is made: calls of handlers with secrets get 503, and former status URLs 404."
            " Restore the file, or set TUTUMD_SECRET_KEY, and start again",
            path,
        )
    key = read_or_create(path, make_key, "set TUTUMD_SECRET_KEY instead")
    try:
        return SecretCipher([key])
    except SettingsError as error:
        raise SettingsError(f"{path}: {error}") from None


def read_worker_key(settings: "Settings", *, is_shared: bool) -> bytes:
    """Return the key of this database's workers. The file is created if it does not exist.

    Args:
        is_shared: Workers on other machines may also use the database.

    Raises:
        SettingsError: The file cannot be used. The text does not contain the key.
    """
    path = settings.worker_key_file or settings.data_dir / WORKER_KEY_FILE
    key = read_or_create(
        path,
        lambda: secrets.token_hex(_MIN_LENGTH),
        "name a file that this user can read, or a folder in which it can create one: --worker-key-file FILE",
    )
    if len(key) < _MIN_LENGTH:
        raise SettingsError(f"{path} must hold {_MIN_LENGTH} or more characters: openssl rand -hex 32 > {path}")
    if is_shared and settings.worker_key_file is None:
        _log.warning(
            "--worker-key-file is not set: other workers of this database cannot go on with what this one began"
        )
    return key.encode()


def open_private(path: str, flags: int) -> int:
    """Open a file that only its owner can read if it is created: an opener for `open`."""
    return os.open(path, flags, OWNER_ONLY)


def give_to_owner(file: Path, folder: Path) -> None:
    """Give the file to the folder's owner, and let no other user read it."""
    file.chmod(OWNER_ONLY)
    owner = folder.stat()
    if os.geteuid() == 0 and owner.st_uid != 0:
        os.chown(file, owner.st_uid, owner.st_gid)


def make_private(database: Path, data_dir: Path) -> None:
    """Restrict an SQLite database, which is created if it does not exist, and the keys and locks to their owners."""
    with contextlib.suppress(OSError):  # SQLite reports the problem with the file
        database.touch(OWNER_ONLY)
    # SQLite creates `-wal` and `-shm` with the mode of the database.
    for path in [*database.parent.glob(f"{database.name}*"), *data_dir.glob("*key"), *data_dir.glob("*.lock")]:
        try:
            if path.is_file() and path.stat().st_mode & 0o077:
                path.chmod(OWNER_ONLY)
                _log.warning("others could read %s: now only its owner can", path)
        except OSError as error:  # the file belongs to another user, or its file system has no modes
            _log.warning("others can read %s, which cannot be changed: %s", path, error.strerror)
