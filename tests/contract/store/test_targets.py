"""What was asked for is kept whatever an engine shows, and a look at an engine that is out of date changes nothing."""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from threading import Event
from typing import Any, cast

import pytest
import sqlalchemy as sa

from tests.support.runs import SEAL
from tests.support.stores import ENGINE, LEASE, ORIGIN, StoreBed, is_postgres, query, snapshot
from tests.support.waiting import wait_until
from tutumd.application import services
from tutumd.model import (
    Claim,
    ContainerSnapshot,
    ContainerState,
    Definition,
    EngineInfo,
    Outcome,
    Service,
    ServiceSnapshot,
    User,
    Verb,
)
from tutumd.ports.engine import Engine
from tutumd.store.queue.queue import SqlQueue
from tutumd.store.queue.snapshots import lock_services, raise_revision
from tutumd.store.sql.database import Database
from tutumd.store.sql.wakeup import Wakeup
from tutumd.store.store import SqlStore
from tutumd.worker.discover import Discovery

LOCAL = EngineInfo(name="local", kind="local", can_create=True)
DOCKER = "docker"


@pytest.fixture
def other_worker(bed: StoreBed, database_url: str) -> Iterator[SqlQueue]:
    """The queue of a worker on another machine."""
    database = Database(database_url)
    yield SqlQueue(database, bed.clock, Wakeup())
    database.close()


@pytest.fixture
def made(bed: StoreBed) -> Service:
    """A service that was created through tutumd, and is to have 60 containers."""
    bed.queue.register("worker", [LOCAL])
    definition = Definition(command="sleep 1")
    made = bed.store.create_service(
        bed.admin, engine="local", name="made", image="none", definition=definition, target=60
    )
    bed.store.submit(bed.admin, made.uuid, Verb.START, target=None, origin=ORIGIN)
    end(bed, claimed(bed), made, 60)
    return made


def shown(service: Service, target: int, *, stopped: bool = False) -> ServiceSnapshot:
    """What the engine shows of a created service."""
    running = ContainerSnapshot(id="c", name="made-1", state=ContainerState.RUNNING)
    return ServiceSnapshot(
        selector=service.selector, name="made", target=target, containers=(running,), stopped=stopped
    )


def claimed(bed: StoreBed, queue: SqlQueue | None = None) -> Claim:
    claim = (queue or bed.queue).claim("worker", ["local", "docker"], lease=LEASE)
    assert claim is not None
    return claim


def end(bed: StoreBed, claim: Claim, service: Service, target: int, *, success: bool = True) -> None:
    bed.queue.finish(claim, Outcome(success=success), shown(service, target))


@contextmanager
def counted_writes() -> Iterator[list[str]]:
    """Yield the changing statements that are executed while the block runs."""
    written: list[str] = []

    def note(_connection: object, _cursor: object, statement: str, *_: object) -> None:
        if statement.startswith(("INSERT", "UPDATE", "DELETE")):
            written.append(statement)

    sa.event.listen(sa.Engine, "before_cursor_execute", note)
    yield written
    sa.event.remove(sa.Engine, "before_cursor_execute", note)


def target_of(bed: StoreBed, service: Service) -> int:
    return bed.store.service(bed.admin, service.uuid).target


def test_a_redeploy_sees_what_a_scale_up_reached_though_an_older_look_is_stored_after_it(
    bed: StoreBed, made: Service
) -> None:
    bed.store.submit(bed.admin, made.uuid, Verb.SCALEUP, target=None, origin=ORIGIN)
    claim = claimed(bed)
    before = bed.queue.revisions("local")
    bed.queue.save_target(claim, 64)
    seen = shown(made, 60)
    end(bed, claim, made, 64)
    bed.queue.sync(LOCAL, [seen], revisions=before)
    bed.store.submit(bed.admin, made.uuid, Verb.REDEPLOY, target=None, origin=ORIGIN)
    assert claimed(bed).service.target == 64


def test_no_look_changes_the_target_of_a_service_that_was_created_here(bed: StoreBed, made: Service) -> None:
    for target, is_stopped in ((2, False), (0, True)):
        seen = shown(made, target, stopped=is_stopped)
        assert bed.queue.sync(LOCAL, [seen], revisions=bed.queue.revisions("local"))
        assert target_of(bed, made) == 60
    assert bed.store.service(bed.admin, made.uuid).state == "Stopped"


def test_an_action_that_fails_gives_back_the_target_that_it_had_set(bed: StoreBed, made: Service) -> None:
    bed.store.submit(bed.admin, made.uuid, Verb.SCALE, target=64, origin=ORIGIN)
    assert target_of(bed, made) == 64
    end(bed, claimed(bed), made, 60, success=False)
    assert target_of(bed, made) == 60


def test_a_number_that_is_canceled_before_its_turn_is_no_longer_asked_for(bed: StoreBed, made: Service) -> None:
    first, second = (bed.store.submit(bed.admin, made.uuid, Verb.SCALE, target=n, origin=ORIGIN) for n in (64, 70))
    bed.store.cancel(bed.admin, first.uuid)
    assert target_of(bed, made) == 70
    bed.store.cancel(bed.admin, second.uuid)
    assert target_of(bed, made) == 60


