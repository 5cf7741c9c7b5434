"""Processes that write to one SQLite database: each gets its turn, whatever becomes of the others."""

import fcntl
import os
import shutil
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

import pytest
import sqlalchemy as sa

from tests.support.stores import open_store
from tests.support.waiting import wait_until
from tests.support.writers import Writer, writer
from tutumd.errors import UnavailableError
from tutumd.store.sql import sqlite
from tutumd.store.sql.database import Database
from tutumd.store.sql.dialect import BUSY_TIMEOUT_S
from tutumd.store.sql.faults import explain

INSERT = sa.text("INSERT INTO meta VALUES (hex(randomblob(16)), :writer)")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "data"


@pytest.fixture
def url(folder: Path) -> str:
    folder.mkdir()
    url = f"sqlite:///{folder / 'test.db'}"
    with open_store(url):
        return url


@pytest.fixture
def database(url: str) -> Iterator[Database]:
    opened = Database(url)
    yield opened
    opened.close()


@pytest.fixture
def other(url: str) -> Iterator[Writer]:
    """Another process that writes."""
    with writer(url) as process:
        yield process


def write(database: Database, name: str = "test") -> None:
    with database.write() as connection:
        connection.execute(INSERT, {"writer": name})


def write_often(database: Database, times: int) -> None:
    for _ in range(times):
        write(database)


def written(database: Database) -> list[str]:
    """Return who wrote, in their order."""
    with database.read() as connection:
        names = connection.execute(sa.text("SELECT value FROM meta WHERE length(key) = 32 ORDER BY rowid"))
        return list(names.scalars())


def is_written_by(database: Database, writers: int) -> list[str] | None:
    """Return who wrote if there are this many of them."""
    names = written(database)
    return names if len(set(names)) == writers else None


def is_held(folder: Path) -> bool:
    """Return whether somebody waits at the gate of a folder."""
    gate = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(gate, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(gate)
    return False


def wait_for_gate(folder: Path) -> None:
    """Wait until somebody waits at the gate of a folder. That nobody comes is for the test to find out."""
    with suppress(TimeoutError):
        wait_until(lambda: is_held(folder), "somebody waits at the gate", timeout_s=BUSY_TIMEOUT_S)


@contextmanager
def in_thread(run: Callable[[], object]) -> Iterator[None]:
    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield
    finally:
        thread.join(120)


def seconds(run: Callable[[], object]) -> float:
    began = time.monotonic()
    run()
    return time.monotonic() - began


def test_who_has_written_waits_for_those_who_waited_meanwhile(
    url: str, folder: Path, database: Database, other: Writer
) -> None:
    again = Database(url)
    begins = threading.Event()
    sa.event.listen(again._engine, "checkout", lambda *_: begins.set())
    for turn in range(1, 11):
        with ExitStack() as threads:
            with database.write() as connection:
                connection.execute(INSERT, {"writer": "first"})
                other.tell("begin")
                wait_for_gate(folder)
                begins.clear()
                threads.enter_context(in_thread(lambda: write(again, "again")))
                begins.wait(120)
            assert other.answer() == "began"
            assert other.ask("commit") == "committed"
        assert written(database) == ["first", "program", "again"] * turn
    again.close()


def test_a_process_that_gives_way_pauses_after_a_contested_write_for_as_long_as_the_write_took(
    folder: Path, database: Database, other: Writer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sqlite, "_LONGEST_PAUSE_S", 60)
    database.dialect.gives_way = True
    held: list[float] = []

    def hold() -> None:
        with database.write():
            held.append(time.monotonic())
            time.sleep(0.3)
            held.append(time.monotonic())

    assert other.ask("begin") == "began"
    with in_thread(hold):
        wait_for_gate(folder)
        assert other.ask("commit") == "committed"
    with database.write():
        began, ended = held
        assert time.monotonic() - ended >= ended - began


@pytest.mark.slow
@pytest.mark.parametrize("processes", [2, 3])
def test_processes_that_write_all_the_time_write_alike(url: str, database: Database, processes: int) -> None:
    with ExitStack() as started:
        writers = [started.enter_context(writer(url)) for _ in range(processes)]
        for each in writers:
            assert each.ask("flood") == "flooding"
        first = len(wait_until(lambda: is_written_by(database, processes), "all of them write"))
        rows = wait_until(lambda: (rows := written(database))[first + 1_000 :] and rows, "they write often")
        for each in writers:
            each.ask("")
    shares = Counter(rows[first:])
    assert min(shares.values()) > shares.total() / processes / 3, shares


@pytest.mark.slow
def test_a_stopped_writer_makes_others_fail_in_time_until_it_goes_on(database: Database, other: Writer) -> None:
    assert other.ask("begin") == "began"
    other.stop()
    for _ in range(2):
        with pytest.raises(UnavailableError) as raised:
            write(database)
        assert explain(raised.value)[0].startswith("another process holds its lock")
    other.go_on()
    assert other.ask("commit") == "committed"
    write(database)
    assert written(database) == ["program", "test"]


def test_a_process_that_is_stopped_while_it_waits_holds_up_nobody(
    folder: Path, database: Database, other: Writer
) -> None:
    with database.write() as connection:
        connection.execute(INSERT, {"writer": "test"})
        other.tell("begin")
        wait_for_gate(folder)
        other.stop()
    write(database)  # it learns that the gate is stuck
    assert seconds(lambda: write_often(database, 20)) < 20 * sqlite.GATE_TIMEOUT_S
    other.go_on()
    assert other.answer() == "began"
    assert other.ask("commit") == "committed"
    assert written(database) == ["test"] * 22 + ["program"]


def test_writers_meet_at_the_folder_that_was_restored(
    url: str, folder: Path, database: Database, other: Writer
) -> None:
    write(database)
    shutil.copytree(folder, folder.with_name("backup"))
    folder.rename(folder.with_name("former"))
    folder.with_name("backup").rename(folder)
    with pytest.raises(UnavailableError):
        write(database)
    assert other.ask("begin") == "began"
    with in_thread(lambda: write(database)):
        wait_for_gate(folder)
        assert other.ask("commit") == "committed"
    assert written(database) == ["test", "program", "test"]
