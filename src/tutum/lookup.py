"""Finds the object that a person means by a UUID, the start of a UUID, or a name."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TypeVar

from tutum.action import Action
from tutum.client import Client
from tutum.container import Container
from tutum.errors import NonUniqueIdentifier, ObjectNotFound
from tutum.handler import Handler
from tutum.redaction import shorten
from tutum.resource import Resource
from tutum.service import Service

_UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.IGNORECASE)
_UUID_START = re.compile(r"[0-9a-f][0-9a-f-]{0,34}", re.IGNORECASE)

Found = TypeVar("Found", bound=Resource)


class Utils:
    """The old SDK's functions that find one object."""

    @staticmethod
    def fetch_remote_service(identifier: str, *, client: Client | None = None) -> Service:
        """Find a service.

        Args:
            identifier: UUID, name, or start of the UUID, tried in this order.

        Raises:
            ObjectNotFound: There is none.
            NonUniqueIdentifier: There are several; the text names their UUIDs.
        """
        return _find(Service, identifier, client, named=True)

    @staticmethod
    def fetch_remote_container(identifier: str, *, client: Client | None = None) -> Container:
        """Find a container, as `fetch_remote_service` finds a service."""
        return _find(Container, identifier, client, named=True)

    @staticmethod
    def fetch_remote_action(identifier: str, *, client: Client | None = None) -> Action:
        """Find an action by its UUID or the start of it.

        Raises:
            ObjectNotFound: There is none.
            NonUniqueIdentifier: There are several; the text names their UUIDs.
        """
        return _find(Action, identifier, client, named=False)


def _find(kind: type[Found], identifier: str, client: Client | None, *, named: bool) -> Found:
    noun = kind.__name__.lower()
    if _UUID.fullmatch(identifier):
        try:
            return kind.fetch(identifier.lower(), client=client)
        except ObjectNotFound as error:
            raise ObjectNotFound(f"no {noun} has the UUID {identifier}", status=error.status) from error
    found: list[Found] = []
    if named and identifier:
        found = kind.list(client=client, name=identifier)
    if not found and _UUID_START.fullmatch(identifier):
        found = kind.list(client=client, uuid__startswith=identifier.lower())
    if not found:
        raise ObjectNotFound(f"no {noun} has the name or UUID {identifier!r}")
    if len(found) > 1:
        uuids = ", ".join(one.uuid for one in found)
        raise NonUniqueIdentifier(f"{len(found)} {noun}s match {identifier!r}, name one by its UUID: {uuids}")
    return found[0]


def find_handler(handlers: Sequence[Handler], identifier: str) -> Handler:
    """Return the one handler with this UUID, name, or start of the UUID, tried in this order.

    Raises:
        ObjectNotFound: There is none.
        NonUniqueIdentifier: There are several; the text shows the first 8 characters of their UUIDs.
    """
    wanted = identifier.lower()
    by_uuid = [handler for handler in handlers if handler.uuid.lower() == wanted]
    by_name = [handler for handler in handlers if handler.name == identifier]
    by_start = [handler for handler in handlers if handler.uuid.lower().startswith(wanted)]
    for found in (by_uuid, by_name, by_start) if identifier else ():
        if len(found) > 1:
            shown = ", ".join(f"{shorten(one.uuid)} ({one.operation} {one.name})".replace(" )", ")") for one in found)
            raise NonUniqueIdentifier(
                f"{len(found)} webhook handlers match {shorten_if_uuid(identifier)!r}, name one by its UUID: {shown}"
            )
        if found:
            return found[0]
    raise ObjectNotFound(f"no webhook handler of this service has the name or UUID {shorten_if_uuid(identifier)!r}")


def shorten_if_uuid(identifier: str) -> str:
    """Return `identifier`, cut to eight characters if it looks like a handler's UUID."""
    return shorten(identifier) if _UUID_START.fullmatch(identifier) or _UUID.fullmatch(identifier) else identifier
