"""The key that stored secrets are encrypted with: from the settings, or a file in the data folder."""

from tutumd.application.admission.encryption import SecretCipher, make_key
from tutumd.errors import SettingsError
from tutumd.main.key_files import read_or_create
from tutumd.settings import Settings

FILE = "secret.key"


def load_cipher(settings: Settings) -> SecretCipher:
    """Return the cipher of secrets. Without the setting, the key is in `secret.key`, which is made once.

    Raises:
        SettingsError: The key is not valid, or its file cannot be read or created. The text does not contain the key.
    """
    if settings.secret_key:
        return SecretCipher([key.strip() for key in settings.secret_key.split(",") if key.strip()])
    path = settings.data_dir / FILE
    try:
        return SecretCipher([read_or_create(path, make_key)])
    except OSError as error:
        raise SettingsError(
            f"the key for secrets {path} cannot be used: {error.strerror}; set TUTUMD_SECRET_KEY instead"
        ) from error
    except SettingsError as error:
        raise SettingsError(f"{path}: {error}") from None
