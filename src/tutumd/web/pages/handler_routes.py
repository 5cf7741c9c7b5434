"""Shared parts of all pages of handlers and groups: the subject of an address, and what a visitor may do with it."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from shlex import quote
from typing import Annotated, Any

from fastapi import Depends, Path

from tutumd.application import handlers as rules
from tutumd.errors import ConflictError, NotFoundError
from tutumd.model import Delivery, DeliveryOutcome, Handler, Query, Scope
from tutumd.web.context import parse_uuid
from tutumd.web.messages.handlers import describe_selector
from tutumd.web.pages.rendering import start_of_urls
from tutumd.web.pages.visitors import Visit, visit_with
from tutumd.web.uris import call_uri

BASE = "/service/{uuid}/handler/{number}/"
GROUP_BASE = "/groups/{number}/"
Number = Annotated[int, Path(ge=1, lt=2**31)]


@dataclass(frozen=True, slots=True, kw_only=True)
class Found(Visit):
    """The subject of a page: a handler of a service, or a group.

    Attributes:
        words: The words that name it in commands, quoted for a shell: a handler's service, and its own name.
        place: The address of the subject's page, without the path of the public URL.
        crumbs: The pages above it: labels and addresses, without the path of the public URL.
        target: What a call redeploys, for sentences.
    """

    handler: Handler
    words: Sequence[str]
    place: str
    crumbs: Sequence[tuple[str, str]]
    target: str

    @property
    def kind(self) -> str:
        """The word for the subject."""
        return "handler" if self.handler.service_uuid else "group"

    @property
    def watch(self) -> str:
        """The address, below its page, of the page on which the first call arrives; empty if there is none."""
        return "connect/" if self.handler.service_uuid else ""

    @property
    def call_url(self) -> str:
        """The complete URL, which is a password: with the public URL, else with the visitor's address of the server."""
        return start_of_urls(self.request) + call_uri(self.handler.service_uuid, self.handler.uuid)

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
            "path": self.root + self.place,
            "watch": self.watch,
            "crumbs": [(label, self.root + address) for label, address in crumbs],
            "command": self.command,
            "may_call": self.user.may(Scope.CALL),
            "may_change": self.user.may(Scope.OPERATE),
        }

    def command(self, verb: str, *options: str) -> str:
        """Return a command. If the command does not name the subject, a comment says where to find the UUID."""
        words = [f"tutum webhook-{self.kind}", verb, *self.words, *options]
        if self.words[-1] == self.kind.upper():
            words += [" # its UUID is in:", words[0], "list", *self.words[:-1]]
        return " ".join(words)

    def deliveries(
        self, limit: int, *, outcome: DeliveryOutcome | None = None, before: int | None = None
    ) -> tuple[Delivery, ...]:
        """Return the newest deliveries with a number below `before`."""
        service_uuid, number = self.handler.service_uuid, self.handler.number
        subject = {"service": service_uuid, "handler": number} if service_uuid else {"group": number}
        query = Query.newest(limit, **subject, outcome=outcome, number__lt=before)
        return self.store.deliveries(self.user, query).objects

    def delivery(self, number: int) -> Delivery:
        """Return a delivery with its content. Raises NotFoundError."""
        return self.store.delivery(self.user, self.handler.service_uuid, self.handler.uuid, number)

    def change(self, document: Mapping[str, Any]) -> None:
        """Change fields. Raises as `handlers.change`."""
        rules.change(
            self.store,
            self.user,
            self.handler.service_uuid,
            self.handler.uuid,
            document,
            self.web.handler_fields,
            keeps_names_apart=True,
        )


def find_subject(visit: Visit, service_uuid: str, number: int) -> Found:
    """Return a handler of a service; without a service, a group. Raises NotFoundError."""
    store, visitor = visit.store, visit.user
    service = store.service(visitor, service_uuid) if service_uuid else None
    try:
        handler = store.handler(visitor, service_uuid, number)
    except NotFoundError:
        kind = "webhook handler" if service else "group"
        raise NotFoundError(f"this {kind} was revoked, or never was. Calls of its URL get a 404") from None
    name, word = handler.name or "", "HANDLER" if service else "GROUP"
    # A command would mistake other names for those of other handlers, or for options.
    is_clear = name.isprintable() and name.strip() and not name.startswith("-")
    if is_clear and store.handlers(visitor, service_uuid, Query(filters={"name": name}, limit=1)).total == 1:
        word = quote(name)
    words, place, crumbs = [word], f"/groups/{number}/", [("Services", "/services/"), ("Groups", "/groups/")]
    if service is not None:
        words.insert(0, quote(visit.name_in_command(service)))
        place = f"/service/{service.uuid}/handler/{number}/"
        crumbs = [("Services", "/services/"), (service.full_name, f"/service/{service.uuid}/")]
    return Found(
        request=visit.request,
        user=visitor,
        handler=handler,
        words=words,
        place=place,
        crumbs=crumbs,
        target=service.full_name if service else describe_selector(handler.selector),
    )


def _found_with(scope: Scope) -> Callable[..., Iterator[Found]]:
    """Return the dependency of a route about the handler or group of its address that requires a scope.

    If the subject gets a new URL during the request, the request is refused.
    """

    def depend(visit: Annotated[Visit, Depends(visit_with(scope))], number: Number) -> Iterator[Found]:
        service = visit.request.path_params.get("uuid")
        find = partial(find_subject, visit, parse_uuid(service) if service else "", number)
        found = find()
        try:
            yield found
        except NotFoundError:
            if find().handler.uuid != found.handler.uuid:
                raise ConflictError(
                    f"somebody gave this {found.kind} a new URL at the same moment, and what you did changed nothing:"
                    " go back, load the page again, and repeat it"
                ) from None
            raise

    return depend


ReadSubject = Annotated[Found, Depends(_found_with(Scope.READ))]
CalledSubject = Annotated[Found, Depends(_found_with(Scope.CALL))]
ChangedSubject = Annotated[Found, Depends(_found_with(Scope.OPERATE))]


def query_group_calls(delivery: Delivery) -> Query:
    """Return the query for the calls of a group in the transaction of a delivery, whose time they have."""
    at = delivery.received
    return Query.newest(20, handler=delivery.handler_number, received__gte=at, received__lte=at)


def read_outcome(text: str) -> DeliveryOutcome | None:
    """Return the outcome in a page's address; None if there is none."""
    return DeliveryOutcome(text) if text in list(DeliveryOutcome) else None


def outcome_filters(address: str, chosen: DeliveryOutcome | None) -> list[tuple[str, str, None, bool]]:
    """Return the links that filter deliveries by outcome, as `ui.filters` takes them."""
    return [
        ("All", address, None, chosen is None),
        *((each.value, f"{address}?outcome={each.value}", None, each is chosen) for each in DeliveryOutcome),
    ]
