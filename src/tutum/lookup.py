"""Finds an object by its UUID, the start of the UUID, or its name; a service also by its stack or its containers."""

import difflib
import re
from collections.abc import Sequence
from itertools import islice
from typing import TypeVar

from tutum.action import Action
from tutum.client import Client, current_client
from tutum.errors import NonUniqueIdentifier, ObjectNotFound, TutumApiError
from tutum.redaction import shorten
from tutum.resource import Resource
from tutum.service import Container, Service
from tutum.webhook_handler import Handler

_UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.IGNORECASE)
_UUID_START = re.compile(r"[0-9a-f][0-9a-f-]{0,35}", re.IGNORECASE)

_MAX_NAMES = 1_000

Kind = TypeVar("Kind", bound=Resource)
Object = TypeVar("Object")


class Utils:
    """The lookup functions of the SDK of 2015, and `fetch_remote` for any kind of object."""

    @staticmethod
    def fetch_remote(kind: type[Kind], identifier: str, *, client: Client | None = None) -> Kind:
        """Return an object of a class such as `NotificationTarget`, by its UUID, name, or start of the UUID.

        Raises:
            ObjectNotFound: None matches.
            NonUniqueIdentifier: Several match; the text lists them, one per line.
        """
        noun = kind.noun()
        if _UUID.fullmatch(identifier):
            try:
                return kind.fetch(identifier.lower(), client=client)
            except ObjectNotFound as error:
                raise ObjectNotFound(f"no {noun} has the UUID {identifier}", status=error.status) from error
        matches = _list_matches(kind, identifier, client) if identifier else []
        if kind is Service and not matches and (outages := list_outages(client)):
            text = f"no service has the name or UUID {identifier!r}, and not all engines can be reached:"
            raise ObjectNotFound("\n  ".join([text, *outages]))
        return pick(matches, noun, identifier, () if matches else _list_names(kind, client))

    @staticmethod
    def fetch_remote_service(identifier: str, *, client: Client | None = None) -> Service:
        """Return a service.

        Args:
            identifier: UUID, name with or without the stack (such as shop/web), name of one of its containers, or start
                of the UUID, tried in this order. A service that is gone is found only if no other service matches.

        Raises:
            ObjectNotFound: None matches.
            NonUniqueIdentifier: Several match; the text lists them, one per line.
        """
        return Utils.fetch_remote(Service, identifier, client=client)

    @staticmethod
    def fetch_remote_container(identifier: str, *, client: Client | None = None) -> Container:
        """Return a container, by its UUID, name, or start of the UUID. Raises as `fetch_remote_service`."""
        return Utils.fetch_remote(Container, identifier, client=client)

    @staticmethod
    def fetch_remote_action(identifier: str, *, client: Client | None = None) -> Action:
        """Return an action, by its UUID or the start of it.

        Raises:
            ObjectNotFound: None matches.
            NonUniqueIdentifier: Several match; the text lists their UUIDs, one per line.
        """
        return Utils.fetch_remote(Action, identifier, client=client)


def _list_names(kind: type[Kind], client: Client | None) -> list[str]:
    if not hasattr(kind, "name"):
        return []
    some = list(islice(kind.iterate(client=client), _MAX_NAMES))
    return [name for each in some for name in {str(getattr(each, "name", "")), str(getattr(each, "shown_name", ""))}]


def list_outages(client: Client | None = None) -> list[str]:
    """Return a text for each engine that cannot be reached: what happened, and what to do. A server without a list of
    engines has none.
    """
    try:
        engines = list((client or current_client()).pages("engine"))
    except TutumApiError:
        return []
    return [
        " ".join(f"Engine {engine['name']}: {engine['reason']} {engine['remedy']}".split())
        for engine in engines
        if engine["state"] in ("away", "no worker")
    ]


def _list_matches(kind: type[Kind], identifier: str, client: Client | None) -> Sequence[Kind]:
    if issubclass(kind, Service):
        return kind.list(client=client, reference=identifier)
    matches = kind.list(client=client, name=identifier) if hasattr(kind, "name") else []
    if not matches and _UUID_START.fullmatch(identifier):
        matches = kind.list(client=client, uuid__startswith=identifier.lower())
    return matches


def find_handler(handlers: Sequence[Handler], identifier: str, noun: str = "webhook handler") -> Handler:
    """Return the handler or group with this UUID, name, or start of the UUID, tried in this order.

    Raises:
        ObjectNotFound: None matches.
        NonUniqueIdentifier: Several match; the text shows the first 8 characters of their UUIDs, one per line.
    """
    wanted = identifier.lower()
    by_uuid = [handler for handler in handlers if handler.uuid.lower() == wanted]
    by_name = [handler for handler in handlers if handler.name == identifier]
    by_start = [handler for handler in handlers if handler.uuid.lower().startswith(wanted)]
    matches = by_uuid or by_name or by_start if identifier else []
    # A text in the form of a UUID may be a handler's UUID, which is a password.
    shown = shorten(identifier) if _UUID_START.fullmatch(identifier) else identifier
    return pick(matches, noun, shown, [handler.name for handler in handlers])


def describe(match: object) -> str:
    """Return what distinguishes an object from others with its name: for a handler or group, only the start of its
    UUID.
    """
    if isinstance(match, Handler):
        dates = f"created {match.created_datetime}, last call: {match.last_called_datetime or 'none'}"
        return f"{match.uuid[:8]}  {match.get('operation', 'group')} {match.name}, {dates}"
    if isinstance(match, Service):
        return f"{match.uuid}  {match.shown_name} on {match.engine}"
    return str(getattr(match, "uuid", ""))


def pick(matches: Sequence[Object], noun: str, identifier: str, names: Sequence[str] = ()) -> Object:
    """Return the only match.

    Args:
        names: Names of existing objects. If there is no match, the error suggests the most similar one.

    Raises:
        ObjectNotFound: There is none.
        NonUniqueIdentifier: There are several; the text lists them, one per line.
    """
    if not matches:
        similar = difflib.get_close_matches(identifier, names, n=1)
        hint = f"; did you mean {similar[0]!r}?" if similar else ""
        raise ObjectNotFound(f"no {noun} has the name or UUID {identifier!r}{hint}")
    if len(matches) > 1:
        listed = "\n  ".join(describe(match).replace("\n", "?") for match in matches)  # no name adds a line
        raise NonUniqueIdentifier(
            f"{len(matches)} {noun}s match {identifier!r}; name one in full, or by its UUID:\n  {listed}"
        )
    return matches[0]
