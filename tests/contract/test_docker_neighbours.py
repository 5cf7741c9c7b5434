"""Concurrent actions on a real Docker Engine on a container and on one that shares its namespaces."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from threading import Event

import pytest

from tests.contract.docker_support import APP, asked_from, inspected, opened, service, states
from tests.support.docker_bed import DockerBed
from tests.support.runs import FakeRun, once_at
from tests.support.waiting import wait_until
from tutumd.engines.docker.engine import DockerEngine
from tutumd.errors import EngineUnavailableError
from tutumd.model import Outcome, Service

pytestmark = pytest.mark.slow


def redeploy(engine: DockerEngine, name: str, number: int) -> Outcome:
    """Redeploy a service, in one attempt."""
    return engine.redeploy(service(f"name:{name}"), FakeRun(action_uuid=f"{number:08x}-0000"))


def test_a_container_and_the_one_whose_network_it_shares_are_redeployed_at_once(clean_bed: DockerBed) -> None:
    clean_bed.push("app", "v1")
    clean_bed.docker("run", "-d", "--name", "web", APP)
    clean_bed.docker("run", "-d", "--name", "sidecar", "--network", "container:web", "-e", "PORT=81", APP)
    with opened(clean_bed) as engine, ThreadPoolExecutor(2) as pool:
        for number, pushed in enumerate(["v2", "v3-broken", "v1", "v2"]):
            clean_bed.push("app", pushed)
            both = [pool.submit(redeploy, engine, name, 2 * number + at) for at, name in enumerate(["web", "sidecar"])]
            for redeployed in both:
                outcome = redeployed.result()
                assert outcome.success or (pushed == "v3-broken" and outcome.rolled_back), outcome
            assert states(clean_bed) == {"web": "running", "sidecar": "running"}
            owner = inspected(clean_bed, "web")["Id"]
            assert inspected(clean_bed, "sidecar")["HostConfig"]["NetworkMode"] == f"container:{owner}"
            assert asked_from(clean_bed, "sidecar", "127.0.0.1:8080")


def test_a_service_that_depends_on_neither_does_not_wait_for_them(clean_bed: DockerBed) -> None:
    clean_bed.push("app", "v1")
    for name, more in {"web": (), "sidecar": ("--network", "container:web", "-e", "PORT=81"), "other": ()}.items():
        clean_bed.docker("run", "-d", "--name", name, *more, APP)
    clean_bed.push("app", "v2")
    waits, other_ended = Event(), Event()

    def hold_until_the_other_ended() -> None:
        assert waits.wait(200)
        assert other_ended.wait(200)

    hold = once_at("web runs as", hold_until_the_other_ended)
    holder = FakeRun(action_uuid="11111111-0000", deadline_s=600, stall_s=600, on_log=hold)
    waiting = FakeRun(action_uuid="22222222-0000", on_log=once_at("waiting until another redeploy", waits.set))
    with opened(clean_bed) as engine, ThreadPoolExecutor(2) as pool:
        first = pool.submit(engine.redeploy, service("name:web"), holder)
        wait_until(lambda: any(line.startswith("stop-first") for line in holder.lines), "the first one is at work")
        second = pool.submit(engine.redeploy, service("name:sidecar"), waiting)
        assert waits.wait(200)
        assert redeploy(engine, "other", 3).success
        assert not first.done()
        other_ended.set()
        assert first.result(300).success
        assert second.result(300).success
    assert states(clean_bed) == {"web": "running", "sidecar": "running", "other": "running"}


@pytest.mark.parametrize("verb", ["start", "stop", "scale"])
def test_what_depends_on_a_container_that_is_being_redeployed_is_left_alone(clean_bed: DockerBed, verb: str) -> None:
    clean_bed.push("app", "v1")
    clean_bed.docker("run", "-d", "--name", "web", APP)
    clean_bed.docker("run", "-d", "--name", "sidecar", "--pid", "container:web", APP)
    clean_bed.docker("create", "--name", "web-tutum-next-0a1b2c3d", APP)
    before = states(clean_bed)
    with opened(clean_bed) as engine:
        verbs: dict[str, Callable[[Service, FakeRun], Outcome]] = {
            "start": engine.start,
            "stop": engine.stop,
            "scale": lambda target, run: engine.scale(target, 2, run),
        }
        with pytest.raises(EngineUnavailableError, match="sidecar shares the process namespace of web, which is being"):
            verbs[verb](service("name:sidecar"), FakeRun())
    assert states(clean_bed) == before
