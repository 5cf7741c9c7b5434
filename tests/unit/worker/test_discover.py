"""Discovery continues whatever is away: the engine, the database, or both."""

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from datetime import timedelta
from threading import Event
from typing import cast

import structlog.testing

from tests.support.runs import SEAL
from tests.support.stores import snapshot
from tests.support.waiting import wait_until
from tests.unit.worker.fakes import AWAY, FakeEngine, FakeQueue
from tutumd.errors import EngineRefusedError, EngineUnavailableError
from tutumd.model import ImageFacts
from tutumd.ports.engine import Engine, PartialDiscoveryError
from tutumd.ports.queue import Queue
from tutumd.worker.discover import Discovery, Pauses

SHORT = timedelta(seconds=0.2)
QUICK = Pauses(full_pass_s=1, beat_s=0.02, reconnect_s=0.02, shortest_s=0.02, longest_s=0.05, probe_s=0.02)
NO_FULL_PASS = replace(QUICK, full_pass_s=1e6)


@contextmanager
def discovering(
    engine: FakeEngine, queue: FakeQueue, lease: timedelta = timedelta(seconds=10), pauses: Pauses = QUICK
) -> Iterator[Discovery]:
    discovery = Discovery("worker", cast(Engine, engine), cast(Queue, queue), lease, pauses, seal=SEAL)
    discovery.start()
    try:
        yield discovery
    finally:
        discovery.stop(60)


def test_discovery_survives_an_engine_and_a_database_that_are_away_at_once() -> None:
    engine, queue = FakeEngine(), FakeQueue(error=AWAY)
    engine.discover_error = EngineUnavailableError("away")
    with discovering(engine, queue):
        wait_until(lambda: len(queue.leases) >= 2, "discovery is tried again after both were away")
        engine.discover_error = queue.error = None
        assert queue.synced.wait(120)


def test_an_image_without_a_digest_is_stored_with_a_seal() -> None:
    engine, queue = FakeEngine(), FakeQueue()
    engine.snapshot = replace(snapshot("web"), image=ImageFacts(image_id="sha256:1"))
    with discovering(engine, queue):
        wait_until(queue.synced.is_set, "it is stored")
    seal = SEAL.sign_image(engine.info.name, engine.snapshot.selector, "sha256:1")
    assert [each.image for each in queue.snapshots] == [ImageFacts(image_id="sha256:1", seal=seal)]


def test_a_look_that_could_not_be_stored_is_repeated_before_the_next_full_pass() -> None:
    engine, queue = FakeEngine(), FakeQueue()
    engine.watch_s = 60.0
    with discovering(engine, queue, pauses=NO_FULL_PASS) as discovery:
        wait_until(lambda: queue.synced.is_set() and engine.watches, "everything was looked at")
        queue.synced.clear()
        looks, queue.error = queue.looks, AWAY
        discovery.action_ended()
        wait_until(lambda: queue.looks > looks, "it is looked at again, in vain")
        queue.error = None
        assert queue.synced.wait(120)


def test_what_was_out_of_date_is_looked_at_again_before_the_next_full_pass() -> None:
    engine, queue = FakeEngine(), FakeQueue()
    queue.is_complete = False
    with discovering(engine, queue, pauses=NO_FULL_PASS):
        wait_until(lambda: engine.discoveries >= 4, "looked again")


def test_an_engine_that_refuses_to_be_watched_is_reported_once_and_discovered_all_the_same() -> None:
    engine, queue = FakeEngine(), FakeQueue()
    engine.watch_error = EngineRefusedError("missing permission: watch")
    with structlog.testing.capture_logs() as logged, discovering(engine, queue):
        wait_until(lambda: engine.watches == 2, "watching is tried once more")
        assert queue.synced.wait(120)
    assert engine.watches == 2
    (warning,) = (entry for entry in logged if entry["log_level"] == "warning")
    assert (warning["event"], warning["error"]) == ("engine cannot be watched", "missing permission: watch")


def test_services_that_can_be_read_are_stored_and_the_rest_is_reported() -> None:
    engine, queue = FakeEngine(), FakeQueue()
    engine.discover_error = PartialDiscoveryError("cannot list other", (), lambda selector: selector == "other")
    with discovering(engine, queue):
        wait_until(lambda: "cannot list other" in queue.engine_errors, "the error is stored")
    assert queue.is_unreadable("other")
    assert not queue.is_unreadable("web")


def test_an_engine_that_answers_but_cannot_be_read_is_reported_once_and_not_parked() -> None:
    engine, queue = FakeEngine(), FakeQueue()
    engine.discover_error = EngineUnavailableError("missing permission: list")
    with discovering(engine, queue):
        wait_until(lambda: engine.discoveries >= 3, "discovery is repeated")
        assert queue.engine_errors == ["missing permission: list"]


