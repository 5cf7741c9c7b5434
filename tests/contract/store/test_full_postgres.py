"""A PostgreSQL whose disk is full, and the causes of other faults."""

import os
from collections.abc import Iterator

import pytest
import sqlalchemy as sa

from tests.faults.databases import SqliteDisk
from tests.support.guards import lacking
from tests.support.postgres_bed import PostgresBed
from tests.support.stores import StoreBed, open_store
from tests.support.waiting import wait_until
from tutumd.errors import LockedError, ReadOnlyError, UnavailableError
from tutumd.model import Accepted, Operation
from tutumd.store.sql.faults import explain, translated_errors


@pytest.fixture
def disk(postgres_bed: PostgresBed) -> Iterator[SqliteDisk]:
    """A small disk that PostgreSQL may write."""
    folder = postgres_bed.folder / "small"
    folder.mkdir()
    made = SqliteDisk(folder)
    try:
        if not made.is_small:
            lacking("this needs root, to mount a small disk")
        owner = postgres_bed.folder.stat()
        for path in (folder, made.data):
            os.chown(path, owner.st_uid, owner.st_gid)
        yield made
    finally:
        made.close()
        made.data.rmdir()
        folder.rmdir()


@pytest.fixture
def bed(postgres_bed: PostgresBed, disk: SqliteDisk) -> Iterator[StoreBed]:
    url = postgres_bed.new_database()
    name = url.partition("@/")[2].partition("?")[0]
    postgres_bed.query(f"CREATE TABLESPACE small LOCATION '{disk.data}'")
    postgres_bed.query(f"ALTER DATABASE {name} SET TABLESPACE small")
    with open_store(url) as opened:
        opened.show("web")
        yield opened
    postgres_bed.query(f"DROP DATABASE {name} WITH (FORCE)")
    postgres_bed.query("DROP TABLESPACE small")


@pytest.mark.slow
def test_a_full_disk_of_postgresql_refuses_calls_only_until_there_is_room(bed: StoreBed, disk: SqliteDisk) -> None:
    handler = bed.handler("web", Operation.SCALEUP)
    disk.fill()
    accepted = 0
    while isinstance(result := bed.send(handler), Accepted):
        accepted += 1
        assert accepted < 10_000
    assert isinstance(result, UnavailableError)
    assert explain(result)[0] == "its disk is full: free some space"
    assert bed.intake.failing_s() is not None
    disk.free()
    wait_until(lambda: bed.intake.failing_s() is None, "the intake writes again by itself")
    bed.call(handler, 2)
    assert bed.queue.amounts(bed.claimed()) == (*[(1, None)] * accepted, (2, None))


def driver_error(kind: type[sa.exc.DBAPIError], text: str = "", **attributes: object) -> sa.exc.DBAPIError:
    return kind("", None, type("DriverError", (Exception,), attributes)(text))


@pytest.mark.parametrize(
    ("error", "raised", "cause"),
    [
        (driver_error(sa.exc.OperationalError, sqlstate="53100"), UnavailableError, "its disk is full"),
        (driver_error(sa.exc.OperationalError, sqlstate="53200"), UnavailableError, "it lacks memory"),
        (driver_error(sa.exc.OperationalError, sqlstate="57P03"), UnavailableError, "it is shutting down, starting"),
        (driver_error(sa.exc.OperationalError, sqlstate="55P03"), LockedError, "another process holds a lock"),
        (driver_error(sa.exc.InternalError, sqlstate="25006"), ReadOnlyError, "it is a read-only standby"),
        (driver_error(sa.exc.InternalError, sqlstate="XX001"), UnavailableError, "it is damaged"),
        (driver_error(sa.exc.ProgrammingError, sqlstate="42P01"), UnavailableError, "it lacks tables"),
        (driver_error(sa.exc.ProgrammingError, sqlstate="42501"), UnavailableError, "its user lacks rights"),
        (driver_error(sa.exc.OperationalError, "FATAL: too many clients"), UnavailableError, "it has no connection"),
        (driver_error(sa.exc.OperationalError, "what is this"), UnavailableError, "it cannot be reached"),
        (driver_error(sa.exc.OperationalError, sqlite_errorcode=266), UnavailableError, "its disk reports errors"),
        (driver_error(sa.exc.DatabaseError, sqlite_errorcode=267), UnavailableError, "it is damaged"),
    ],
)
def test_faults_of_a_database_are_explained(
    error: sa.exc.DBAPIError, raised: type[UnavailableError], cause: str
) -> None:
    with pytest.raises(raised) as caught, translated_errors():
        raise error
    assert explain(caught.value)[0].startswith(cause)


@pytest.mark.parametrize(
    "error",
    [
        driver_error(sa.exc.DataError, sqlstate="22021"),
        driver_error(sa.exc.IntegrityError, sqlstate="23505"),
        driver_error(sa.exc.OperationalError, sqlstate="54000"),
        driver_error(sa.exc.OperationalError, "no such function: x", sqlite_errorcode=1),
    ],
)
def test_errors_of_what_was_asked_are_no_faults_of_the_database(error: sa.exc.DBAPIError) -> None:
    with pytest.raises(sa.exc.DBAPIError), translated_errors():
        raise error