def test_a_canceled_number_does_not_undo_what_was_asked_for_since(bed: StoreBed, made: Service) -> None:
    bed.store.submit(bed.admin, made.uuid, Verb.SCALEUP, target=None, origin=ORIGIN)
    claim = claimed(bed)
    number = bed.store.submit(bed.admin, made.uuid, Verb.SCALE, target=70, origin=ORIGIN)
    bed.queue.save_target(claim, 64)
    bed.store.cancel(bed.admin, number.uuid)
    assert target_of(bed, made) == 64
    end(bed, claim, made, 64)
    assert target_of(bed, made) == 64


def test_a_failed_redeploy_undoes_nothing_that_was_asked_for(bed: StoreBed, made: Service) -> None:
    # All its processes had ended, so that the owner could change the number without an action.
    bed.store.update_service(bed.admin, made.uuid, definition=Definition(command="sleep 1"), image="none", target=70)
    bed.store.submit(bed.admin, made.uuid, Verb.REDEPLOY, target=None, origin=ORIGIN)
    end(bed, claimed(bed), made, 60, success=False)
    assert target_of(bed, made) == 70


def test_a_number_holds_after_its_action_although_an_earlier_action_ended_since(bed: StoreBed, made: Service) -> None:
    bed.store.submit(bed.admin, made.uuid, Verb.SCALEUP, target=None, origin=ORIGIN)
    claim = claimed(bed)
    bed.store.submit(bed.admin, made.uuid, Verb.SCALE, target=70, origin=ORIGIN)
    bed.queue.save_target(claim, 64)
    end(bed, claim, made, 60, success=False)
    end(bed, claimed(bed), made, 70)
    assert target_of(bed, made) == 70


def test_a_scale_up_that_fails_gives_back_the_target(bed: StoreBed, made: Service) -> None:
    bed.store.submit(bed.admin, made.uuid, Verb.SCALEUP, target=None, origin=ORIGIN)
    claim = claimed(bed)
    bed.queue.save_target(claim, 64)
    bed.queue.finish(claim, Outcome(success=False), None)
    assert target_of(bed, made) == 60


def test_a_number_for_a_service_that_a_run_has_just_begun_to_start_is_scaled_to(bed: StoreBed, made: Service) -> None:
    class Late(SqlStore):
        def update_service(self, viewer: User, uuid: str, **changes: Any) -> Service:
            claimed(bed)
            return super().update_service(viewer, uuid, **changes)

    bed.store.submit(bed.admin, made.uuid, Verb.STOP, target=None, origin=ORIGIN)
    bed.queue.finish(claimed(bed), Outcome(success=True), shown(made, 60, stopped=True))
    bed.store.submit(bed.admin, made.uuid, Verb.START, target=None, origin=ORIGIN)
    late = Late(bed.database, bed.clock, Wakeup())
    document = {"target_num_containers": 7}
    _, action = services.change(late, bed.admin, made.uuid, document, server_cap=100, origin=ORIGIN)
    assert action is not None
    assert (action.verb, action.target) == (Verb.SCALE, 7)


def test_a_new_definition_leaves_the_target_alone(bed: StoreBed, made: Service) -> None:
    bed.store.submit(bed.admin, made.uuid, Verb.SCALE, target=64, origin=ORIGIN)
    bed.store.update_service(bed.admin, made.uuid, definition=Definition(command="sleep 2"), image="none")
    assert target_of(bed, made) == 64


def test_a_look_from_before_a_claim_is_not_stored_and_another_one_is_wanted(bed: StoreBed) -> None:
    web = bed.service_uuid("web")
    bed.call(bed.handler("web"))
    before = bed.queue.revisions(DOCKER)
    claim = bed.claimed()
    seen = [snapshot("web", containers=9), snapshot("db", containers=3)]
    assert not bed.queue.sync(ENGINE, seen, revisions=before)
    assert len(bed.store.service(bed.admin, web).containers) == 2
    assert len(bed.store.service(bed.admin, bed.service_uuid("db")).containers) == 3
    # A look that began during the run shows its containers; the target is what the run makes it.
    assert bed.queue.sync(ENGINE, seen, revisions=bed.queue.revisions(DOCKER))
    during = bed.store.service(bed.admin, web)
    assert (len(during.containers), during.target) == (9, 2)
    bed.queue.finish(claim, Outcome(success=True), snapshot("web", containers=4))
    assert bed.store.service(bed.admin, web).target == 4


class Overtaken:
    """An engine at which an action ends while it is looked at for the first time."""

    info = ENGINE

    def __init__(self, bed: StoreBed) -> None:
        self._bed = bed
        self.targets: list[int] = []

    def discover(self) -> tuple[ServiceSnapshot, ...]:
        self.targets.append(self._bed.store.service(self._bed.admin, self._bed.service_uuid("web")).target)
        if len(self.targets) > 1:
            return (snapshot("web", containers=4), snapshot("db"))
        self._bed.queue.finish(self._bed.claimed(), Outcome(success=True), snapshot("web", containers=4))
        return (snapshot("web"), snapshot("db"))

    def watch(self, changed: Callable[[], None], stop: Event) -> None:
        stop.wait(10)


