"""The key that stored secrets are encrypted with: from the settings, or a file in the data folder."""

import os
import tempfile
from pathlib import Path

from tutumd.application.admission.encryption import SecretCipher, make_key
from tutumd.errors import SettingsError
from tutumd.settings import Settings

FILE = "secret.key"
_REMEDY = "set TUTUMD_SECRET_KEY instead"


def load_cipher(settings: Settings) -> SecretCipher:
    """Get the cipher for secrets; the data folder is there.

    The setting may hold former keys after a comma. Without it the key is in `secret.key`, which is made once and
    which only its owner reads.

    Raises:
        SettingsError: The key is no key, or the file cannot be read or made. The text holds no key.
    """
    if settings.secret_key:
        return SecretCipher([key.strip() for key in settings.secret_key.split(",") if key.strip()])
    path = settings.data_dir / FILE
    try:
        if not path.exists():
            _make(path)
        return SecretCipher([path.read_text(encoding="ascii", errors="replace").strip()])
    except OSError as error:
        raise SettingsError(f"the key for secrets {path} cannot be used: {error.strerror}; {_REMEDY}") from error
    except SettingsError as error:
        raise SettingsError(f"{path}: {error}") from None


def _make(path: Path) -> None:
    """Make the file whole or not at all; where several processes start at once, the first one's key holds."""
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=FILE)  # made with mode 0600
    new = Path(name)
    try:
        with os.fdopen(handle, "w", encoding="ascii") as file:
            file.write(make_key() + "\n")
            file.flush()
            os.fsync(file.fileno())
        try:
            path.hardlink_to(new)
        except FileExistsError:
            pass
    finally:
        new.unlink()
