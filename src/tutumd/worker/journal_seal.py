"""Seals of journals: a seal proves that a worker with the same key wrote a journal for this action of this service."""

import hmac
import json
from collections.abc import Mapping

from tutumd.model import Claim
from tutumd.ports.engine import LOST_JOURNAL

_FIELD = "seal"


class JournalSeal:
    """Seals journals with a key that only workers know, so that nobody else with access to the database can forge
    one.
    """

    def __init__(self, key: bytes) -> None:
        self._key = key

    def close(self, claim: Claim, journal: Mapping[str, object]) -> dict[str, object]:
        """Return a journal with its seal. An empty journal needs no seal: it contains no information."""
        return {**journal, _FIELD: self._sign(claim, journal)} if journal else {}

    def open(self, claim: Claim) -> Mapping[str, object]:
        """Return the journal of a claim without its seal; `LOST_JOURNAL` if the seal is missing or does not fit."""
        stored: object = claim.journal
        if not stored:
            return {}
        if not isinstance(stored, Mapping):
            return LOST_JOURNAL
        journal = {name: value for name, value in stored.items() if name != _FIELD}
        is_genuine = hmac.compare_digest(str(stored.get(_FIELD)).encode(), self._sign(claim, journal).encode())
        return journal if is_genuine else LOST_JOURNAL

    def _sign(self, claim: Claim, journal: Mapping[str, object]) -> str:
        """Return the seal. It covers what is constant during a run: the service, and the inputs of the action."""
        action, service = claim.action, claim.service
        subject = (service.uuid, service.engine, service.selector)
        request = (action.uuid, action.verb, action.tag, action.variables)
        return hmac.new(
            self._key, json.dumps([subject, request, journal], sort_keys=True).encode(), "sha256"
        ).hexdigest()
