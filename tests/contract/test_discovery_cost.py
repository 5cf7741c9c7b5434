"""What discovery costs on a host with many containers, and that it misses nothing for that."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from threading import Event
from typing import cast

import pytest

from tests.bench.fake_docker import FakeDocker, container
from tests.contract.engines.verbs import watching
from tests.support.runs import SEAL
from tests.support.stores import open_store
from tests.support.waiting import wait_until
from tutumd.engines.docker.engine import DockerEngine
from tutumd.ports.queue import Queue
from tutumd.store.queue.queue import SqlQueue
from tutumd.worker.discover import Discovery


@pytest.fixture
def fake(tmp_path: Path) -> Iterator[FakeDocker]:
    engine = FakeDocker(tmp_path / "docker.sock", 50)
    yield engine
    engine.close()


@contextmanager
def opened(url: str) -> Iterator[DockerEngine]:
    engine = DockerEngine("docker", url, config_dir=None, server_cap=10)
    try:
        yield engine
    finally:
        engine.close()


@contextmanager
def watched(url: str) -> Iterator[tuple[DockerEngine, Event]]:
    """Open an engine and follow its events."""
    with opened(url) as engine, watching(engine) as changed:
        assert changed.wait(120)
        yield engine, changed


def asked(fake: FakeDocker, engine: DockerEngine) -> list[str]:
    """What one more look asks for, with numbers instead of IDs."""
    del fake.paths[:]
    engine.discover()
    return [path.replace("0" * 50, "") for path in fake.paths]


def names(engine: DockerEngine) -> set[str]:
    return {one.name for one in engine.discover()}


def test_only_what_an_event_is_about_is_looked_at_again(fake: FakeDocker) -> None:
    with watched(fake.url) as (engine, changed):
        assert len(asked(fake, engine)) == 1 + 50 + 1  # the list, each container, and the one image of them all
        assert asked(fake, engine) == ["/containers/json"]
        changed.clear()
        one = f"{7:064x}"
        fake.documents[one] = {**fake.documents[one], "Name": "/renamed"}
        fake.tell("rename", 7)
        assert changed.wait(120)
        assert asked(fake, engine) == ["/containers/json", "/containers/00000000000007/json"]
        assert {"renamed"} == names(engine) - {f"app-{number}" for number in range(1, 51)}


def test_new_and_removed_containers_show_by_the_list_even_without_an_event(fake: FakeDocker) -> None:
    with watched(fake.url) as (engine, _):
        assert "app-50" in names(engine)
        del fake.documents[f"{50:064x}"]
        fake.documents[f"{51:064x}"] = container(51)
        assert asked(fake, engine) == ["/containers/json", "/containers/00000000000033/json"]
        assert {"app-51"} == names(engine) - {f"app-{number}" for number in range(1, 50)}


def test_an_image_that_changed_is_looked_at_again_with_its_containers(fake: FakeDocker) -> None:
    with watched(fake.url) as (engine, changed):
        engine.discover()
        changed.clear()
        fake.tell("tag", 0, kind="image")
        assert changed.wait(120)
        assert len([path for path in asked(fake, engine) if path.startswith("/images/sha256:")]) == 1


def test_without_events_everything_is_looked_at(fake: FakeDocker) -> None:
    with opened(fake.url) as engine:
        assert len(asked(fake, engine)) >= 52
        assert len(asked(fake, engine)) == 52


def test_after_a_broken_connection_everything_is_looked_at_again(fake: FakeDocker) -> None:
    with opened(fake.url) as engine:
        for _ in range(2):
            with watching(engine) as changed:
                assert changed.wait(120)
                assert len(asked(fake, engine)) >= 52
                assert len(asked(fake, engine)) == 1


class AskedQueue:
    """Passes calls on to a queue, and counts the questions for the lease of a discovery."""

    def __init__(self, queue: SqlQueue) -> None:
        self.questions = 0
        self._queue = queue

    def __getattr__(self, name: str) -> object:
        self.questions += name == "lease_discovery"
        return getattr(self._queue, name)


@pytest.mark.slow
def test_of_three_workers_one_asks_the_engine(tmp_path: Path) -> None:
    with ExitStack() as stack:
        b = stack.enter_context(open_store(f"sqlite:///{tmp_path}/test.db"))
        # The same engine, once for each worker, so that it is known who asks.
        fakes = [FakeDocker(tmp_path / f"{number}.sock", 50) for number in range(3)]
        queues = [AskedQueue(b.queue) for _ in fakes]
        for number, (fake, queue) in enumerate(zip(fakes, queues, strict=True)):
            stack.callback(fake.close)
            engine = stack.enter_context(opened(fake.url))
            discovery = Discovery(f"worker {number}", engine, cast(Queue, queue), seal=SEAL)
            stack.callback(discovery.stop, 30)
            discovery.start()
        wait_until(lambda: all(queue.questions > 1 for queue in queues), "each has asked whether it may")
        wait_until(lambda: any("/containers/json" in fake.paths for fake in fakes), "one looks")
        (asked,) = (fake for fake in fakes if fake.paths)
        one = f"/containers/{7:064x}/json"
        wait_until(lambda: one in asked.paths, "it looks at each container")
        looks = asked.paths.count(one)
        asked.tell("rename", 7)
        wait_until(lambda: asked.paths.count(one) > looks, "an event is followed by another look")
        assert [bool(fake.paths) for fake in fakes].count(True) == 1
