"""An issuer of identity tokens for tests: its keys, and tokens that it signs, or that somebody forged."""

import base64
import json
from collections.abc import Mapping
from datetime import UTC, datetime
from functools import cache
from typing import Any

from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from jwt import PyJWK, algorithms, encode

from tutumd.application.admission.identity import KeyFault, KeyLookup

ISSUER = "https://token.actions.githubusercontent.com"
AUDIENCE = "https://tutum.example.com"
NOW = datetime(2026, 1, 1, tzinfo=UTC)


@cache
def private_key(algorithm: str = "RS256") -> Any:
    """Return a private key for an algorithm."""
    curves: dict[str, ec.EllipticCurve] = {"ES256": ec.SECP256R1(), "ES384": ec.SECP384R1(), "ES512": ec.SECP521R1()}
    if algorithm in curves:
        return ec.generate_private_key(curves[algorithm])
    return ed25519.Ed25519PrivateKey.generate() if algorithm == "EdDSA" else rsa.generate_private_key(65537, 2048)


def public_jwk(algorithm: str = "RS256", **fields: str) -> dict[str, Any]:
    """Return the public key for an algorithm as a JSON Web Key."""
    to_jwk = algorithms.get_default_algorithms()[algorithm].to_jwk
    key: dict[str, Any] = to_jwk(private_key(algorithm).public_key(), as_dict=True)
    return {**key, "alg": algorithm, "kid": algorithm, **fields}


class IssuerKeys:
    """The keys of one issuer, as the call path finds them.

    `asked` counts the look-ups, `refreshed_for` has the URLs of requests for newer keys, which find `newer`.
    """

    def __init__(self, *keys: Mapping[str, Any], url: str = ISSUER) -> None:
        self.keys = {key["kid"]: PyJWK(dict(key)) for key in keys or (public_jwk(),)}
        self.newer: dict[str, PyJWK] = {}
        self.url, self.asked, self.refreshed_for = url, 0, list[str]()

    def find(self, url: str, kid: str) -> PyJWK | KeyFault:
        """Return a key by its ID."""
        self.asked += 1
        return self.keys.get(kid, KeyFault.UNKNOWN_KID) if url == self.url else KeyFault.MISSING_KEYS

    def loaded(self) -> KeyLookup:
        """Return the function that finds keys."""
        return self.find

    async def refreshed(self, url: str) -> None:
        """Use the newer keys."""
        self.refreshed_for.append(url)
        self.keys |= self.newer


def claims_of(now: datetime = NOW, **changes: Any) -> dict[str, Any]:
    """Return the claims of a job of GitHub Actions; None removes a claim."""
    issued = int(now.timestamp())
    claims = {
        "iss": ISSUER,
        "aud": AUDIENCE,
        "sub": "repo:me/shop:ref:refs/heads/main",
        "jti": "a8d1",
        "iat": issued,
        "nbf": issued - 600,
        "exp": issued + 300,
        "repository": "me/shop",
        "repository_id": "74",
        "ref": "refs/heads/main",
        "sha": "1f0d4a3c9e6b2d85c7a0f4e1b3d6a9c2e5f80714",
        "actor": "ada",
        "run_id": "123",
        "event_name": "push",
        "workflow_ref": "me/shop/.github/workflows/deploy.yml@refs/heads/main",
    } | changes
    return {name: value for name, value in claims.items() if value is not None}


def sign(claims: Mapping[str, Any], algorithm: str = "RS256", key: Any = None, **header: Any) -> str:
    """Return a token. `header` adds to its header."""
    return encode(dict(claims), key or private_key(algorithm), algorithm, headers={"kid": algorithm, **header})


def join(header: Any, claims: Any, signature: bytes = b"x" * 256) -> str:
    """Return a token with any header, claims and signature, unsigned."""
    parts = [each if isinstance(each, bytes) else json.dumps(each).encode() for each in (header, claims)]
    return ".".join(base64.urlsafe_b64encode(part).decode().rstrip("=") for part in (*parts, signature))
