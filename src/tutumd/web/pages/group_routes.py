"""Shared parts of all pages of groups: the group of an address, and the operations of a visitor on it."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar

from fastapi import Depends, Request

from tutumd.application import groups as rules
from tutumd.model import Delivery, DeliveryOutcome, Handler, Operation, Query, Scope, User
from tutumd.model.groups import Group, GroupCall
from tutumd.web.context import context
from tutumd.web.messages.groups import describe_selector
from tutumd.web.pages.handler_routes import Found, choose_word, find_handler, found_with
from tutumd.web.pages.rendering import start_of_urls
from tutumd.web.uris import group_call_uri

GROUP_BASE = "/groups/{number}/"
CRUMBS = [("Services", "/services/"), ("Groups", "/groups/")]


@dataclass(frozen=True, slots=True, kw_only=True)
class FoundGroup(Found):
    """The group of a page's address."""

    kind: ClassVar[str] = "group"
    watch: ClassVar[str] = ""
    obstacle: ClassVar[str] = "let its sender send it again"

    group: Group

    @property
    def call_url(self) -> str:
        return start_of_urls(self.request) + group_call_uri(self.group.uuid)

    def deliveries(
        self, limit: int, *, outcome: DeliveryOutcome | None = None, before: int | None = None
    ) -> tuple[Delivery, ...]:
        query = Query.newest(limit, group=self.group.number, outcome=outcome, number__lt=before)
        return self.web.store.deliveries(self.visitor, query).objects

    def group_calls(self, delivery: Delivery) -> tuple[GroupCall, ...]:
        made = delivery.outcome in (DeliveryOutcome.QUEUED, DeliveryOutcome.JOINED)
        return self.web.store.group_calls(self.visitor, query_calls(delivery)).objects if made else ()

    def delivery(self, number: int) -> Delivery:
        return self.web.store.group_delivery(self.visitor, self.group.number, number)

    def change(self, document: Mapping[str, Any]) -> None:
        web, uuid = self.web, self.group.uuid
        now, issuers = web.clock(), web.allowed_issuers
        rules.change(web.store, self.visitor, uuid, document, cipher=web.cipher, now=now, issuers=issuers)

    def rotate(self, grace_s: int) -> None:
        rules.rotate(self.web.store, self.visitor, self.group.uuid, grace_s, now=self.web.clock())

    def revoke(self) -> None:
        self.web.store.delete_group(self.visitor, self.group.uuid)


def query_calls(delivery: Delivery) -> Query:
    """Return the query for the calls of a group in the transaction of a delivery, whose time they have."""
    at = delivery.received
    return Query.newest(20, handler=delivery.handler_number, received__gte=at, received__lte=at)


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
    store = context(request).store
    group = store.group(visitor, number)
    word = choose_word(group.name or "", "GROUP", lambda query: store.groups(visitor, query))
    return FoundGroup(
        request=request,
        visitor=visitor,
        handler=as_handler(group),
        words=(word,),
        place=f"/groups/{number}/",
        crumbs=CRUMBS,
        target=describe_selector(group.selector),
        group=group,
    )


def find_subject(request: Request, visitor: User, number: int) -> Found:
    """Return the handler or the group of an address. Raises NotFoundError or HandlerGoneError."""
    find = find_handler if "service_uuid" in request.path_params else find_group
    return find(request, visitor, number)


ReadGroup = Annotated[FoundGroup, Depends(found_with(find_group, Scope.READ))]
ChangedGroup = Annotated[FoundGroup, Depends(found_with(find_group, Scope.OPERATE))]
ReadSubject = Annotated[Found, Depends(found_with(find_subject, Scope.READ))]
CalledSubject = Annotated[Found, Depends(found_with(find_subject, Scope.CALL))]
ChangedSubject = Annotated[Found, Depends(found_with(find_subject, Scope.OPERATE))]
