"""Issuers of identity tokens: which ones the server allows, and which claims of theirs bind an identity."""

import re
from collections.abc import Iterable, Mapping
from enum import StrEnum
from typing import Any, Protocol

from tutumd.application.admission.json_checks import quote
from tutumd.application.admission.verify import Verification
from tutumd.errors import InvalidInputError, about


class IssuerKind(StrEnum):
    """Whose claims the tokens of an issuer have."""

    GITHUB = "github"
    GITLAB = "gitlab"
    FORGEJO = "forgejo"
    OTHER = "other"


AllowedIssuers = Mapping[str, IssuerKind]
"""Kinds of the issuers of the setting `oidc_issuer`, by URL."""


class KeyFault(StrEnum):
    """Why there is no key for a token.

    MISSING_KEYS: No keys of the issuer were fetched within 24 hours: the call may succeed later.
    UNKNOWN_KID: The issuer has no such key, as far as is known.
    FORBIDDEN_ISSUER: The server does not allow the issuer any more.
    """

    MISSING_KEYS = "missing-keys"
    UNKNOWN_KID = "unknown-kid"
    FORBIDDEN_ISSUER = "forbidden-issuer"


class KeyLookup(Protocol):
    """Finds the keys of issuers. It waits for nothing, and any thread may call it."""

    def find(self, url: str, kid: str) -> Any:
        """Return a `jwt.PyJWK`, or a KeyFault. Without a `kid`, the issuer's only key."""


class IssuerKeyCache(KeyLookup, Protocol):
    """The keys of issuers in a web process."""

    def loaded(self) -> KeyLookup:
        """Return the lookup when the stored keys were read, for a thread that may wait."""

    async def refreshed(self, url: str) -> None:
        """Return after an issuer's keys were fetched again, or when that takes too long or was done recently."""


_REPOSITORY = ("repository", "repository_id", "repository_owner_id")
_BINDING = {
    IssuerKind.GITHUB: _REPOSITORY,
    IssuerKind.FORGEJO: _REPOSITORY,
    IssuerKind.GITLAB: ("project_path", "project_id"),
    IssuerKind.OTHER: ("sub",),
}
_WILDCARD = re.compile(r"[*?[]")


def read_issuers(settings: Iterable[str]) -> AllowedIssuers:
    """Return the issuers of the setting `oidc_issuer`, which are texts like `KIND=URL`."""
    pairs = (text.split("=", 1) for text in settings)
    return {url: IssuerKind(kind) for kind, url in pairs}


def check_issuer(verification: Verification | None, allowed: AllowedIssuers) -> None:
    """Check that the server allows the issuer of a verification, and that its claims bind an identity.

    Other presets pass. Raises InvalidInputError.
    """
    if verification is None or verification.preset != "oidc":
        return
    with about("verify"):
        kind = allowed.get(verification.issuer)
        if kind is None:
            raise InvalidInputError(
                f"verify.issuer must be an issuer that the server allows (--oidc-issuer):"
                f" {', '.join(allowed) or 'none'}; got {quote(verification.issuer)}"
            )
        names, claims = _BINDING[kind], verification.claims
        if kind is IssuerKind.GITHUB and any(map(_WILDCARD.search, claims.get("sub", ()))):
            raise InvalidInputError(
                "verify.claims.sub of GitHub must have no wildcard, because GitHub changed the format of `sub` in 2026:"
                " use repository_id, which never changes"
            )
        if not any(name in claims and all(_binds(name, glob) for glob in claims[name]) for name in names):
            raise InvalidInputError(
                f"verify.claims must bind the caller by {' or '.join(names)}: otherwise anyone with an account at"
                f" {verification.issuer} could call. Before its first wildcard, a path needs an owner, such as me/*; an"
                " ID has no wildcard"
            )


def _binds(name: str, glob: str) -> bool:
    """Return whether values that match a glob belong to somebody whom the glob names."""
    wildcard = _WILDCARD.search(glob)
    start = glob[: wildcard.start()] if wildcard else glob
    if name in ("repository", "project_path"):
        return not start.startswith("/") and (wildcard is None or "/" in start)
    return bool(start) and (wildcard is None or name == "sub")
