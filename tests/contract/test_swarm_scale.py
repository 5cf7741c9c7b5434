"""Scaling, stopping and starting on a real Swarm, and what the engine shows of it."""

import threading
from collections.abc import Iterator

import pytest

from tests.contract import swarm_support as swarm
from tests.support.docker_bed import DockerBed
from tests.support.images import Image
from tests.support.runs import FakeRun
from tests.support.waiting import wait_until
from tutumd.engines.swarm import SwarmEngine
from tutumd.errors import EngineRefusedError, EngineUnavailableError
from tutumd.model import ServiceState

LABEL = "tutum.stopped.replicas"


@pytest.fixture
def engine(clean_bed: DockerBed) -> Iterator[SwarmEngine]:
    with swarm.opened(clean_bed) as opened:
        yield opened


def test_scaling_up_adds_containers_and_keeps_those_that_ran(engine: SwarmEngine, clean_bed: DockerBed) -> None:
    swarm.create(clean_bed, "web", "app:v1", replicas=1)
    before = swarm.spec(clean_bed, "web")
    outcome = engine.scale(swarm.service("web"), 3, FakeRun())
    assert outcome.success
    assert len(outcome.containers_after) == 3
    assert set(outcome.containers_before) < set(outcome.containers_after)
    assert swarm.running(clean_bed, "web") == ["v1"] * 3
    assert swarm.spec(clean_bed, "web") == {**before, "Mode": {"Replicated": {"Replicas": 3}}}


def test_scaling_down_and_to_the_same_number_succeeds(engine: SwarmEngine, clean_bed: DockerBed) -> None:
    swarm.create(clean_bed, "web", "app:v1", replicas=3)
    assert engine.scale(swarm.service("web"), 1, FakeRun()).success
    assert swarm.running(clean_bed, "web") == ["v1"]
    again = engine.scale(swarm.service("web"), 1, FakeRun())
    assert again.success
    assert again.containers_before == again.containers_after


def test_scaling_succeeds_while_others_keep_updating_the_service(engine: SwarmEngine, clean_bed: DockerBed) -> None:
    swarm.create(clean_bed, "web", "app:v1", replicas=1)
    stop = threading.Event()

    def disturb() -> None:
        number = 0
        while not stop.is_set():
            number += 1
            clean_bed.run("service", "update", "--detach", "--label-add", f"number={number}", "web")

    thread = threading.Thread(target=disturb, name="disturb")
    thread.start()
    try:
        outcome = engine.scale(swarm.service("web"), 2, FakeRun())
    finally:
        stop.set()
        thread.join(timeout=30)
    assert outcome.success, outcome.reason
    assert swarm.replicas(clean_bed, "web") == 2
    assert "number" in swarm.spec(clean_bed, "web")["Labels"]


def test_containers_without_room_are_taken_back(engine: SwarmEngine, clean_bed: DockerBed) -> None:
    # No machine has room for three tasks of a third and a bit of a CPU more than all it has.
    cpus = str(int(clean_bed.docker("info", "--format", "{{.NCPU}}")) * 0.4)
    swarm.create(clean_bed, "web", "app:v1", "--reserve-cpu", cpus, replicas=2)
    outcome = engine.scale(swarm.service("web"), 3, FakeRun(deadline_s=4))
    assert (outcome.success, outcome.rolled_back) == (False, True)
    assert "2 of 3 containers run at the deadline" in outcome.reason
    assert "no suitable node (insufficient resources on 1 node)" in outcome.reason
    assert outcome.log_tail == ""
    assert swarm.replicas(clean_bed, "web") == 2
    assert outcome.containers_after == outcome.containers_before


def test_new_containers_that_end_again_and_again_are_taken_back(engine: SwarmEngine, clean_bed: DockerBed) -> None:
    # The second copy fails: the first one holds the directory.
    command = "mkdir /data/lock || { echo 'fatal: only one of me'; exit 5; }; /serve"
    options = ("--mount", "type=volume,source=lock,target=/data", "--restart-delay", "100ms")
    clean_bed.docker(
        *("service", "create", "--detach", "--name", "web", "--endpoint-mode", "dnsrr", *options),
        *("app:v1", "sh", "-c", command),
    )
    wait_until(lambda: len(swarm.running(clean_bed, "web")) == 1, "it runs")
    outcome = engine.scale(swarm.service("web"), 2, FakeRun())
    assert (outcome.success, outcome.rolled_back) == (False, True)
    assert "non-zero exit (5)" in outcome.reason
    assert "fatal: only one of me" in outcome.log_tail.splitlines()
    assert swarm.replicas(clean_bed, "web") == 1
    assert outcome.containers_after == outcome.containers_before


def test_what_cannot_be_scaled_is_refused_with_the_reason(engine: SwarmEngine, clean_bed: DockerBed) -> None:
    swarm.create(clean_bed, "everywhere", "app:v1", "--mode", "global", replicas=None)
    swarm.create(clean_bed, "narrow", "app:v1", "--replicas-max-per-node", "1", replicas=1)
    swarm.create(clean_bed, "off", "app:v1", replicas=0)
    for name, target, reason in (
        ("everywhere", 2, "is global"),
        ("narrow", 2, "1 containers per node"),
        ("narrow", swarm.MOST + 1, f"at most {swarm.MOST} containers"),
        ("off", 1, "is stopped"),
        ("missing", 1, "is gone"),
    ):
        with pytest.raises(EngineRefusedError, match=reason):
            engine.scale(swarm.service(name), target, FakeRun())
    with pytest.raises(EngineRefusedError, match="is global"):
        engine.stop(swarm.service("everywhere"), FakeRun())
    with pytest.raises(EngineRefusedError, match="not created through tutumd"):
        engine.terminate(swarm.service("narrow"), FakeRun())


