"""Connecting a sender: the handler that fits it."""

import base64
import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from itertools import chain, count
from typing import Any

from tutumd.application.admission.fields import FIELDS
from tutumd.application.admission.json_checks import check_number, join_texts, split_texts
from tutumd.application.handlers import public_options
from tutumd.errors import InvalidInputError, about
from tutumd.model import Handler, Operation
from tutumd.web.messages.senders import Kind, Sender

DEFAULT_CAP = 10

_FIRING = "body.status == 'firing'"
_MAX_CAP = 10_000
_HARBOR_IMAGE = re.compile(r"(?!docker\.io/|ghcr\.io/|quay\.io/)[^/]*[.:][^/]*/(.+)")


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """The choices of a person for a sender.

    Attributes:
        patterns: Globs for branches or tags that count; of `Kind.ANY`: tags that a call may name.
        repository: Glob for the image's repository; empty for any.
        deploys_tag: Deploy the pushed tag, not the one that the service has.
        max_containers: Of SCALEUP.
        verifies: Accept only calls with the secret.
    """

    name: str
    kind: Kind
    patterns: tuple[str, ...] = ()
    repository: str = ""
    deploys_tag: bool = False
    operation: Operation = Operation.REDEPLOY
    max_containers: int = DEFAULT_CAP
    verifies: bool = False


def propose(sender: Sender, image: str, taken: Collection[str] = ()) -> Choice:
    """Return the default choice for a sender.

    Args:
        image: The service's.
        taken: Names of the service's other handlers: commands know a handler by its name only if it is the only one.
    """
    kind = sender.kinds[0]
    harbor = _HARBOR_IMAGE.fullmatch(image.partition("@")[0]) if sender.key == "harbor" else None
    return Choice(
        name=_find_name(sender.key, taken),
        kind=kind,
        patterns={Kind.BRANCH: ("main",), Kind.IMAGE: (find_tag(image),)}.get(kind, ()),
        repository=_without_tag(harbor[1]) if harbor else "",
        operation=sender.operations[0],
        verifies=sender.verify is not None,
    )


def write_choice(choice: Choice) -> dict[str, str]:
    """Return what the form of a choice holds. The inverse of `read_choice`."""
    return {
        "name": choice.name,
        "kind": choice.kind.value,
        "patterns": ", ".join(choice.patterns),
        "repository": choice.repository,
        "deploys_tag": "1" if choice.deploys_tag else "",
        "operation": choice.operation.value,
        "max_containers": str(choice.max_containers),
        "verifies": "1" if choice.verifies else "",
    }


def find_tag(image: str) -> str:
    """Return the tag that an image reference names, or `latest`."""
    return image.partition("@")[0].rpartition("/")[2].partition(":")[2] or "latest"


def read_choice(sender: Sender, sent: Mapping[str, str]) -> Choice:
    """Return the choice of a form whose fields have the names of a Choice's attributes.

    Raises:
        InvalidInputError: A value is missing or wrong.
    """
    kind = next((kind for kind in sender.kinds if kind.value == sent.get("kind")), sender.kinds[0])
    operation = next((each for each in sender.operations if each.value == sent.get("operation")), sender.operations[0])
    patterns = tuple(split_texts(sent.get("patterns", "")))
    if kind in (Kind.BRANCH, Kind.TAG, Kind.IMAGE) and not patterns:
        what = "branch" if kind is Kind.BRANCH else "tag"
        with about("patterns"):
            raise InvalidInputError(f"name the {what} that counts, such as {'main' if kind is Kind.BRANCH else 'v*'}")
    cap = sent.get("max_containers", "").strip() or str(DEFAULT_CAP)
    number = int(cap) if cap.isascii() and cap.isdecimal() and len(cap) <= 9 else cap
    with about("max_containers"):
        max_containers = check_number("max_containers", number, 1, _MAX_CAP)
    return Choice(
        name=sent.get("name", "").strip() or sender.key,
        kind=kind,
        patterns=patterns,
        repository=sent.get("repository", "").strip() if sender.names_repository else "",
        deploys_tag=bool(sent.get("deploys_tag")) and bool(sender.tag_source),
        operation=operation,
        max_containers=max_containers,
        verifies=bool(sent.get("verifies")) and sender.verify is not None,
    )


def make_document(sender: Sender, choice: Choice, secret: str) -> dict[str, Any]:
    """Return the JSON object from which to create the handler. `secret` is used if the choice verifies."""
    document: dict[str, Any] = {"name": choice.name, "operation": choice.operation.value}
    if choice.verifies and sender.verify is not None:
        document["verify"] = {**sender.verify, "secrets": [secret]}
    names = list(choice.patterns) if len(choice.patterns) != 1 else join_texts(choice.patterns)
    match choice.kind:
        case Kind.BRANCH:
            document["filter"] = {"preset": "branch", "branch": names}
        case Kind.TAG | Kind.IMAGE:
            repository = {"repository": choice.repository} if choice.repository else {}
            document["filter"] = {"preset": "tag", "tag": names, **repository}
        case Kind.ALERT:
            document["filter"] = _FIRING
    if choice.operation is Operation.SCALEUP:
        document["max_containers"] = choice.max_containers
    elif choice.deploys_tag:
        document["tag"] = {"allow": list(choice.patterns), "from": sender.tag_source}
    elif choice.kind is Kind.ANY and choice.patterns:
        document["tag"] = {"allow": list(choice.patterns)}
    return document


def _find_name(start: str, taken: Collection[str]) -> str:
    numbered = (f"{start}-{number}" for number in count(2))
    return next(name for name in chain([start], numbered) if name not in taken)


def _without_tag(repository: str) -> str:
    start, slash, last = repository.rpartition("/")
    return start + slash + last.partition(":")[0]


def make_secret(preset: str, random: bytes) -> str:
    """Return a secret for a preset of `verify`, of 32 random bytes."""
    if preset == "standard-webhooks":
        return "whsec_" + base64.b64encode(random).decode()
    return base64.urlsafe_b64encode(random).decode().rstrip("=")


def read_document(handler: Handler) -> dict[str, Any]:
    """Return a handler as the JSON object that creates it, without secrets."""
    options = {name: value for name, value in public_options(handler).items() if value != FIELDS[name].json_default}
    return {"name": handler.name or "", "operation": handler.operation.value, **options}
