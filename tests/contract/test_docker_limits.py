"""Time limits on a real Docker Engine: what is slow but gets on succeeds."""

import signal
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.contract.docker_support import opened, service, states, version
from tests.support import drip_program, namespace
from tests.support.docker_bed import DockerBed
from tests.support.runs import FakeRun
from tests.support.waiting import wait_until

STALL_S = 8
DRIPPING = "127.0.0.1:5002"


def test_containers_with_slow_health_checks_get_the_time_for_each(clean_bed: DockerBed) -> None:
    clean_bed.push("app", "v1")
    check = ("--health-cmd", "/bin/true", "--health-interval", "3s", "--health-retries", "2")
    for number in (1, 2, 3):
        labels = ("--label", "tutum.service=web", "--label", f"tutum.redeploy.stall={STALL_S}")
        clean_bed.docker("run", "-d", "--name", f"web-{number}", *labels, *check, "127.0.0.1:5000/app")
    clean_bed.push("app", "v2")
    began = time.monotonic()
    with opened(clean_bed) as engine:
        plan = engine.plan(service("name:web"), None)
        outcome = engine.redeploy(service("name:web"), FakeRun())
    assert outcome.success, outcome
    # Each is checked for the first time after 3 s, and they are replaced one after another.
    assert time.monotonic() - began > STALL_S
    assert [version(clean_bed, f"web-{number}") for number in (1, 2, 3)] == ["v2"] * 3
    assert (
        f"time limits: {STALL_S} s without progress, 3600 s in all; a pull is not counted and may take 1800 s"
        in plan.notes
    )


@contextmanager
def dripping_registry(bed: DockerBed) -> Iterator[None]:
    """Serve the bed's registry at `DRIPPING`, a few bytes at a time."""
    ports = [DRIPPING.rpartition(":")[2], "5000"]
    command = [sys.executable, str(Path(drip_program.__file__)), *ports, "2"]
    process = namespace.spawn_in(bed.name, command, bed.folder / "drip.log")
    try:
        wait_until(lambda: f" {DRIPPING} " in bed.in_namespace("ss", "-Hltn"), "the registry drips")
        yield
    finally:
        namespace.end(process, signal.SIGKILL)


@pytest.mark.slow
def test_a_pull_may_take_longer_than_the_limit_without_progress(clean_bed: DockerBed) -> None:
    clean_bed.push("app", "v2")
    clean_bed.docker("tag", "app:v1", f"{DRIPPING}/app")
    clean_bed.docker("run", "-d", "--name", "web", "--label", f"tutum.redeploy.stall={STALL_S}", f"{DRIPPING}/app")
    times: dict[str, float] = {}
    run = FakeRun(on_log=lambda line: times.setdefault(line.partition(" ")[0], time.monotonic()))
    with dripping_registry(clean_bed), opened(clean_bed) as engine:
        outcome = engine.redeploy(service("name:web"), run)
    assert outcome.success, outcome
    assert times["Status:"] - times["pulling"] > STALL_S
    assert states(clean_bed) == {"web": "running"}
    assert version(clean_bed, "web") == "v2"