def test_an_engine_that_discovery_finds_away_is_parked_until_it_answers() -> None:
    engine, queue = FakeEngine(), FakeQueue()
    engine.probe_error = EngineUnavailableError("no answer")
    engine.discover_error = EngineUnavailableError("timed out")
    with discovering(engine, queue):
        wait_until(lambda: "no answer" in queue.engine_errors, "the engine is parked")
        engine.probe_error = engine.discover_error = None
        wait_until(lambda: queue.engine_errors[-1] == "", "the engine is open again")
        assert queue.wakes


def test_an_engine_that_is_parked_while_its_error_is_stored_stays_parked_in_the_store() -> None:
    engine, queue = FakeEngine(), FakeQueue()
    engine.discover_error = EngineUnavailableError("timed out")
    may_answer = Event()
    engine.when_probed = lambda: may_answer.wait(120)
    engine.probe_error = EngineUnavailableError("no answer")

    def store_slowly() -> None:
        queue.when_registering = lambda: None
        may_answer.set()
        with suppress(TimeoutError):
            wait_until(lambda: queue.engine_errors, "the other report overtakes this one", timeout_s=1)

    queue.when_registering = store_slowly
    with discovering(engine, queue):
        wait_until(lambda: len(queue.engine_errors) >= 2, "both are stored")
        assert queue.engine_errors == ["timed out", "no answer"]


def test_an_engine_that_another_worker_discovers_is_neither_asked_nor_followed() -> None:
    engine, queue = FakeEngine(), FakeQueue()
    queue.is_free = False
    with discovering(engine, queue, SHORT):
        wait_until(lambda: len(queue.leases) >= 2, "it asks for the lease")
        assert (engine.discoveries, engine.watches, queue.engine_errors) == (0, 0, [])
        queue.is_free = True
        assert queue.synced.wait(120)
        wait_until(lambda: engine.watches, "its events are followed")
        queue.is_free, asked = False, len(queue.leases)
        wait_until(lambda: len(queue.leases) > asked + 1, "it is left to the other worker")
        before = engine.discoveries, engine.watches
        wait_until(lambda: len(queue.leases) > asked + 3, "it asks again")
        assert (engine.discoveries, engine.watches) == before
    assert queue.leases[-1] == timedelta()


def test_a_lease_is_renewed_while_looks_succeed_and_taken_again_once_they_do() -> None:
    engine, queue = FakeEngine(), FakeQueue()
    with discovering(engine, queue, SHORT):
        wait_until(lambda: len(queue.leases) >= 2, "it is renewed")
        assert None not in queue.leases
        engine.discover_error = EngineUnavailableError("missing permission: list")
        before = engine.discoveries
        wait_until(lambda: engine.discoveries > before + 4, "looks fail, and this worker goes on")
        asked = len(queue.leases)
        wait_until(lambda: len(queue.leases) > asked + 1, "it is asked for again, since no other worker takes it")
        assert None in queue.leases
        engine.discover_error, asked = None, len(queue.leases)
        wait_until(lambda: any(queue.leases[asked:]), "it is taken again")


def test_a_stopped_worker_gives_its_lease_back_although_looks_fail() -> None:
    engine, queue = FakeEngine(), FakeQueue()
    engine.discover_error = ValueError("no look succeeds")
    with discovering(engine, queue, pauses=replace(QUICK, beat_s=0.5)):
        wait_until(lambda: engine.discoveries, "a look fails")
    assert queue.leases[-1] == timedelta()


def test_a_standby_that_cannot_reach_the_engine_does_not_begin_to_discover_it() -> None:
    engine, queue = FakeEngine(), FakeQueue()
    queue.is_free = False
    with discovering(engine, queue) as discovery:
        wait_until(lambda: queue.leases, "it asks for the lease")
        engine.probe_error = EngineUnavailableError("no route")
        discovery.parking.suspect("no route")
        wait_until(lambda: discovery.parking.reason, "the engine is parked")
        wait_until(lambda: engine.probes >= 3, "a question that had begun has ended")
        asked, probes, queue.is_free = len(queue.leases), engine.probes, True
        wait_until(lambda: engine.probes >= probes + 3, "some time goes by")
        assert (len(queue.leases), queue.engine_errors) == (asked, [])
        engine.probe_error = None
        assert queue.synced.wait(120)


def test_a_worker_that_cannot_reach_the_engine_from_the_start_reports_that() -> None:
    engine, queue = FakeEngine(), FakeQueue()
    engine.probe_error = engine.discover_error = EngineUnavailableError("no route")
    discovery = Discovery("worker", cast(Engine, engine), cast(Queue, queue), pauses=QUICK, seal=SEAL)
    discovery.parking.suspect("no route")  # as a run does that is quicker than the first look
    wait_until(lambda: discovery.parking.reason, "the engine is parked")
    discovery.start()
    try:
        wait_until(lambda: "no route" in queue.engine_errors, "the error is stored")
    finally:
        discovery.stop(60)
