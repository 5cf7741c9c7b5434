"""Work and its end wake other processes: those that the engine concerns, at once, and without polling."""

import asyncio
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, chdir, closing, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import pytest

from tests.support.stores import LEASE, ORIGIN, StoreBed, is_postgres, open_store
from tests.support.waiting import wait_until
from tutumd.errors import SettingsError
from tutumd.model import EngineInfo, Outcome, Reference, Verb
from tutumd.store.queue.queue import SqlQueue
from tutumd.store.sql.database import Database
from tutumd.store.sql.postgres_listener import Listener, database_clock
from tutumd.store.sql.wakeup import WakeSocket, Wakeup
from tutumd.store.store import SqlStore
from tutumd.web.call.long_poll import LongPoll

pytestmark = pytest.mark.dialect

LONG_S = 100.0
"""The interval of polling here: it does not make up for a wake-up that is lost."""


def now() -> datetime:
    return datetime.now(UTC)


@dataclass
class Process:
    """What one process has on a database."""

    wakeup: Wakeup
    queue: SqlQueue
    store: SqlStore
    is_postgres: bool

    def hear(self, topic: str) -> None:
        """Hear a topic from when this returns."""
        seen = self.count()
        self.wakeup.topics.add(topic)
        if self.is_postgres:
            wait_until(lambda: self.count() > seen, "it listens")

    def count(self) -> int:
        return self.wakeup.wait(0, 0)

    def is_woken(self, seen: int) -> bool:
        return self.wakeup.wait(seen, LONG_S) != seen


@contextmanager
def process(url: str) -> Iterator[Process]:
    """Open a database like another process."""
    database, wakeup = Database(url), Wakeup()
    with ExitStack() as stack:
        stack.callback(database.close)
        stack.callback(connect(database, wakeup))
        yield Process(wakeup, SqlQueue(database, now, wakeup), SqlStore(database, now, wakeup), is_postgres(database))


def connect(database: Database, wakeup: Wakeup) -> Callable[[], None]:
    if is_postgres(database):
        return Listener(database.url, wakeup, database_clock(database)).close
    return WakeSocket(folder_of(str(database.url.database)), wakeup).close


def folder_of(path: str) -> Path:
    return Path(path).with_suffix(".wake")


@pytest.fixture
def connected(bed: StoreBed) -> Iterator[StoreBed]:
    """The store of a process that others reach."""
    close = connect(bed.database, bed.queue._wakeup)
    yield bed
    close()


@pytest.mark.slow
def test_a_call_wakes_workers_of_its_engine_only(connected: StoreBed, database_url: str) -> None:
    handler = connected.handler("web")
    with process(database_url) as right, process(database_url) as wrong:
        right.hear("docker")
        wrong.hear("other")
        seen, unmoved = right.count(), wrong.count()
        connected.call(handler)
        assert right.is_woken(seen)
        if wrong.is_postgres:  # notifications arrive in their order; a socket receives all before it closes
            with connected.queue._wakeup.write(connected.database) as (_, woken):
                woken.add("other")
            assert wrong.is_woken(unmoved)
    assert wrong.count() == unmoved + wrong.is_postgres, "the call woke it, too"


def change_work(bed: StoreBed) -> Iterator[str]:
    """Do all that changes what a worker may do, and say what after each."""
    web = bed.service_uuid("web")
    action = bed.call(bed.handler("web"))
    yield "a call"
    held = bed.handler("db", debounce=60)
    bed.send(held, bed.evaluate(held, debounce_s=60))
    yield "a held call"
    bed.call(bed.handler("db"))
    yield "a call that makes an action due"
    bed.store.submit(bed.admin, web, Verb.START, target=None, origin=ORIGIN)
    yield "a submitted action"
    claim = bed.claimed()
    bed.queue.release(claim)
    yield "a released action"
    bed.store.cancel(bed.admin, action)
    yield "a canceled action"
    claim = bed.claimed()
    assert claim.action.uuid == action
    bed.queue.finish(claim, Outcome(success=False), None)
    yield "an ended action"
    bed.store.retry(bed.admin, action, ORIGIN)
    yield "a retried action"
    bed.claimed()
    bed.store.abandon(bed.admin, bed.claimed().action.uuid)
    yield "an abandoned action"
    bed.store.add_request(bed.store.service(bed.admin, web), "logs", {})
    yield "a request"


@pytest.mark.slow
def test_all_that_changes_work_wakes_workers(connected: StoreBed, database_url: str) -> None:
    with process(database_url) as worker:
        worker.hear("docker")
        seen = worker.count()
        for what in change_work(connected):
            assert worker.is_woken(seen), what
            seen = worker.count()


def test_an_end_and_a_response_wake_those_who_wait(connected: StoreBed, database_url: str) -> None:
    action = connected.call(connected.handler("web"))
    service = connected.store.service(connected.admin, connected.service_uuid("web"))
    with process(database_url) as edge:
        assert edge.store.wait_for_end(0, LONG_S) > 0, "an end before the first wait would be lost"
        if edge.is_postgres:
            wait_until(lambda: edge.count() > 1, "it listens")
        seen = edge.count()
        request = connected.store.add_request(service, "logs", {})
        connected.queue.save_response(request, {"logs": "x"})
        after_response = edge.store.wait_for_end(seen, LONG_S)
        assert after_response == seen + 1
        connected.store.cancel(connected.admin, action)
        assert edge.store.wait_for_end(after_response, LONG_S) != after_response


