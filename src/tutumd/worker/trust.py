"""Trust in the rows of the database: a seal proves that a worker with the same key wrote a journal for this action of
this service, or saw the service run an image. A check finds requests that no handler can make.
"""

import hmac
import json
import re
from collections.abc import Mapping
from dataclasses import asdict, replace
from typing import TypeVar

from tutumd.errors import EngineRefusedError
from tutumd.model import TAG, VARIABLE, Action, Claim, Outcome, Service, ServiceSnapshot, Verb, WantedImage
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


_UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_DIGEST = re.compile(r"(sha256:[0-9a-f]{64})?")
_SEAL = re.compile(r"[0-9a-f]{0,64}")


def check_request(action: Action) -> None:
    """Raise EngineRefusedError if an action has inputs that no handler can set.

    A tag with other characters could name another repository or a digest. A variable with another name, such as
    LD_PRELOAD, could run a command. The UUID becomes a part of the names of containers. Only a ROLLBACK has an image.
    """
    tag: object = action.tag
    variables: object = action.variables
    is_allowed = (
        _UUID.fullmatch(action.uuid)
        and (tag is None or (isinstance(tag, str) and TAG.fullmatch(tag)))
        and isinstance(variables, Mapping)
        and all(VARIABLE.fullmatch(name) for name in variables)
        and all(value is None or isinstance(value, str) for value in variables.values())
        and (action.image is not None) == (action.verb is Verb.ROLLBACK)
        and (action.image is None or _is_image(action.image))
    )
    if not is_allowed:
        raise EngineRefusedError(
            "refused: the tag, the image or a variable of this action is none that a webhook handler can set, so a "
            "program other than tutumd has written the action into the database; find out which, then call the handler "
            "again"
        )


def trusted_image(image: WantedImage, service: Service, seal: JournalSeal) -> WantedImage:
    """Return the image of a request, without its ID unless a worker has seen the service run that image.

    Raises:
        EngineRefusedError: Nothing is left that names an image.
    """
    if not _is_image(image):
        raise EngineRefusedError("refused: a program other than tutumd has written the image into the database")
    is_sealed = hmac.compare_digest(
        image.seal.encode(), seal.sign_image(service.engine, service.selector, image.image_id).encode()
    )
    if not image.digest and not is_sealed:
        raise EngineRefusedError(
            f"image #{image.number} has no digest, and no worker with this key has seen the service run it (see "
            "--worker-key-file): nothing was done"
        )
    return image if is_sealed else replace(image, image_id="")


def _is_image(image: WantedImage) -> bool:
    texts: tuple[object, ...] = (image.digest, image.image_id, image.seal)
    return (
        type(image.number) is int
        and all(isinstance(text, str) for text in texts)
        and bool(image.digest or image.image_id)
        and all(_DIGEST.fullmatch(each) for each in (image.digest, image.image_id))
        and bool(_SEAL.fullmatch(image.seal))
    )
