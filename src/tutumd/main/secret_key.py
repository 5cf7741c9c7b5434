"""The key that stored secrets are encrypted with: from the settings, or a file in the data folder."""

import logging

from tutumd.application.admission.encryption import SecretCipher, make_key
from tutumd.errors import SettingsError
from tutumd.main.key_files import SECRET_KEY_FILE, read_or_create
from tutumd.settings import Settings

_log = logging.getLogger(__name__)


def load_cipher(settings: Settings, *, is_first_start: bool = True) -> SecretCipher:
    """Return the cipher of secrets. Without the setting, the key is in `secret.key`, which is made once.

    Args:
        is_first_start: False for a database that was used before: there, a key that has to be made is warned about.

    Raises:
        SettingsError: The key is not valid, or its file cannot be read or created. The text does not contain the key.
    """
    if settings.secret_key:
        return SecretCipher([key.strip() for key in settings.secret_key.split(",") if key.strip()])
    path = settings.data_dir / SECRET_KEY_FILE
    if not is_first_start and not path.exists():
        _log.warning(
            "%s is missing, so a new key is made: calls of handlers with secrets get 503, and former status URLs 404."
            " Restore the file, or set TUTUMD_SECRET_KEY, and start again",
            path,
        )
    try:
        return SecretCipher([read_or_create(path, make_key)])
    except OSError as error:
        raise SettingsError(
            f"the key for secrets {path} cannot be used: {error.strerror}; set TUTUMD_SECRET_KEY instead"
        ) from error
    except SettingsError as error:
        raise SettingsError(f"{path}: {error}") from None
