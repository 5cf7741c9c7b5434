"""Shared parts of all pages of handlers: the handler of an address, and the operations of a visitor on it."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from shlex import quote
from typing import Annotated, Any, ClassVar, TypeVar

from fastapi import Depends, Path, Request

from tutumd.application import handlers as rules
from tutumd.errors import ConflictError, NotFoundError
from tutumd.model import Delivery, DeliveryOutcome, Handler, Page, Query, Scope, Service, User
from tutumd.model.groups import GroupCall
from tutumd.web.auth import needs
from tutumd.web.context import WebContext, context, parse_uuid
from tutumd.web.pages.rendering import start_of_urls
from tutumd.web.pages.service_buttons import name_in_command
from tutumd.web.pages.visitors import require_visitor
from tutumd.web.uris import call_uri

BASE = "/service/{service_uuid}/handler/{number}/"
Number = Annotated[int, Path(ge=1, lt=2**31)]


class HandlerGoneError(Exception):
    """The service has no such handler: it was revoked, or never existed."""

    def __init__(self, service: Service) -> None:
        self.service = service


@dataclass(frozen=True, slots=True, kw_only=True)
class Found(ABC):
    """The subject of a page: a handler of a service, or a group as a handler.

    Attributes:
        kind: The word for the subject.
        watch: The address, below its page, of the page on which the first call arrives; empty if there is none.
        obstacle: Why no delivery can be redelivered here; empty if they can.
        words: The words that name it in commands, quoted for a shell: a handler's service, and its own name.
        place: The address of the subject's page, without the path of the public URL.
        crumbs: The pages above it: labels and addresses, without the path of the public URL.
        target: What a call redeploys, for sentences.
    """

    kind: ClassVar[str] = "handler"
    watch: ClassVar[str] = "connect/"
    obstacle: ClassVar[str] = ""

    request: Request
    visitor: User
    handler: Handler
    words: tuple[str, ...]
    place: str
    crumbs: Sequence[tuple[str, str]]
    target: str

    @property
    def web(self) -> WebContext:
        """The objects of the server."""
        return context(self.request)

    @property
    @abstractmethod
    def call_url(self) -> str:
        """The complete URL, which is a password: with the public URL, else with the visitor's address of the server."""

    def result(self, key: str) -> str:
        """Return the key of the sentence that a page shows after a button was pressed."""
        return key if self.kind == "handler" else f"{self.kind}-{key}"

    @property
    def values(self) -> dict[str, Any]:
        """The values for all templates of a handler."""
        name = self.handler.name or f"{self.kind} {self.handler.number}"
        crumbs = [*self.crumbs, (name, self.place)]
        return {
            "handler": self.handler,
            "name": name,
            "target": self.target,
            "kind": self.kind,
            "path": self.web.public_path + self.place,
            "watch": self.watch,
            "crumbs": [(label, self.web.public_path + address) for label, address in crumbs],
            "command": self.command,
            "may_call": self.visitor.may(Scope.CALL),
            "may_change": self.visitor.may(Scope.OPERATE),
        }

    def command(self, verb: str, *options: str) -> str:
        """Return a command. If the command does not name the subject, a comment says where to find the UUID."""
        words = [f"tutum webhook-{self.kind}", verb, *self.words, *options]
        if self.words[-1] == self.kind.upper():
            words += [" # its UUID is in:", words[0], "list", *self.words[:-1]]
        return " ".join(words)

    @abstractmethod
    def deliveries(
        self, limit: int, *, outcome: DeliveryOutcome | None = None, before: int | None = None
    ) -> tuple[Delivery, ...]:
        """Return the newest deliveries with a number below `before`."""

    def group_calls(self, delivery: Delivery) -> tuple[GroupCall, ...]:
        """Return the group call that a delivery has made, with those of the same transaction."""
        return ()

    @abstractmethod
    def delivery(self, number: int) -> Delivery:
        """Return a delivery with its content. Raises NotFoundError."""

    @abstractmethod
    def change(self, document: Mapping[str, Any]) -> None:
        """Change fields. Raises as `handlers.change` or `groups.change`."""

    @abstractmethod
    def rotate(self, grace_s: int) -> None:
        """Give it a new URL. Raises NotFoundError."""

    @abstractmethod
    def revoke(self) -> None:
        """Revoke it. Raises NotFoundError."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FoundHandler(Found):
    """The handler of a page's address, with its service."""

    service: Service

    @property
    def call_url(self) -> str:
        return start_of_urls(self.request) + call_uri(self.service.uuid, self.handler.uuid)

    def deliveries(
        self, limit: int, *, outcome: DeliveryOutcome | None = None, before: int | None = None
    ) -> tuple[Delivery, ...]:
        query = Query.newest(
            limit, service=self.service.uuid, handler=self.handler.number, outcome=outcome, number__lt=before
        )
        return self.web.store.deliveries(self.visitor, query).objects

    def delivery(self, number: int) -> Delivery:
        return self.web.store.delivery(self.visitor, self.service.uuid, self.handler.uuid, number)

    def change(self, document: Mapping[str, Any]) -> None:
        rules.change(
            self.web.store,
            self.visitor,
            self.service.uuid,
            self.handler.uuid,
            document,
            cipher=self.web.cipher,
            now=self.web.clock(),
            issuers=self.web.allowed_issuers,
            keeps_names_apart=True,
        )

    def rotate(self, grace_s: int) -> None:
        web = self.web
        rules.rotate(web.store, self.visitor, self.service.uuid, self.handler.uuid, grace_s, now=web.clock())

    def revoke(self) -> None:
        self.web.store.delete_handler(self.visitor, self.service.uuid, self.handler.uuid)