def test_discovery_leaves_what_an_action_changed_during_its_look_to_the_next_one(bed: StoreBed) -> None:
    bed.call(bed.handler("web"))
    engine = Overtaken(bed)
    discovery = Discovery("worker", cast(Engine, engine), bed.queue, seal=SEAL)
    discovery.start()
    try:
        wait_until(lambda: len(engine.targets) > 1, "another look follows")
    finally:
        discovery.stop(60)
    assert engine.targets[:2] == [2, 4]


def test_looks_during_an_action_store_each_state_once_and_the_whole_snapshot_after_it(bed: StoreBed) -> None:
    def look(*containers: str) -> bool:
        """Let the engine show these containers of `web`; return whether the look wrote to the database."""
        running = [ContainerSnapshot(id=each, name=each, state=ContainerState.RUNNING) for each in containers]
        shown = ServiceSnapshot(selector="web", name="web", target=len(running), containers=tuple(running))
        with counted_writes() as writes:
            bed.sync(shown)
        return bool(writes)

    assert look("old")
    assert not look("old")
    web = bed.store.service(bed.admin, bed.service_uuid("web"))
    bed.call(bed.handler("web"))
    claim = bed.claimed()
    assert [look("old", "new"), look("old", "new")] == [True, False]
    assert target_of(bed, web) == 1
    assert [look("new", "newer"), look("new", "newer")] == [True, False]
    bed.queue.finish(claim, Outcome(success=False), None)
    assert [look("new", "newer"), look("new", "newer")] == [True, False]
    assert target_of(bed, web) == 2


def test_a_look_from_before_an_action_unbinds_nothing(bed: StoreBed) -> None:
    bed.call(bed.handler("web"))
    claim = bed.claimed()
    before = bed.queue.revisions(DOCKER)
    bed.queue.finish(claim, Outcome(success=True), snapshot("web", prefix="new"))
    assert not bed.queue.sync(ENGINE, [], revisions=before)
    assert bed.store.service(bed.admin, bed.service_uuid("web")).bound
    assert not bed.store.service(bed.admin, bed.service_uuid("db")).bound


def test_a_look_waits_for_a_run_that_is_just_ending(bed: StoreBed, database_url: str) -> None:
    before = bed.queue.revisions(DOCKER)
    other = Database(database_url)
    with ThreadPoolExecutor(1) as pool:
        with other.write() as connection:
            web = bed.service_uuid("web")
            lock_services(connection, [web])
            raise_revision(connection, web)
            connection.execute(sa.select(1))  # which sends both
            seen = [snapshot("web", containers=9), snapshot("db", containers=9)]
            storing = pool.submit(bed.queue.sync, ENGINE, seen, revisions=before)
            if is_postgres(other):
                wait_until(bed.is_waiting_for_a_lock, "the look waits")
        assert not storing.result(120)
    other.close()
    assert len(bed.store.service(bed.admin, web).containers) == 2


def test_what_another_worker_found_since_is_neither_overwritten_nor_unbound(
    bed: StoreBed, other_worker: SqlQueue
) -> None:
    before = bed.queue.revisions(DOCKER)
    everything = [snapshot(name, containers=3) for name in ("web", "db", "new")]
    assert other_worker.sync(ENGINE, everything, revisions=before)
    assert not bed.queue.sync(ENGINE, [snapshot("web"), snapshot("new", containers=1)], revisions=before)
    assert len(bed.store.service(bed.admin, bed.service_uuid("new")).containers) == 3
    assert not bed.queue.sync(ENGINE, [snapshot("web")], revisions=before)
    assert bed.store.service(bed.admin, bed.service_uuid("new")).bound


def test_a_terminated_service_does_not_come_back(bed: StoreBed, made: Service) -> None:
    before = bed.queue.revisions("local")
    bed.store.submit(bed.admin, made.uuid, Verb.TERMINATE, target=None, origin=ORIGIN)
    bed.queue.finish(claimed(bed), Outcome(success=True), None)
    for revisions in (before, bed.queue.revisions("local")):
        # Its files may have been put back by hand: nothing is gained by looking again.
        assert bed.queue.sync(LOCAL, [shown(made, 61)], revisions=revisions)
    assert "made" not in {service.name for service in bed.store.services(bed.admin, query()).objects}


def test_a_run_that_lost_its_lease_raises_no_revision(bed: StoreBed) -> None:
    bed.call(bed.handler("web"))
    old = bed.claimed()
    bed.clock.move(LEASE.total_seconds() + 0.1)
    new = bed.claimed()
    during = bed.queue.revisions(DOCKER)
    with pytest.raises(Exception, match="another worker"):
        bed.queue.finish(old, Outcome(success=True), snapshot("web", containers=9))
    assert bed.queue.revisions(DOCKER) == during
    bed.finish(new)
    assert bed.queue.revisions(DOCKER) != during
