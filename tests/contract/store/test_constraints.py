"""What the database prevents whatever the code does, what is locked while calls are stored, and what is on disk."""

from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from tests.support.postgres_bed import PostgresBed
from tests.support.stores import ORIGIN, StoreBed, call, open_store
from tutumd.errors import LockedError, NotFoundError
from tutumd.model import ActionState, Handler, NewHandler, Verb
from tutumd.store.intake import action_inputs
from tutumd.store.intake.handler_lookup import find_handlers
from tutumd.store.objects.actions import insert_actions, new_action
from tutumd.store.queue.leases import claim_parameters, select_claimable
from tutumd.store.queue.snapshots import lock_services
from tutumd.store.sql.database import Database
from tutumd.store.tables.actions import actions
from tutumd.store.tables.schema import microseconds
from tutumd.store.tables.upgrade import upgrade

pytestmark = pytest.mark.dialect


def insert_action(bed: StoreBed, verb: Verb = Verb.REDEPLOY, **values: Any) -> None:
    """Insert an action of the service `web`, open unless told otherwise."""
    with bed.database.write() as connection:
        new = new_action(bed.service_uuid("web"), "docker", verb, origin=ORIGIN, now=bed.clock())
        insert_actions(connection, [new | values])


def test_no_second_action_of_a_service_can_be_in_progress(bed: StoreBed) -> None:
    running: dict[str, Any] = {"state": ActionState.IN_PROGRESS.value, "open": False}
    insert_action(bed, **running)
    with pytest.raises(sa.exc.IntegrityError):
        insert_action(bed, Verb.STOP, **running)
    insert_action(bed, Verb.STOP, open=False)


def test_no_second_action_of_an_operation_can_be_open(bed: StoreBed) -> None:
    insert_action(bed)
    with pytest.raises(sa.exc.IntegrityError):
        insert_action(bed)
    insert_action(bed, open=False)
    insert_action(bed, Verb.SCALEUP)


@pytest.mark.slow
def test_no_pending_action_is_found_while_its_service_is_busy(bed: StoreBed) -> None:
    handler = bed.handler("web")
    bed.call(handler)
    claim = bed.claimed()
    bed.call(handler)
    claimable = select_claimable(are_away=False), claim_parameters(["docker"], bed.clock(), bed.clock())
    with bed.database.read() as connection:
        assert connection.execute(*claimable).first() is None
    bed.finish(claim)
    with bed.database.read() as connection:
        assert connection.execute(*claimable).first() is not None


def test_an_action_is_not_deleted_while_its_amounts_are_read(postgres_bed: PostgresBed) -> None:
    with open_store(postgres_bed.new_database()) as bed:
        bed.show("web")
        insert_action(bed, Verb.SCALEUP, uuid="scaled")
        with bed.database.read() as reader:
            action_inputs.read(reader, "scaled")
            with pytest.raises(LockedError), bed.database.write() as connection:
                connection.execute(sa.text("SET LOCAL lock_timeout = '10ms'"))
                connection.execute(sa.delete(actions))


@pytest.mark.slow
def test_a_handler_is_not_revoked_between_its_lookup_and_the_commit_of_its_call(postgres_bed: PostgresBed) -> None:
    with open_store(postgres_bed.new_database()) as bed:
        bed.show("web")
        handler = bed.handler("web")
        with bed.database.write() as connection:
            lock_services(connection, [handler.service_uuid])
            assert find_handlers(connection, [call(handler).handler_path], microseconds(bed.clock()), None)
            with pytest.raises(LockedError):
                bed.store.delete_handler(bed.admin, handler.service_uuid, handler.uuid)
        bed.store.delete_handler(bed.admin, handler.service_uuid, handler.uuid)
        assert isinstance(bed.send(handler), NotFoundError)


@pytest.mark.slow
@pytest.mark.parametrize("key", [None, "key"])
def test_a_call_waits_for_whoever_has_its_service(postgres_bed: PostgresBed, key: str | None) -> None:
    with open_store(postgres_bed.new_database()) as bed:
        bed.show("web")
        handler = bed.handler("web")
        with bed.database.write() as connection:
            lock_services(connection, [handler.service_uuid])
            connection.execute(sa.select(1))  # which locks it
            assert isinstance(bed.send(handler, key=key), LockedError)
        assert bed.accepted(handler)


@pytest.mark.slow
def test_two_changes_of_a_handler_are_made_one_after_the_other(postgres_bed: PostgresBed) -> None:
    with open_store(postgres_bed.new_database()) as bed:
        bed.show("web")
        handler = bed.handler("web")

        def rename(present: Handler) -> NewHandler:
            with pytest.raises(LockedError):
                bed.store.rotate_handler(bed.admin, present.service_uuid, present.uuid, bed.clock())
            return NewHandler(operation=present.operation, name="renamed")

        changed = bed.store.change_handler(bed.admin, handler.service_uuid, handler.uuid, rename)
        assert (changed.uuid, changed.name) == (handler.uuid, "renamed")


@pytest.mark.parametrize("kind", ["write", "kept"])
def test_a_commit_to_sqlite_is_on_disk(tmp_path: Path, kind: str) -> None:
    database = Database(f"sqlite:///{tmp_path}/tutumd.db")
    upgrade(database)
    with closing(database), database.connect() as kept:
        with database.write(is_synced=False) as connection:  # and leaves the connection to the pool
            assert connection.execute(sa.text("PRAGMA synchronous")).scalar() == 1
        with database.write(kept if kind == "kept" else None) as connection:
            # 2 is FULL (SQLite: PRAGMA synchronous): a commit waits until the write-ahead log is on disk.
            assert connection.execute(sa.text("PRAGMA synchronous")).scalar() == 2
            assert connection.execute(sa.text("PRAGMA journal_mode")).scalar() == "wal"
