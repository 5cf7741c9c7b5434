"""Digests, which replace values that must not be stored or shown."""

import hashlib


def sha256_hex(text: str) -> str:
    """Return the SHA-256 of a text in 64 hexadecimal digits.

    Keys and tokens are looked up by this digest. They are long and random, so a plain hash is enough.
    """
    return hashlib.sha256(text.encode("utf-8", "surrogateescape")).hexdigest()
