"""Secrets at rest: encrypted with a key that is not in the database."""

import base64
import binascii
import hmac
from collections.abc import Sequence

from cryptography.fernet import Fernet, InvalidToken, MultiFernet

from tutumd.errors import SettingsError

_HOW_TO = "32 random bytes in base64, made for example by: openssl rand -base64 32"


def make_key() -> str:
    """Make a key for a SecretCipher."""
    return Fernet.generate_key().decode()


class SecretCipher:
    """Seals and opens secrets (Fernet: AES-128-CBC with HMAC-SHA256)."""

    def __init__(self, keys: Sequence[str]) -> None:
        """Take the key, and after it former ones that still open what they sealed.

        Raises:
            SettingsError: There is no key, or one is not 32 bytes in base64. The text does not hold it.
        """
        if not keys:
            raise SettingsError(f"there is no key for secrets: it must be {_HOW_TO}")
        self._fernet = MultiFernet([_fernet(key) for key in keys])
        self._first = keys[0].strip()

    def derive(self, purpose: str) -> bytes:
        """Derive another secret from the key; 32 bytes, the same wherever the key is."""
        return hmac.digest(self._first.encode(), f"tutumd {purpose}".encode(), "sha256")

    def encrypt(self, text: str) -> str:
        """Encrypt a text for the database."""
        return self._fernet.encrypt(text.encode()).decode()

    def decrypt(self, encrypted: str) -> str:
        """Decrypt what `seal` made. Raises SettingsError where no key fits."""
        try:
            return self._fernet.decrypt(encrypted).decode()
        except (InvalidToken, ValueError):
            raise SettingsError(
                "a stored secret was made with another key: give that key in TUTUMD_SECRET_KEY (the same on every"
                " server of a database; former keys after a comma), or set the secrets of the handler anew"
            ) from None


class PlaceholderCipher:
    """Stands in for a SecretCipher where only the number of secrets counts: opens none of them, whatever the key is."""

    def decrypt(self, encrypted: str) -> str:
        """Answer a text that is another for each secret, and right for every kind of them."""
        return "whsec_" + base64.b64encode(encrypted.encode()).decode()


def _fernet(key: str) -> Fernet:
    try:
        raw = base64.b64decode(key.strip().replace("-", "+").replace("_", "/"), validate=True)
    except (binascii.Error, ValueError):
        raw = b""
    if len(raw) != 32:
        raise SettingsError(f"the key for secrets (TUTUMD_SECRET_KEY) must be {_HOW_TO}")
    return Fernet(base64.urlsafe_b64encode(raw))
