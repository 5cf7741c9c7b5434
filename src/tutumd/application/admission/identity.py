"""Identity tokens (OpenID Connect) of CI jobs: the checks, and who called by their claims."""

from enum import Enum
from typing import Protocol

from jwt import PyJWK

ALGORITHMS = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA")
"""A key with another algorithm, such as a symmetric one, verifies no token."""


class NoKey(Enum):
    """Why an issuer's key was not found.

    MISSING_KEYS: The issuer's keys were never fetched, or are too old.
    UNKNOWN_KID: None of the issuer's keys has this ID.
    """

    MISSING_KEYS = "missing"
    UNKNOWN_KID = "unknown"


class IssuerKeyLookup(Protocol):
    """The cached keys of issuers."""

    def find(self, url: str, kid: str) -> PyJWK | NoKey:
        """Return the key of an issuer by its ID. A token's algorithm must be the key's `algorithm_name`."""
