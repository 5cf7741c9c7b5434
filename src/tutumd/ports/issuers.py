"""The part of Store about issuers of identity tokens."""

from typing import Protocol

from tutumd.model.issuers import IssuerKeys


class Issuers(Protocol):
    """Issuers that handlers name. Each method is one transaction."""

    def issuer_keys(self, url: str) -> IssuerKeys | None:
        """Return the keys of an issuer; None if nothing has named it."""

    def want_keys(self, url: str) -> None:
        """Let a notifier fetch the keys of an issuer again."""