@pytest.mark.slow
def test_a_call_that_waits_is_answered_when_its_action_ends(connected: StoreBed, database_url: str) -> None:
    call = connected.accepted(connected.handler("web"))
    with process(database_url) as edge:
        edge.hear("*")
        poll = LongPoll(edge.store, poll_s=2 * LONG_S)

        async def wait() -> bool:
            waiting = asyncio.ensure_future(poll.wait_until_ended(Reference(call.handler_seq, call.action_seq), LONG_S))
            while not poll._waiting:
                await asyncio.sleep(0.01)
            await asyncio.to_thread(lambda: connected.finish(connected.claimed()))
            return (await waiting).is_ended

        assert asyncio.run(wait())


WORKER = "import sys; from tests.contract.store import test_wakeups; test_wakeups.work(*sys.argv[1:])"


def work(url: str, engine: str) -> None:
    """Claim in this process as soon as it is woken, and print each claim."""
    with process(url) as worker:
        worker.queue.register("child", [EngineInfo(name=engine, kind="docker", can_create=False)])
        worker.queue.wait(0)
        print("ready", flush=True)
        while True:
            began = time.monotonic()
            worker.queue.wait(LONG_S)
            if time.monotonic() - began >= LONG_S:
                print("nobody woke it", flush=True)
            claim = worker.queue.claim("child", [engine], lease=LEASE)
            print(claim.action.uuid if claim else "nothing", flush=True)


@contextmanager
def worker_process(url: str, engine: str = "docker") -> Iterator["subprocess.Popen[str]"]:
    child = subprocess.Popen([sys.executable, "-c", WORKER, url, engine], stdout=subprocess.PIPE, text=True)
    try:
        assert read_line(child) == "ready"
        yield child
    finally:
        child.kill()
        child.communicate()


def read_line(child: "subprocess.Popen[str]") -> str:
    assert child.stdout
    return child.stdout.readline().strip()


def test_a_url_to_listen_on_needs_postgresql(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="TUTUMD_LISTEN_URL needs a database on PostgreSQL"):
        Database(f"sqlite:///{tmp_path}/tutumd.db", "postgresql://db.example.com/tutumd")


@pytest.fixture
def sqlite(tmp_path: Path) -> Iterator[tuple[StoreBed, str, Path]]:
    """A store in a folder whose path is too long for an address, and the folder of sockets."""
    folder = tmp_path / ("long" * 30)
    folder.mkdir()
    url = f"sqlite:///{folder}/tutumd.db"
    with open_store(url) as bed:
        bed.show("web", "db")
        yield bed, url, folder_of(f"{folder}/tutumd.db")


def test_another_process_claims_without_polling(sqlite: tuple[StoreBed, str, Path]) -> None:
    bed, url, folder = sqlite
    close = connect(bed.database, bed.queue._wakeup)
    bed.clock.now = now()
    with worker_process(url) as child:
        assert all(path.stat().st_mode & 0o777 == 0o600 for path in folder.iterdir())
        assert bed.call(bed.handler("web")) == read_line(child)
        child.send_signal(signal.SIGSTOP)
        for _ in range(1000):  # more than its buffer takes
            bed.queue._wakeup.publish(["other"])
        action = bed.call(bed.handler("db"))
        child.send_signal(signal.SIGCONT)
        assert read_line(child) == action, "the wake-up was lost with the rest"
    assert len(list(folder.iterdir())) == 2, "a killed process leaves its socket"
    bed.queue._wakeup.publish(["other"])
    assert len(list(folder.iterdir())) == 1
    close()
    assert list(folder.iterdir()) == []


def test_files_of_others_are_kept(sqlite: tuple[StoreBed, str, Path]) -> None:
    bed, _, folder = sqlite
    folder.mkdir()
    (folder / "theirs").touch()
    connect(bed.database, Wakeup())()
    others = folder.rename(folder.with_name("others"))
    folder.symlink_to(others)
    connect(bed.database, Wakeup())()
    assert [path.name for path in others.iterdir()] == ["theirs"]


def test_without_sockets_calls_are_stored_and_work_is_found_by_polling(
    sqlite: tuple[StoreBed, str, Path], caplog: pytest.LogCaptureFixture
) -> None:
    bed, url, folder = sqlite
    folder.touch()
    close = connect(bed.database, bed.queue._wakeup)
    with process(url) as other:
        action = bed.call(bed.handler("web"))
        claim = other.queue.claim("worker", ["docker"], lease=LEASE)
        assert claim
        assert claim.action.uuid == action
    close()
    assert [record.getMessage().partition(":")[0] for record in caplog.records] == [f"no socket in {folder}"] * 2


def test_threads_that_publish_at_once_all_reach_the_others(sqlite: tuple[StoreBed, str, Path]) -> None:
    bed, _, folder = sqlite
    close = connect(bed.database, bed.queue._wakeup)
    received: set[bytes] = set()
    with closing(socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)) as other, ThreadPoolExecutor(5) as pool:
        with chdir(folder):
            other.bind("other")
            for number in range(500):  # so that a listing takes long
                Path(f".{number}").touch()

        def receive() -> None:
            while message := other.recv(1_000):
                received.add(message)

        def publish(thread: int) -> None:
            for number in range(20):
                topic = f"{thread} {number}"
                bed.queue._wakeup.publish([topic])
                wait_until(lambda sent=topic: sent.encode() in received, "it is received")  # type: ignore[misc] # early binding

        pool.submit(receive)
        try:
            for publishing in [pool.submit(publish, thread) for thread in range(4)]:
                publishing.result()
        finally:
            other.shutdown(socket.SHUT_RD)
    close()


def test_the_folder_of_sockets_is_private(sqlite: tuple[StoreBed, str, Path]) -> None:
    bed, _, folder = sqlite
    before = os.umask(0)
    try:
        close = connect(bed.database, Wakeup())
        assert folder.stat().st_mode & 0o777 == 0o700
        close()
    finally:
        os.umask(before)
