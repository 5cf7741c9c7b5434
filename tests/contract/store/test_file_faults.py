"""Files of a running SQLite database that are replaced, removed or damaged: nothing is accepted that is not kept."""

import os
import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest
import sqlalchemy as sa

from tests.support.stores import StoreBed
from tests.support.waiting import wait_until
from tutumd.errors import UnavailableError
from tutumd.model import Accepted, Handler, Operation
from tutumd.store.sql.faults import explain


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "test.db"


@pytest.fixture
def database_url(path: Path) -> str:
    return f"sqlite:///{path}"


@pytest.fixture
def handler(bed: StoreBed) -> Handler:
    handler = bed.handler("web", Operation.SCALEUP)
    bed.call(handler, 1)
    return handler


def back_up(path: Path, name: str = "backup.db") -> Path:
    """Copy the database as `sqlite3 FILE .backup` does."""
    backup = path.with_name(name)
    with closing(sqlite3.connect(path)) as source, closing(sqlite3.connect(backup)) as target:
        source.backup(target)
    return backup


def amounts(path: Path) -> list[int]:
    """Return what is stored in a database file, as a server that starts after a crash would read it."""
    copy = path.with_name("copy")
    shutil.rmtree(copy, ignore_errors=True)
    copy.mkdir()
    for file in path.parent.glob(f"{path.name}*"):
        shutil.copy(file, copy)
    with closing(sqlite3.connect(copy / path.name)) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        return [row[0] for row in connection.execute("SELECT amount FROM deliveries ORDER BY seq")]


def refusal(bed: StoreBed, handler: Handler, amount: int) -> str:
    """Call a handler, which must be refused, and return the cause that is logged."""
    result = bed.send(handler, amount=amount)
    assert isinstance(result, UnavailableError), result
    return explain(result)[0]


def test_no_call_is_accepted_into_a_file_that_was_replaced(bed: StoreBed, handler: Handler, path: Path) -> None:
    backup = back_up(path)
    bed.call(handler, 2)
    backup.replace(path)
    assert refusal(bed, handler, 3).startswith("its files were deleted or replaced")
    wait_until(lambda: isinstance(bed.send(handler, amount=4), Accepted), "calls are accepted by the restored file")
    bed.call(handler, 5)
    assert amounts(path)[0] == 1
    assert amounts(path)[-2:] == [4, 5]
    assert not {2, 3} & set(amounts(path))
    assert bed.queue.amounts(bed.claimed()) == ((1 + 4 + 5, None),)


def test_a_restored_file_is_used_once_all_readers_of_the_old_one_have_ended(
    bed: StoreBed, handler: Handler, path: Path
) -> None:
    backup = back_up(path)
    with bed.database.read() as reader:
        reader.execute(sa.text("SELECT count(*) FROM deliveries")).scalar()
        backup.replace(path)
        for amount in (2, 3):
            assert refusal(bed, handler, amount).startswith("its files were deleted or replaced")
        assert "nothing was changed" in str(bed.send(handler))
    wait_until(lambda: isinstance(bed.send(handler, amount=4), Accepted), "calls are accepted by the restored file")
    assert amounts(path)[0] == 1
    assert amounts(path)[-1] == 4


def test_calls_are_refused_while_the_file_is_away(bed: StoreBed, handler: Handler, path: Path) -> None:
    away = path.with_name("away")
    path.rename(away)
    for amount in (2, 3):
        assert refusal(bed, handler, amount).startswith("its files were deleted or replaced")
    assert not path.exists()
    away.rename(path)
    wait_until(lambda: isinstance(bed.send(handler, amount=4), Accepted), "calls are accepted when it is back")
    assert amounts(path)[0] == 1
    assert amounts(path)[-1] == 4


def test_no_database_is_created_in_place_of_one_that_was_deleted(bed: StoreBed, handler: Handler, path: Path) -> None:
    for file in path.parent.glob(f"{path.name}*"):
        file.unlink()
    for amount in (2, 3):
        assert refusal(bed, handler, amount).startswith("its files were deleted or replaced")
    with pytest.raises(UnavailableError):
        bed.store.engines()
    assert not list(path.parent.glob(f"{path.name}*"))
    assert bed.intake.failing_s() is not None


@pytest.mark.parametrize("suffix", ["-wal", "-shm"])
def test_calls_are_stored_though_files_beside_the_database_are_deleted(
    bed: StoreBed, handler: Handler, path: Path, suffix: str
) -> None:
    bed.call(handler, 2)
    path.with_name(f"{path.name}{suffix}").unlink()
    refusal(bed, handler, 3)
    wait_until(lambda: isinstance(bed.send(handler, amount=4), Accepted), "calls are accepted again")
    assert amounts(path)[:2] == [1, 2]
    assert amounts(path)[-1] == 4


def test_a_wal_that_was_restored_with_its_database_is_kept(
    bed: StoreBed, handler: Handler, path: Path, tmp_path: Path
) -> None:
    saved = tmp_path / "saved"
    saved.mkdir()
    for file in path.parent.glob(f"{path.name}*"):
        shutil.copy(file, saved)
    bed.call(handler, 2)
    for file in path.parent.glob(f"{path.name}*"):
        file.unlink()
    for file in saved.iterdir():
        shutil.copy(file, path.parent)
    assert refusal(bed, handler, 3).startswith("its files were deleted or replaced")
    wait_until(lambda: isinstance(bed.send(handler, amount=4), Accepted), "calls are accepted by the restored file")
    assert amounts(path) == [1, 4]


def test_a_damaged_page_refuses_calls_and_says_so(bed: StoreBed, handler: Handler, path: Path) -> None:
    with closing(sqlite3.connect(path)) as connection:
        (page,) = connection.execute("SELECT rootpage FROM sqlite_master WHERE name = 'deliveries'").fetchone()
        (size,) = connection.execute("PRAGMA page_size").fetchone()
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    bed.database.close()
    with path.open("r+b") as file:
        file.seek((page - 1) * size)
        file.write(os.urandom(size))
    with bed.database.write() as connection:  # makes all other connections read the damaged page, too
        connection.execute(sa.text("INSERT INTO meta VALUES ('changed', '')"))
    wait_until(lambda: not isinstance(bed.send(handler), Accepted), "a call reads the damaged page")
    assert refusal(bed, handler, 2).startswith("it is damaged: restore a backup")
    with pytest.raises(UnavailableError):
        bed.outcomes(handler)


def test_a_file_that_is_replaced_during_a_commit_has_not_accepted_the_call(
    bed: StoreBed, handler: Handler, path: Path
) -> None:
    backup = back_up(path)
    sa.event.listen(bed.database._engine, "commit", lambda _connection: backup.replace(path), once=True)
    result = bed.send(handler, amount=2)
    assert isinstance(result, UnavailableError)
    assert "look whether" in str(result)


@contextmanager
def another_application(path: Path) -> Iterator[sqlite3.Connection]:
    with closing(sqlite3.connect(path)) as connection:
        yield connection


def test_an_empty_database_in_place_of_ours_is_not_filled(bed: StoreBed, handler: Handler, path: Path) -> None:
    other = path.with_name("other.db")
    with another_application(other) as connection:
        connection.execute("CREATE TABLE notes (text)")
        connection.commit()
    other.replace(path)
    refusal(bed, handler, 2)
    wait_until(lambda: refusal(bed, handler, 3).startswith("it lacks tables"), "the other file is opened")
    with another_application(path) as connection:
        assert connection.execute("SELECT name FROM sqlite_master").fetchall() == [("notes",)]
