"""Others that change containers while a service is redeployed, on a real Docker Engine."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.contract.docker_support import APP, asked_from, inspected, opened, service, snapshots, states
from tests.support.docker_bed import DockerBed
from tests.support.runs import FakeRun, once_at
from tutumd.engines.docker.engine import DockerEngine
from tutumd.model import Outcome

pytestmark = pytest.mark.slow

COMPOSE = f"services: {{api: {{image: '{APP}', stop_grace_period: 0s}}}}\n"
# Lines of the log at which somebody acts: while the new container starts, is stable, and takes over.
MOMENTS = ("starting the new containers", "web runs as", "giving the old containers")


def remove(bed: DockerBed) -> None:
    bed.docker("rm", "-f", "web")


def rename(bed: DockerBed) -> None:
    bed.docker("rename", "web", "kept")


@pytest.mark.parametrize("act", [remove, pytest.param(rename, marks=pytest.mark.nightly)])
def test_a_container_that_somebody_creates_during_a_redeploy_is_all_that_is_left(
    clean_bed: DockerBed, act: Callable[[DockerBed], None]
) -> None:
    clean_bed.push("app", "v1")
    clean_bed.docker("network", "create", "front")
    given = ("run", "-d", "--network", "front", "--stop-timeout", "0", "--name")

    def create_again() -> None:
        act(clean_bed)
        clean_bed.docker(*given, "web", "app:v1")

    clean_bed.docker(*given, "client", "app:v1")
    for number, moment in enumerate(MOMENTS):
        clean_bed.docker(*given, "web", APP)
        clean_bed.push("app", "v2" if number % 2 else "v1")
        run = FakeRun(action_uuid=f"{number:08x}-0000", on_log=once_at(moment, create_again))
        with opened(clean_bed) as engine:
            outcome = engine.redeploy(service("name:web"), run)
            assert not outcome.success, (moment, outcome)
            assert "somebody else" in outcome.reason, (moment, outcome)
            running = {name for name, status in states(clean_bed).items() if status == "running"} - {"kept"}
            assert running == {"client", "web"}, (moment, outcome)
            assert not [name for name in states(clean_bed) if "-tutum-next-" in name], moment
            assert inspected(clean_bed, "web")["Config"]["Image"] == "app:v1", moment
            assert snapshots(engine)["name:web"].running == 1
        clean_bed.docker("rm", "-f", *(name for name in states(clean_bed) if name != "client"))


def test_compose_that_recreates_a_service_during_its_redeploy_leaves_it_running(
    clean_bed: DockerBed, tmp_path: Path
) -> None:
    clean_bed.push("app", "v1")
    folder = clean_bed.up(tmp_path, COMPOSE)

    def recreate() -> None:
        clean_bed.run("compose", "up", "-d", "--force-recreate", cwd=folder)

    for number, moment in enumerate(("starting the new containers", "shop-api-1 runs as", "the new containers have")):
        run = FakeRun(action_uuid=f"{number:08x}-0000", on_log=once_at(moment, recreate))
        with opened(clean_bed) as engine:
            outcome = engine.redeploy(service("compose:shop/api"), run)
            assert "running" in states(clean_bed).values(), (moment, outcome)
            assert not [name for name in states(clean_bed) if "-tutum-next-" in name], (moment, outcome)
        clean_bed.compose(folder, "down")
        clean_bed.compose(folder, "up", "-d")
    clean_bed.compose(folder, "down")


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
