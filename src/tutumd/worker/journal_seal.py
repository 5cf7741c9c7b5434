"""Seals: a seal proves that a worker with the same key wrote a journal for this action of this service, or saw the
service run an image.
"""

import hmac
import json
from collections.abc import Mapping
from dataclasses import asdict, replace
from typing import TypeVar

from tutumd.model import Claim, Outcome, ServiceSnapshot
from tutumd.ports import LOST_JOURNAL

_FIELD = "seal"
_Seen = TypeVar("_Seen", Outcome, ServiceSnapshot)


class JournalSeal:
    """Seals journals and images with a key that only workers know, so that nobody else with access to the database can
    forge one.
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

    def sign_image(self, engine: str, selector: str, image_id: str) -> str:
        """Return the proof that a service ran an image, which only its ID names."""
        return self._digest(["image", engine, selector, image_id])

    def seal_image(self, engine: str, selector: str, seen: _Seen) -> _Seen:
        """Return an outcome or a snapshot whose image has its seal. An image with a digest needs none."""
        image = seen.image
        if image is None or image.digest or not image.image_id:
            return seen
        return replace(seen, image=replace(image, seal=self.sign_image(engine, selector, image.image_id)))

    def _sign(self, claim: Claim, journal: Mapping[str, object]) -> str:
        """Return the seal. It covers what is constant during a run: the service, and the inputs of the action."""
        action, service = claim.action, claim.service
        subject = (service.uuid, service.engine, service.selector)
        image = action.image and asdict(action.image)
        return self._digest([subject, (action.uuid, action.verb, action.tag, action.variables, image), journal])

    def _digest(self, content: object) -> str:
        return hmac.new(self._key, json.dumps(content, sort_keys=True).encode(), "sha256").hexdigest()
