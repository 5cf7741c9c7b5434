"""Credentials for one service or one stack: everything else answers as what does not exist."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime

import pytest

from tests.support.stores import ORIGIN, StoreBed, query, snapshot
from tutumd.errors import NOT_FOUND, NotFoundError
from tutumd.model import Access, Definition, NewHandler, Operation, Query, ServiceSnapshot, User, Verb

pytestmark = pytest.mark.dialect

STACKS = {"web": "shop", "db": "shop", "mail": "post"}
UNKNOWN = "00000000-0000-4000-8000-000000000000"
NEW = NewHandler(operation=Operation.REDEPLOY)


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """A service and what belongs to it."""

    service: str
    handler: str
    handler_number: int
    container: str
    action: str
    ended_action: str
    delivery: int


NOTHING = Part(
    service=UNKNOWN,
    handler=UNKNOWN,
    handler_number=2**40,
    container=UNKNOWN,
    action=UNKNOWN,
    ended_action=UNKNOWN,
    delivery=2**40,
)


@pytest.fixture
def shop(bed: StoreBed) -> StoreBed:
    """The services `web` and `db` of the stack `shop`, and `mail` of another one. They belong to ann."""
    bed.sync(*map(seen, STACKS))
    return bed


def seen(name: str) -> ServiceSnapshot:
    return replace(snapshot(name, owner="ann"), stack=STACKS[name])


def part(bed: StoreBed, name: str) -> Part:
    """Give a service a handler, a canceled action and a pending one."""
    handler = bed.handler(name)
    stopped = bed.store.submit(bed.admin, handler.service_uuid, Verb.STOP, target=None, origin=ORIGIN)
    bed.store.cancel(bed.admin, stopped.uuid)
    called = bed.call(handler)
    return Part(
        service=handler.service_uuid,
        handler=handler.uuid,
        handler_number=handler.number,
        container=bed.store.service(bed.admin, handler.service_uuid).containers[0],
        action=called,
        ended_action=stopped.uuid,
        delivery=bed.deliveries(handler)[0].number,
    )


def narrowed(user: User, *, service: str | None = None, stack: str | None = None) -> User:
    return replace(user, access=Access(service_uuid=service, stack=stack))


def attempts(bed: StoreBed, viewer: User, of: Part) -> Iterator[tuple[str, Callable[[], object]]]:
    """Yield everything that names an object of a service, harmless things first."""
    store = bed.store
    definition = Definition(command="true")
    yield "service", lambda: store.service(viewer, of.service)
    yield "container", lambda: store.container(viewer, of.container)
    yield "handlers", lambda: store.handlers(viewer, of.service, Query())
    yield "handler", lambda: store.handler(viewer, of.service, of.handler)
    yield "number", lambda: store.handler(viewer, of.service, of.handler_number)
    yield "action", lambda: store.action(viewer, of.action)
    yield "lines", lambda: store.log_lines(viewer, of.action, 0)
    yield "deliveries", lambda: store.deliveries(viewer, query(service=of.service))
    yield "calls", lambda: store.deliveries(viewer, query(action=of.action))
    yield "delivery", lambda: store.delivery(viewer, of.service, of.handler, of.delivery)
    yield "add", lambda: store.add_handlers(viewer, of.service, [NEW])
    yield "change", lambda: store.change_handler(viewer, of.service, of.handler, lambda _: NEW)
    yield "submit", lambda: store.submit(viewer, of.service, Verb.REDEPLOY, target=None, origin=ORIGIN)
    yield "update", lambda: store.update_service(viewer, of.service, definition=definition, image="")
    yield "cancel", lambda: store.cancel(viewer, of.action)
    yield "retry", lambda: store.retry(viewer, of.ended_action, ORIGIN)
    yield "delete", lambda: store.delete_handler(viewer, of.service, of.handler)


def lists(bed: StoreBed, viewer: User) -> dict[str, set[str]]:
    """Return what each list shows, by the UUIDs of services."""
    store = bed.store
    return {
        "services": {each.uuid for each in store.services(viewer, query()).objects},
        "containers": {each.service_uuid for each in store.containers(viewer, query()).objects},
        "actions": {each.service_uuid for each in store.actions(viewer, query()).objects},
        "unused": {each.service_uuid for each in store.unused_handlers(viewer, None, query()).objects},
    }


def refusal(attempt: Callable[[], object]) -> str:
    with pytest.raises(NotFoundError) as error:
        attempt()
    return str(error.value)


@pytest.mark.slow
@pytest.mark.parametrize("is_admin", [True, False], ids=["admin", "member"])
@pytest.mark.parametrize("limit", ["service", "stack"])
def test_a_narrow_key_finds_nothing_of_another_service(shop: StoreBed, limit: str, is_admin: bool) -> None:
    user = shop.store.add_user("ann", is_admin=is_admin)
    web, mail = part(shop, "web"), part(shop, "mail")
    viewer = narrowed(user, service=web.service) if limit == "service" else narrowed(user, stack="shop")
    for (name, foreign), (_, unknown) in zip(
        attempts(shop, viewer, mail), attempts(shop, viewer, NOTHING), strict=True
    ):
        assert refusal(foreign) == refusal(unknown) == NOT_FOUND, name
    # A handler of its own service is not found by another service's UUID, nor the other way round.
    for mixed in (replace(web, service=mail.service), replace(web, handler=mail.handler)):
        assert refusal(lambda mixed=mixed: shop.store.handler(viewer, mixed.service, mixed.handler)) == NOT_FOUND  # type: ignore[misc] # early binding
    found = shop.store.services(viewer, query(reference="mail"))
    assert (found.total, found.objects) == (0, ())
    assert shop.store.containers(viewer, query(service=mail.service)).total == 0
    assert shop.store.actions(viewer, query(object=mail.service)).total == 0


@pytest.mark.slow
@pytest.mark.parametrize("is_admin", [True, False], ids=["admin", "member"])
def test_lists_show_a_narrow_key_what_it_is_for(shop: StoreBed, is_admin: bool) -> None:
    user = shop.store.add_user("ann", is_admin=is_admin)
    web, db, mail = (part(shop, name).service for name in STACKS)
    for viewer, expected in (
        (user, {web, db, mail}),
        (narrowed(user, service=web), {web}),
        (narrowed(user, stack="shop"), {web, db}),
        (narrowed(user, service=web, stack="shop"), {web}),
        (narrowed(user, service=mail, stack="shop"), set()),
        (narrowed(user, service=UNKNOWN), set()),
    ):
        for name, shown in lists(shop, viewer).items():
            assert shown == expected, (name, viewer.access)


@pytest.mark.slow
def test_a_narrow_key_does_everything_with_its_service(shop: StoreBed) -> None:
    web = part(shop, "web")
    for viewer in (narrowed(shop.admin, service=web.service), narrowed(shop.admin, stack="shop")):
        for name, attempt in attempts(shop, viewer, web):
            if name not in ("cancel", "retry", "delete"):  # each is possible once
                assert attempt() is not None, name


def test_a_narrow_key_of_a_member_finds_nothing_that_is_not_the_members(shop: StoreBed) -> None:
    web = part(shop, "web")
    bob = User(uuid=UNKNOWN, name="bob", is_admin=False, created=datetime(2026, 1, 1, tzinfo=UTC))
    for name, attempt in attempts(shop, narrowed(bob, service=web.service), web):
        assert refusal(attempt) == NOT_FOUND, name
