"""Shared parts of all pages of groups: the group of an address, and the operations of a visitor on it."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from shlex import quote
from typing import Annotated, Any

from fastapi import Depends, Request

from tutumd.application import groups as rules
from tutumd.model import Delivery, DeliveryOutcome, Handler, Operation, Query, Scope, User
from tutumd.model.groups import Group, GroupCall
from tutumd.web.auth import needs
from tutumd.web.context import context
from tutumd.web.messages.groups import describe_selector
from tutumd.web.pages.handler_routes import Found, Number
from tutumd.web.pages.rendering import start_of_urls
from tutumd.web.pages.visitors import require_visitor
from tutumd.web.uris import group_call_uri

BASE = "/groups/{group_number}/"
CRUMBS = [("Services", "/services/"), ("Groups", "/groups/")]


@dataclass(frozen=True, slots=True, kw_only=True)
class FoundGroup(Found):
    """The group of a page's address."""

    group: Group

    @property
    def place(self) -> str:
        return f"/groups/{self.group.number}/"

    @property
    def crumbs(self) -> list[tuple[str, str]]:
        return CRUMBS

    @property
    def call_url(self) -> str:
        return start_of_urls(self.request) + group_call_uri(self.group.uuid)

    @property
    def target(self) -> str:
        return describe_selector(self.group.selector)

    @property
    def kind(self) -> str:
        return "group"

    @property
    def watch(self) -> str:
        return ""

    @property
    def obstacle(self) -> str:
        return "let its sender send it again"

    def command(self, verb: str, *options: str) -> str:
        words = ["tutum webhook-group", verb, quote(self.group.name or "GROUP"), *options]
        if not self.group.name:
            words.append("  # its UUID is in: tutum webhook-group list")
        return "" if verb == "test" else " ".join(words)

    def deliveries(
        self, limit: int, *, outcome: DeliveryOutcome | None = None, before: int | None = None
    ) -> tuple[Delivery, ...]:
        query = Query.newest(limit, group=self.group.number, outcome=outcome, number__lt=before)
        return self.web.store.deliveries(self.visitor, query).objects

    def group_call(self, delivery: Delivery) -> GroupCall | None:
        return next(iter(self.web.store.group_calls(self.visitor, query_call(delivery)).objects), None)

    def delivery(self, number: int) -> Delivery:
        return self.web.store.group_delivery(self.visitor, self.group.number, number)

    def change(self, document: Mapping[str, Any]) -> None:
        """Change fields. Raises as `groups.change`."""
        web, uuid = self.web, self.group.uuid
        now, issuers = web.clock(), web.allowed_issuers
        rules.change(web.store, self.visitor, uuid, document, cipher=web.cipher, now=now, issuers=issuers)


def query_call(delivery: Delivery) -> Query:
    """Return the query for the call of a group that a delivery has made: both have the time of their transaction."""
    at = delivery.received
    return Query.newest(1, handler=delivery.handler_number, received__gte=at, received__lte=at)


def as_handler(group: Group) -> Handler:
    """Return a group as a handler, for the rules, forms and sentences that handlers and groups share."""
    return Handler(
        uuid=group.uuid,
        service_uuid="",
        name=group.name,
        operation=Operation.REDEPLOY,
        created=group.created,
        number=group.number,
        options=group.options,
        calls=group.calls,
        uses=group.uses,
        last_called=group.last_called,
        rotation=group.rotation,
    )


def find_group(request: Request, visitor: User, number: int) -> FoundGroup:
    """Return the group of an address. Raises NotFoundError."""
    group = context(request).store.group(visitor, number)
    return FoundGroup(request=request, visitor=visitor, handler=as_handler(group), group=group)


def _found_with(scope: Scope) -> Callable[..., FoundGroup]:
    """Return the dependency of a route about a group that requires a scope."""

    def find(
        request: Request, visitor: Annotated[User, Depends(needs(scope, require_visitor))], group_number: Number
    ) -> FoundGroup:
        return find_group(request, visitor, group_number)

    return find


ReadGroup = Annotated[FoundGroup, Depends(_found_with(Scope.READ))]
CalledGroup = Annotated[FoundGroup, Depends(_found_with(Scope.CALL))]
ChangedGroup = Annotated[FoundGroup, Depends(_found_with(Scope.OPERATE))]