def test_a_stopped_service_knows_how_many_containers_it_had(engine: SwarmEngine, clean_bed: DockerBed) -> None:
    swarm.create(clean_bed, "web", "app:v1", replicas=2)
    before = swarm.spec(clean_bed, "web")
    assert engine.stop(swarm.service("web"), FakeRun()).success
    assert swarm.running(clean_bed, "web") == []
    assert swarm.spec(clean_bed, "web")["Labels"] == {LABEL: "2"}
    snapshot = swarm.snapshot(engine, "web")
    assert (snapshot.stopped, snapshot.target, snapshot.state) == (True, 2, ServiceState.STOPPED)
    assert engine.stop(swarm.service("web"), FakeRun()).success
    assert engine.start(swarm.service("web", target=0), FakeRun()).success
    assert swarm.running(clean_bed, "web") == ["v1", "v1"]
    assert swarm.spec(clean_bed, "web") == before


def test_a_container_that_was_still_starting_has_stopped_when_a_stop_succeeds(
    engine: SwarmEngine, clean_bed: DockerBed
) -> None:
    stubborn = Image(
        version="v1",
        command=("sh", "-c", "trap '' TERM; while :; do sleep 0.1; done"),
        healthcheck=("CMD", "sleep", "1000"),
        labels={"version": "v1"},
    )
    clean_bed.load({"stubborn:v1": stubborn})
    # It runs, but never counts as running for the swarm.
    swarm.create(clean_bed, "web", "stubborn:v1", "--stop-grace-period", "3s", replicas=None)
    wait_until(lambda: swarm.running(clean_bed, "web") == ["v1"], "its container runs")
    outcome = engine.stop(swarm.service("web"), FakeRun())
    assert outcome.success, outcome.reason
    assert swarm.running(clean_bed, "web") == []


def test_services_are_shown_with_stack_owner_and_command(engine: SwarmEngine, clean_bed: DockerBed) -> None:
    labels = ("--label", "com.docker.stack.namespace=shop", "--container-label", "tutum.owner=ann")
    swarm.create(clean_bed, "shop_web", "app:v1", *labels, replicas=1)
    swarm.create(clean_bed, "torn", "app:v1", *labels, "--label", "tutum.owner=bob", replicas=0)
    swarm.create(clean_bed, "hidden", "app:v1", "--label", "tutum.ignore=true", replicas=0)
    web, torn = engine.discover()
    assert (web.selector, web.name, web.stack, web.owner) == ("shop_web", "shop_web", "shop", "ann")
    assert (web.state, web.target, web.running) == (ServiceState.RUNNING, 1, 1)
    assert web.deployed is not None
    assert (torn.owner, torn.stopped, torn.target) == (None, True, 0)
    assert "several owners" in torn.warnings[0]
    assert engine.inspect(swarm.service("hidden")) is None


def test_the_beginning_of_an_id_is_nobodys_name(engine: SwarmEngine, clean_bed: DockerBed) -> None:
    swarm.create(clean_bed, "web", "app:v1", replicas=0)
    prefix = str(clean_bed.inspect("service", "web")["ID"])[:8]
    assert engine.inspect(swarm.service(prefix)) is None


def test_a_change_outside_shows_without_a_full_look(engine: SwarmEngine, clean_bed: DockerBed) -> None:
    swarm.create(clean_bed, "web", "app:v1", replicas=1)
    changed, stop = threading.Event(), threading.Event()
    thread = threading.Thread(target=engine.watch, args=(changed.set, stop), name="watch")
    thread.start()
    try:
        assert not changed.wait(timeout=1.5)  # only time can show that nothing is reported without a change
        clean_bed.docker("service", "update", "--detach", "--label-add", "tutum.owner=ann", "web")
        assert changed.wait(timeout=10)
    finally:
        stop.set()
        thread.join(timeout=10)
    assert not thread.is_alive()


def test_logs_are_the_last_lines_of_all_containers_in_order(engine: SwarmEngine, clean_bed: DockerBed) -> None:
    swarm.create(clean_bed, "web", "app:v1", replicas=2)
    wait_until(lambda: engine.logs(swarm.service("web"), 10) == "serving v1\nserving v1", "both have written")
    assert engine.logs(swarm.service("web"), 1) == "serving v1"
    assert engine.logs(swarm.service("web"), 0) == ""


def test_an_engine_that_is_away_is_not_a_failure(engine: SwarmEngine, clean_bed: DockerBed) -> None:
    swarm.create(clean_bed, "web", "app:v1", replicas=1)
    clean_bed.stop_engine()
    with pytest.raises(EngineUnavailableError):
        engine.redeploy(swarm.service("web"), FakeRun())
    with pytest.raises(EngineUnavailableError):
        engine.discover()
    clean_bed.start_engine()
    wait_until(lambda: swarm.snapshot(engine, "web").running == 1, "it runs again")
