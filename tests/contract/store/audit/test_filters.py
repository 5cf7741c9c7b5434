"""Pages of the audit log, and the filters that choose entries."""

from dataclasses import replace
from datetime import UTC, datetime

import pytest
import sqlalchemy as sa

from tests.contract.store.audit.changes import NEW, newest
from tests.support.stores import StoreBed
from tutumd.model import Access, AuditEntry, AuditFilters, User, Via
from tutumd.store.tables.schema import metadata

pytestmark = pytest.mark.dialect

DAYS = [datetime(2026, 1, day, tzinfo=UTC) for day in (10, 11, 12)]


@pytest.mark.slow
def test_the_log_is_read_in_pages(bed: StoreBed, ann: User) -> None:
    for _ in range(5):
        bed.store.add_handlers(ann, bed.service_uuid("web"), [NEW])
    whole = bed.store.audit(ann).entries
    assert [each.number for each in whole] == sorted((each.number for each in whole), reverse=True)
    pages: list[AuditEntry] = []
    while page := bed.store.audit(ann, before=pages[-1].number if pages else None, limit=2).entries:
        pages += page
        bed.store.add_handlers(ann, bed.service_uuid("web"), [NEW])  # changes no later page
    assert tuple(pages) == whole


@pytest.mark.slow
@pytest.mark.parametrize(
    ("filters", "wanted"),
    [
        (AuditFilters(), "abcde"),
        (AuditFilters(user_name="bob"), "bd"),
        (AuditFilters(what="handler revoked"), "cd"),
        (AuditFilters(via=Via.PAGE), "abc"),
        (AuditFilters(via=Via.API), "de"),
        (AuditFilters(service_name="shop/web"), "ac"),
        (AuditFilters(stack="shop"), "ac"),
        (AuditFilters(stack="other"), ""),
        (AuditFilters(since=DAYS[1]), "cde"),
        (AuditFilters(until=DAYS[1]), "ab"),
        (AuditFilters(since=DAYS[1], until=DAYS[2]), "cd"),
        (AuditFilters(since=DAYS[2], until=DAYS[1]), ""),
        (AuditFilters(user_name="ann", what="handler created", stack="shop", via=Via.PAGE, until=DAYS[1]), "a"),
        (AuditFilters(user_name="bob", what="handler created", since=DAYS[1]), ""),
    ],
)
def test_filters_choose_entries(bed: StoreBed, ann: User, filters: AuditFilters, wanted: str) -> None:
    bob = replace(bed.store.add_user("bob", is_admin=True), access=Access(via=Via.API))
    start = newest(bed).number
    web, db = bed.service_uuid("web"), bed.service_uuid("db")
    bed.clock.move((DAYS[0] - bed.clock()).total_seconds())
    (of_web,) = bed.store.add_handlers(ann, web, [NEW])  # a
    (of_db,) = bed.store.add_handlers(replace(bob, access=ann.access), db, [NEW])  # b
    bed.clock.move(86_400)
    bed.store.delete_handler(ann, web, of_web.uuid)  # c
    bed.store.delete_handler(bob, db, of_db.uuid)  # d
    bed.clock.move(86_400)
    bed.store.add_handlers(replace(ann, access=bob.access), db, [NEW])  # e
    found = bed.store.audit(ann, filters).entries
    assert "".join("abcde"[each.number - start - 1] for each in reversed(found) if each.number > start) == wanted
    of_bob = bed.store.audit(replace(bob, is_admin=False), filters).entries
    assert [each for each in found if each.user_name == "bob" and each.number > start] == list(of_bob)


def test_a_page_looks_through_so_many_entries_and_says_where_to_go_on(bed: StoreBed, ann: User) -> None:
    bed.store.add_handlers(ann, bed.service_uuid("web"), [NEW])
    columns = ", ".join(column.name for column in metadata.tables["audit"].c if column.name not in ("seq", "what"))
    with bed.database.write() as connection:
        connection.execute(
            sa.text(
                f"INSERT INTO audit (what, {columns}) WITH RECURSIVE numbers(i) AS (SELECT 1 UNION ALL SELECT i + 1"
                f" FROM numbers WHERE i < 4100) SELECT 'action retried', {columns} FROM numbers, audit"
                f" WHERE what = 'handler created'"
            )
        )
    both = AuditFilters(user_name="ann", what="handler created")
    assert len(bed.store.audit(ann, AuditFilters(what="handler created")).entries) == 1
    pages = [bed.store.audit(ann, both)]
    while (below := pages[-1].next) is not None:
        pages.append(bed.store.audit(ann, both, before=below))
    assert [len(page.entries) for page in pages] == [0, 0, 0, 0, 1]