def find_handler(request: Request, visitor: User, number: int) -> FoundHandler:
    """Return a handler of the service of the address. Raises NotFoundError or HandlerGoneError."""
    store = context(request).store
    service = store.service(visitor, parse_uuid(request.path_params["service_uuid"]))
    try:
        handler = store.handler(visitor, service.uuid, number)
    except NotFoundError:
        raise HandlerGoneError(service) from None
    word = choose_word(handler.name or "", "HANDLER", lambda query: store.handlers(visitor, service.uuid, query))
    return FoundHandler(
        request=request,
        visitor=visitor,
        handler=handler,
        words=(quote(name_in_command(store, visitor, service)), word),
        place=f"/service/{service.uuid}/handler/{number}/",
        crumbs=[("Services", "/services/"), (service.full_name, f"/service/{service.uuid}/")],
        target=service.full_name,
        service=service,
    )


def choose_word(name: str, unknown: str, search: Callable[[Query], Page[Any]]) -> str:
    """Return a name, quoted for a shell; `unknown` if a command would mistake it for another name or an option."""
    if name.isprintable() and not name.startswith("-") and name.strip():
        return quote(name) if search(Query(filters={"name": name}, limit=1)).total == 1 else unknown
    return unknown


_F = TypeVar("_F", bound=Found)


def found_with(find: Callable[[Request, User, int], _F], scope: Scope) -> Callable[..., Iterator[_F]]:
    """Return the dependency of a route about a handler or a group that requires a scope.

    If the subject gets a new URL during the request, the request is refused.
    """

    def depend(
        request: Request, visitor: Annotated[User, Depends(needs(scope, require_visitor))], number: Number
    ) -> Iterator[_F]:
        found = find(request, visitor, number)
        try:
            yield found
        except NotFoundError:
            if find(request, visitor, number).handler.uuid != found.handler.uuid:
                raise ConflictError(
                    f"somebody gave this {found.kind} a new URL at the same moment, and what you did changed nothing:"
                    " go back, load the page again, and repeat it"
                ) from None
            raise

    return depend


ReadHandler = Annotated[FoundHandler, Depends(found_with(find_handler, Scope.READ))]
CalledHandler = Annotated[FoundHandler, Depends(found_with(find_handler, Scope.CALL))]
ChangedHandler = Annotated[FoundHandler, Depends(found_with(find_handler, Scope.OPERATE))]


def read_outcome(text: str) -> DeliveryOutcome | None:
    """Return the outcome in a page's address; None if there is none."""
    return DeliveryOutcome(text) if text in list(DeliveryOutcome) else None


def outcome_filters(address: str, chosen: DeliveryOutcome | None) -> list[tuple[str, str, None, bool]]:
    """Return the links that filter deliveries by outcome, as `ui.filters` takes them."""
    return [
        ("All", address, None, chosen is None),
        *((each.value, f"{address}?outcome={each.value}", None, each is chosen) for each in DeliveryOutcome),
    ]
