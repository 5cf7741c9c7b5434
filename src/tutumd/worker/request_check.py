"""Checks of requests that somebody else than tutumd may have written into the database."""

import hmac
import re
from collections.abc import Mapping
from dataclasses import replace

from tutumd.errors import EngineRefusedError
from tutumd.model import TAG, VARIABLE, Action, Service, Verb, WantedImage
from tutumd.worker.journal_seal import JournalSeal

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
