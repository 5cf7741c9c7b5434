"""Groups beside rollbacks, removed users and services of several owners."""

from concurrent.futures import ThreadPoolExecutor

import pytest
import sqlalchemy as sa

from tests.contract.store.test_groups import add_group, call_of, send
from tests.support.stores import StoreBed, call, is_postgres, snapshot
from tests.support.waiting import wait_until
from tutumd.model import Handler, NewHandler, Operation
from tutumd.model.groups import GroupAccepted, GroupSelector, OnFailure, Sequence
from tutumd.store.tables.services import groups, handlers

pytestmark = pytest.mark.dialect


def test_a_repetition_after_a_rollback_of_its_batch_gets_the_same_call(bed: StoreBed) -> None:
    bed.show("web", "db", "cache")
    web, db = add_group(bed, "web"), add_group(bed, "db")
    first = call_of(web, key="x:1")
    one, _, two, other = send(bed, first, call(bed.handler("cache", Operation.ROLLBACK)), first, call_of(db))
    assert one == two
    assert isinstance(one, GroupAccepted)
    assert isinstance(other, GroupAccepted)
    assert one.number < other.number


def test_a_user_is_removed_while_an_intake_has_locked_a_group(bed: StoreBed) -> None:
    member = bed.store.add_user("ada", is_admin=False)
    bed.show("web", owner="ada")
    group = add_group(bed, "web", by=member)
    if not is_postgres(bed.database):
        return  # a transaction on SQLite is alone
    with ThreadPoolExecutor(1) as pool:
        with bed.database.write() as connection:
            connection.execute(sa.select(groups.c.handler_seq).with_for_update(key_share=True)).all()
            removed = pool.submit(bed.store.remove_user, "ada")
            wait_until(bed.is_waiting_for_a_lock, "the removal to wait")
            used = sa.update(handlers).where(handlers.c.seq == group.number).values(uses=1)
            assert connection.execute(used).rowcount == 1
        assert removed.result(60) == 1


@pytest.mark.parametrize("is_admins", [True, False])
def test_an_action_names_no_service_of_another_owner(bed: StoreBed, *, is_admins: bool) -> None:
    bed.sync(snapshot("db", owner="bob"), snapshot("web", owner="bob" if not is_admins else "ada"))
    uuids = tuple(map(bed.service_uuid, ("db", "web")))
    order = NewHandler(selector=GroupSelector(services=uuids), sequence=Sequence.LISTED, on_failure=OnFailure.CANCEL)
    group: Handler = bed.store.add_handlers(bed.admin, "", [order])[0]
    (result,) = send(bed, call_of(group))
    assert isinstance(result, GroupAccepted)
    web = result.lines[1].action_uuid
    name = "a service of another user" if is_admins else "db"
    (hold,) = bed.store.action(bed.admin, web).holds
    assert hold.reason.values == (name, str(result.number))
    bed.finish(bed.claimed(), success=False)
    assert bed.claim() is None
    assert bed.store.action(bed.admin, web).reason == f"{name} failed"
