"""Who sees which entries of the audit log."""

from dataclasses import replace

import sqlalchemy as sa

from tests.contract.store.audit.changes import NEW
from tests.support.stores import StoreBed, snapshot
from tutumd.model import Access, AuditFilters, Scope, User, Via
from tutumd.store.tables.schema import metadata


def test_all_see_what_they_did_and_admins_what_everybody_did(bed: StoreBed, ann: User) -> None:
    bob = bed.store.add_user("bob", is_admin=False, by=ann)
    bed.show("web", "db", owner="bob")
    web, db = bed.service_uuid("web"), bed.service_uuid("db")
    for service in (web, db):
        bed.store.add_handlers(bob, service, [NEW])
    bed.store.add_handlers(replace(bob, access=Access(via=Via.COMMAND)), web, [NEW])

    def seen(viewer: User) -> set[tuple[str, str | None]]:
        return {(each.user_name, each.service_uuid) for each in bed.store.audit(viewer).entries}

    everything = {("the server", None), ("ann", None), ("bob", web), ("bob", db)}
    assert seen(bed.admin) == seen(ann) == everything
    assert seen(bob) == {("bob", web), ("bob", db)}
    assert len(bed.store.audit(bob).entries) == 2  # without what the user `bob` of the operating system did
    for scope in (Scope.READ, Scope.CALL, Scope.OPERATE):
        assert seen(replace(ann, access=Access(scope=scope))) == {("ann", None)}
    assert seen(replace(ann, access=Access(service_uuid=web))) == set()
    assert seen(replace(bob, access=Access(service_uuid=web))) == {("bob", web)}
    assert seen(replace(bob, access=Access(stack="shop"))) == set()
    bed.sync(replace(snapshot("web", owner="bob"), stack="shop"), snapshot("db", owner="bob"))
    for service in (web, db):
        bed.store.add_handlers(bob, service, [NEW])
    bed.show("web", "db", owner="bob")
    assert seen(replace(bob, access=Access(stack="shop"))) == {("bob", web)}  # as it was then
    assert seen(replace(bob, access=Access(stack="shop", service_uuid=db))) == set()


def test_a_namesake_of_a_removed_user_sees_nothing_of_theirs(bed: StoreBed) -> None:
    bed.show("web", owner="bob")
    bob = bed.store.add_user("bob", is_admin=False)
    bed.store.add_handlers(bob, bed.service_uuid("web"), [NEW])
    assert len(bed.store.audit(bob).entries) == 1
    bed.store.remove_user("bob")
    bed.clock.move(1)
    assert bed.store.audit(bed.store.add_user("bob", is_admin=False)).entries == ()


def test_members_cannot_tell_that_others_did_something(bed: StoreBed, ann: User) -> None:
    bob = replace(bed.store.add_user("bob", is_admin=False), access=Access(via=Via.API))
    with bed.database.write() as connection:
        connection.execute(
            sa.insert(metadata.tables["audit"]),
            [
                dict.fromkeys(("credential", "address", "user_agent", "details"), "")
                | {"at": bed.clock(), "user_name": "ann", "via": "api", "what": "handler created"}
                | {"service_name": "shop/web", "stack": "shop"}
            ]
            * 1_100,
        )
    for filters in (
        AuditFilters(service_name="shop/web"),
        AuditFilters(stack="shop"),
        AuditFilters(user_name="ann"),
        AuditFilters(what="handler created"),
        AuditFilters(via=Via.API),
        AuditFilters(since=bed.clock(), until=bed.clock()),
    ):
        page = bed.store.audit(bob, filters)
        assert (page.entries, page.next) == ((), None), filters
