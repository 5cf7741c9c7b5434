"""Redeploy and scale on a swarm of three nodes while one goes down or lacks the image."""

from collections.abc import Iterator

import pytest

from tests.contract import swarm_support as swarm
from tests.contract.docker_support import APP
from tests.support import guards
from tests.support.docker_bed import ANONYMOUS, PRIVATE
from tests.support.images import Image
from tests.support.runs import FakeRun
from tests.support.swarm_bed import SwarmBed
from tests.support.waiting import wait_until
from tutumd.engines.swarm.engine import SwarmEngine
from tutumd.errors import EngineRefusedError
from tutumd.model import Availability, ContainerState, ServiceSnapshot, WantedImage

pytestmark = pytest.mark.slow
SLOW = Image(version="slow", healthcheck=("CMD", "sleep", "5"))


@pytest.fixture(scope="module")
def nodes() -> Iterator[SwarmBed]:
    guards.require_part("docker")
    with SwarmBed() as bed:
        yield bed


@pytest.fixture
def bed(nodes: SwarmBed) -> Iterator[SwarmBed]:
    yield nodes
    for worker in nodes.workers:
        worker.start_engine()
    wait_until(lambda: nodes.ready() == 3, "all nodes are back")
    nodes.manager.clean()


@pytest.fixture
def engine(bed: SwarmBed) -> Iterator[SwarmEngine]:
    with swarm.opened(bed.manager) as opened:
        yield opened


def create(bed: SwarmBed, engine: SwarmEngine, *options: str, replicas: int, image: str = APP) -> ServiceSnapshot:
    """Create a service and wait until the engine shows that all of it runs."""
    number = () if "global" in options else ("--replicas", str(replicas))
    created = ("service", "create", "--detach", "--name", "web", "--endpoint-mode", "dnsrr", *number, *options, image)
    bed.manager.docker(*created)
    wait_until(lambda: swarm.snapshot(engine, "web").running == replicas, f"{replicas} tasks run")
    return swarm.snapshot(engine, "web")


@pytest.mark.nightly
def test_a_redeploy_goes_on_when_a_node_goes_down_under_a_new_task(bed: SwarmBed, engine: SwarmEngine) -> None:
    bed.manager.push("app", "v1")
    before = create(bed, engine, replicas=3)
    digest = bed.manager.push("app", SLOW)
    nodes = {worker.docker("info", "--format", "{{.Swarm.NodeID}}"): worker for worker in bed.workers}

    def kill_node_under_new_task() -> None:
        for node, worker in nodes.items():
            tasks = bed.manager.docker("node", "ps", node, "--format", "{{.Name}} {{.CurrentState}}").splitlines()
            if any(line.startswith("web.") and "Starting" in line for line in tasks):
                worker.kill_engine()
                nodes.clear()
                return

    run = FakeRun(on_sleep=kill_node_under_new_task)
    outcome = engine.redeploy(swarm.service("web"), run)
    assert any(line.startswith("a node went down") for line in run.lines), run.lines
    assert (outcome.success, outcome.image_after) == (True, digest), outcome.reason
    shown = swarm.snapshot(engine, "web")
    assert (shown.running, shown.warnings) == (3, ())
    assert {container.image_digest for container in shown.containers if container.state is ContainerState.RUNNING} == {
        digest
    }
    assert set(outcome.containers_after).isdisjoint(container.id for container in before.containers)
    assert "UpdateConfig" not in swarm.spec(bed.manager, "web")


def test_a_scale_up_brings_a_fresh_login_to_a_node_that_has_no_image(bed: SwarmBed, engine: SwarmEngine) -> None:
    private = f"{PRIVATE}/app"
    bed.manager.login()
    bed.manager.push("app", "v1", registry=PRIVATE)
    # Created without a login: only the manager, which has the image, can run it.
    bed.manager.docker("pull", private)
    create(bed, engine, "--replicas-max-per-node", "1", "--constraint", "node.role==manager", replicas=1, image=private)
    bed.manager.docker("service", "update", "--detach", "--constraint-rm", "node.role==manager", "web")
    outcome = engine.scale(swarm.service("web"), 3, FakeRun())
    assert outcome.success, (outcome.reason, outcome.log_tail)
    assert swarm.snapshot(engine, "web").running == 3


def test_an_image_that_only_the_manager_has_is_refused(bed: SwarmBed, engine: SwarmEngine) -> None:
    image = f"{ANONYMOUS}/built-here"
    bed.manager.load({f"{image}:latest": Image(version="local")})
    create(bed, engine, "--constraint", "node.role==manager", replicas=1, image=image)
    with pytest.raises(EngineRefusedError, match="cannot find out which image"):
        engine.redeploy(swarm.service("web"), FakeRun())


def test_a_rollback_reaches_nodes_that_lack_the_image_and_is_undone_where_none_has_it(
    bed: SwarmBed, engine: SwarmEngine
) -> None:
    digests = [bed.manager.push("app", version) for version in ("v1", "v2")]
    create(bed, engine, "--replicas-max-per-node", "1", replicas=3)
    first, second = (WantedImage(number=number, digest=digest) for number, digest in enumerate(digests, 1))
    outcome = engine.redeploy(swarm.service("web"), FakeRun(image=first))
    assert outcome.success, (outcome.reason, outcome.log_tail)
    assert running_digests(engine) == [first.digest] * 3
    for worker in bed.workers:
        worker.docker("system", "prune", "--all", "--force")
    bed.manager.delete_image("app", second.digest)
    before = swarm.spec(bed.manager, "web")
    where = engine.availability(swarm.service("web"), [first, second])
    assert where == {1: Availability.LOCAL, 2: Availability.LOCAL}, "the manager has both"
    outcome = engine.redeploy(swarm.service("web"), FakeRun(image=second))
    assert (outcome.success, outcome.rolled_back) == (False, True), outcome.reason
    wait_until(lambda: running_digests(engine) == [first.digest] * 3, "the version before runs again")
    assert swarm.spec(bed.manager, "web") == before
    bed.manager.docker("image", "rm", "--force", f"{APP}@{second.digest}")
    with pytest.raises(EngineRefusedError, match="manifest unknown"):
        engine.redeploy(swarm.service("web"), FakeRun(image=second))
    assert swarm.spec(bed.manager, "web") == before


def running_digests(engine: SwarmEngine) -> list[str | None]:
    shown = swarm.snapshot(engine, "web").containers
    return [container.image_digest for container in shown if container.state is ContainerState.RUNNING]
