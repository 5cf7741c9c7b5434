"""Encryption of stored secrets, with a key that is not in the database."""

import base64
import hashlib
import hmac
import secrets
from collections.abc import Sequence
from functools import cached_property
from typing import TYPE_CHECKING

from tutumd.errors import SettingsError

if TYPE_CHECKING:
    from cryptography.fernet import MultiFernet

_KEY_BYTES = 32
_KEY_ADVICE = "32 random bytes in base64, for example from: openssl rand -base64 32"


def make_key() -> str:
    """Return a new key for a SecretCipher."""
    return base64.urlsafe_b64encode(secrets.token_bytes(_KEY_BYTES)).decode()


class SecretCipher:
    """Encrypts and decrypts secrets (Fernet: AES-128-CBC with HMAC-SHA256)."""

    def __init__(self, keys: Sequence[str]) -> None:
        """Take the current key, followed by former keys, which only decrypt.

        Raises:
            SettingsError: There is no key, or a key is not 32 bytes in base64. The error text does not contain the key.
        """
        if not keys:
            raise SettingsError(f"there is no key for secrets: it must be {_KEY_ADVICE}")
        self._keys = [_normalized(key) for key in keys]
        self._first_key = keys[0].strip()

    def derive(self, purpose: str) -> bytes:
        """Return a secret of 32 bytes that is derived from the key: the same on every server with that key."""
        return hmac.digest(self._first_key.encode(), f"tutumd {purpose}".encode(), "sha256")

    @cached_property
    def _fernet(self) -> "MultiFernet":
        from cryptography.fernet import Fernet, MultiFernet  # 8 MB that a server without secrets does not need

        return MultiFernet(map(Fernet, self._keys))

    def encrypt(self, text: str) -> str:
        """Return the encrypted text for the database."""
        return self._fernet.encrypt(text.encode()).decode()

    def decrypt(self, encrypted: str) -> str:
        """Return the text that was encrypted. Raises SettingsError if no key fits."""
        from cryptography.fernet import InvalidToken

        try:
            return self._fernet.decrypt(encrypted).decode()
        except (InvalidToken, ValueError):
            raise SettingsError(
                "a stored secret was encrypted with another key: give that key in TUTUMD_SECRET_KEY (the same on every"
                " server of a database; former keys after a comma), or set the secrets of the handler again"
            ) from None


class PlaceholderCipher:
    """Replaces a SecretCipher if only the number of secrets counts, so that the key may be lost."""

    def decrypt(self, encrypted: str) -> str:
        """Return a text that differs for each secret and is valid for every preset, whatever the secret's length."""
        return "whsec_" + base64.b64encode(hashlib.sha256(encrypted.encode()).digest()).decode()


def decode_base64(text: str) -> bytes:
    """Return the bytes of a text in base64; none if it is not base64."""
    try:
        return base64.b64decode(text, validate=True)
    except ValueError:
        return b""


def _normalized(key: str) -> bytes:
    raw = decode_base64(key.strip().replace("-", "+").replace("_", "/"))
    if len(raw) != _KEY_BYTES:
        raise SettingsError(f"the key for secrets (TUTUMD_SECRET_KEY) must be {_KEY_ADVICE}")
    return base64.urlsafe_b64encode(raw)
