"""The key with which workers seal what they save of a run: in a file that only workers can read."""

import secrets
from functools import partial

import structlog

from tutumd.errors import SettingsError
from tutumd.main.key_files import WORKER_KEY_FILE, read_or_create
from tutumd.settings import Settings
from tutumd.worker.journal_seal import JournalSeal

_MIN_LENGTH = 32
_log = structlog.get_logger(__name__)


def load_seal(settings: Settings, *, is_shared: bool) -> JournalSeal:
    """Return the seal of this database's workers. Its file is created if it does not exist.

    Args:
        is_shared: Workers on other machines may use the database, too.

    Raises:
        SettingsError: The file cannot be used. The text does not contain the key.
    """
    path = settings.worker_key_file or settings.data_dir / WORKER_KEY_FILE
    try:
        key = read_or_create(path, partial(secrets.token_hex, _MIN_LENGTH))
    except OSError as error:
        raise SettingsError(
            f"the key of workers {path} cannot be used: {error.strerror}; name a file that this user can read, or a "
            "folder in which it can create one: --worker-key-file FILE"
        ) from error
    if len(key) < _MIN_LENGTH:
        raise SettingsError(f"{path} must hold {_MIN_LENGTH} or more characters: openssl rand -hex 32 > {path}")
    if is_shared and settings.worker_key_file is None:
        _log.warning(
            "--worker-key-file is not set: other workers of this database cannot go on with what this one began"
        )
    return JournalSeal(key.encode())
