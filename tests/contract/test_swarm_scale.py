"""Scale, stop and start on a real Swarm: conflicts, rollback, refusals, and what discovery shows."""

import threading

import pytest

from tests.contract import swarm_support as swarm
from tests.support.docker_bed import DockerBed
from tests.support.images import Image
from tests.support.runs import FakeRun, late_when
from tests.support.waiting import wait_until
from tutumd.engines.swarm.engine import SwarmEngine

pytestmark = pytest.mark.slow


def test_scaling_succeeds_while_others_keep_updating_the_service(
    swarm_engine: SwarmEngine, clean_bed: DockerBed
) -> None:
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
        outcome = swarm_engine.scale(swarm.service("web"), 2, FakeRun())
    finally:
        stop.set()
        thread.join(timeout=200)
    assert outcome.success, outcome.reason
    assert swarm.replicas(clean_bed, "web") == 2
    assert "number" in swarm.spec(clean_bed, "web")["Labels"]


def test_containers_without_room_are_taken_back(swarm_engine: SwarmEngine, clean_bed: DockerBed) -> None:
    # No machine has room for three tasks of a third and a bit of a CPU more than all it has.
    cpus = str(int(clean_bed.docker("info", "--format", "{{.NCPU}}")) * 0.4)
    swarm.create(clean_bed, "web", "app:v1", "--reserve-cpu", cpus, replicas=2)
    outcome = swarm_engine.scale(
        swarm.service("web"),
        3,
        late_when(lambda: "no suitable node" in clean_bed.docker("service", "ps", "--no-trunc", "web")),
    )
    assert (outcome.success, outcome.rolled_back) == (False, True)
    assert "2 of 3 containers run, and the action did not end within" in outcome.reason
    assert "no suitable node (insufficient resources on 1 node)" in outcome.reason
    assert outcome.log_tail == ""
    assert swarm.replicas(clean_bed, "web") == 2
    assert outcome.containers_after == outcome.containers_before


def test_a_container_that_was_still_starting_has_stopped_when_a_stop_succeeds(
    swarm_engine: SwarmEngine, clean_bed: DockerBed
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
    outcome = swarm_engine.stop(swarm.service("web"), FakeRun())
    assert outcome.success, outcome.reason
    assert swarm.running(clean_bed, "web") == []


def test_the_beginning_of_an_id_is_no_name(swarm_engine: SwarmEngine, clean_bed: DockerBed) -> None:
    swarm.create(clean_bed, "web", "app:v1", replicas=0)
    prefix = str(clean_bed.inspect("service", "web")["ID"])[:8]
    assert swarm_engine.inspect(swarm.service(prefix)) is None
