"""A redeploy on a real Swarm: what it brings, what it leaves alone, and what is there after it went wrong."""

from collections.abc import Callable, Iterator

import pytest

from tests.contract import swarm_support as swarm
from tests.contract.swarm_support import APP, Watched
from tests.support.docker_bed import ANONYMOUS, PRIVATE, DockerBed
from tests.support.images import Image
from tests.support.runs import FakeRun
from tests.support.waiting import wait_until
from tutumd.engines.swarm import SwarmEngine
from tutumd.errors import EngineRefusedError
from tutumd.model import ContainerState

SETTINGS = ("--update-parallelism", "2", "--update-delay", "1s", "--update-failure-action", "continue")
HANGING = Image(version="hanging", healthcheck=("CMD", "sleep", "1000"))
SHORT_LIVED = Image(version="short", command=("sh", "-c", "echo up; sleep 2; echo 'fatal: cannot go on'; exit 4"))


@pytest.fixture
def engine(clean_bed: DockerBed) -> Iterator[SwarmEngine]:
    with swarm.opened(clean_bed) as opened:
        yield opened


@pytest.mark.parametrize("settings", [(), SETTINGS], ids=["default settings", "settings of the user"])
def test_redeploy_brings_the_pushed_image_and_loses_no_container(
    engine: SwarmEngine, clean_bed: DockerBed, settings: tuple[str, ...]
) -> None:
    first = clean_bed.push("app", "v1")
    swarm.create(clean_bed, "web", APP, *settings)
    before, snapshot = swarm.spec(clean_bed, "web"), swarm.snapshot(engine, "web")
    second = clean_bed.push("app", "v2")
    run = FakeRun()
    with Watched(lambda: len(swarm.running(clean_bed, "web"))) as watched:
        outcome = engine.redeploy(swarm.service("web"), run)
    assert (outcome.success, outcome.reason, outcome.rolled_back) == (True, "", False)
    assert (outcome.image_before, outcome.image_after) == (first, second)
    assert set(outcome.containers_before) == {one.id for one in snapshot.containers}
    assert set(outcome.containers_after).isdisjoint(outcome.containers_before)
    assert swarm.running(clean_bed, "web") == ["v2", "v2"]
    assert min(watched.seen) == 2
    after = swarm.spec(clean_bed, "web")
    assert after["TaskTemplate"]["ContainerSpec"]["Image"] == f"{APP}:latest@{second}"
    assert after["TaskTemplate"]["ForceUpdate"] == 1
    assert after.get("UpdateConfig", "none") == before.get("UpdateConfig", "none")
    after["TaskTemplate"] = before["TaskTemplate"]
    assert after == before


def test_redeploy_of_the_same_image_makes_new_containers(engine: SwarmEngine, clean_bed: DockerBed) -> None:
    digest = clean_bed.push("app", "v1")
    swarm.create(clean_bed, "web", APP, replicas=1)
    outcome = engine.redeploy(swarm.service("web"), FakeRun())
    assert outcome.success
    assert (outcome.image_before, outcome.image_after) == (digest, digest)
    assert set(outcome.containers_after).isdisjoint(outcome.containers_before)


def test_a_broken_image_is_rolled_back_and_the_user_told_why(engine: SwarmEngine, clean_bed: DockerBed) -> None:
    good = clean_bed.push("app", "healthy")  # it has a health check: nothing is tried out before the update
    swarm.create(clean_bed, "web", APP, *SETTINGS[:4], "--rollback-monitor", "1s")
    before = swarm.spec(clean_bed, "web")
    clean_bed.push("app", "v3-broken")
    outcome = engine.redeploy(swarm.service("web"), FakeRun())
    assert (outcome.success, outcome.rolled_back) == (False, True)
    assert "rolled the update back" in outcome.reason
    assert "non-zero exit (3)" in outcome.reason
    # Two streams of one moment: the engine does not keep their order.
    assert sorted(outcome.log_tail.splitlines()) == ["fatal: v3-broken cannot start", "starting v3-broken"]
    assert (outcome.image_before, outcome.image_after) == (good, good)
    assert swarm.running(clean_bed, "web") == ["healthy", "healthy"]
    assert swarm.spec(clean_bed, "web") == before


def test_an_image_that_is_never_healthy_replaces_nothing(engine: SwarmEngine, clean_bed: DockerBed) -> None:
    clean_bed.push("app", "v1")
    swarm.create(clean_bed, "web", APP, "--rollback-monitor", "1s")
    before, snapshot = swarm.spec(clean_bed, "web"), swarm.snapshot(engine, "web")
    clean_bed.push("app", "unhealthy")
    outcome = engine.redeploy(swarm.service("web"), FakeRun())
    assert (outcome.success, outcome.rolled_back) == (False, True)
    assert "unhealthy" in outcome.reason
    assert swarm.spec(clean_bed, "web") == before
    assert {one.id for one in swarm.snapshot(engine, "web").containers} == {one.id for one in snapshot.containers}


def test_an_update_that_hangs_is_undone_at_the_deadline(engine: SwarmEngine, clean_bed: DockerBed) -> None:
    clean_bed.push("app", "v1")
    swarm.create(clean_bed, "web", APP)
    before, snapshot = swarm.spec(clean_bed, "web"), swarm.snapshot(engine, "web")
    clean_bed.push("app", HANGING)
    outcome = engine.redeploy(swarm.service("web"), FakeRun(deadline_s=5))
    assert (outcome.success, outcome.rolled_back) == (False, True)
    assert "deadline" in outcome.reason
    assert "is starting" in outcome.reason
    assert outcome.log_tail == "serving hanging"
    assert swarm.spec(clean_bed, "web") == before
    assert {one.id for one in swarm.snapshot(engine, "web").containers} == {one.id for one in snapshot.containers}


def test_an_update_that_the_engine_pauses_is_undone(engine: SwarmEngine, clean_bed: DockerBed) -> None:
    clean_bed.push("app", "v1")
    swarm.create(clean_bed, "web", APP)
    before = swarm.spec(clean_bed, "web")
    clean_bed.push("app", SHORT_LIVED)
    pause = ("service", "update", "--detach", "--update-failure-action", "pause", "--update-monitor", "10s", "web")
    run = _RunThatActsOn("1 of 2 new containers run", lambda: clean_bed.run(*pause))
    outcome = engine.redeploy(swarm.service("web"), run)
    assert (outcome.success, outcome.rolled_back) == (False, True)
    assert "the engine paused the update" in outcome.reason
    assert outcome.log_tail.splitlines()[-1] == "fatal: cannot go on"
    assert swarm.running(clean_bed, "web") == ["v1", "v1"]
    assert swarm.spec(clean_bed, "web")["TaskTemplate"] == before["TaskTemplate"]


def test_a_redeploy_frees_a_service_whose_last_update_is_paused(engine: SwarmEngine, clean_bed: DockerBed) -> None:
    clean_bed.push("app", "v1")
    swarm.create(clean_bed, "web", APP)
    clean_bed.push("app", "v3-broken")
    clean_bed.docker("service", "update", "--detach", "--image", APP, "web")
    wait_until(lambda: "paused" in str(clean_bed.inspect("service", "web")), "the update is paused")
    assert any("paused" in warning for warning in swarm.snapshot(engine, "web").warnings)
    clean_bed.push("app", "v2")
    outcome = engine.redeploy(swarm.service("web"), FakeRun())
    assert outcome.success, outcome.reason
    assert swarm.running(clean_bed, "web") == ["v2", "v2"]


def test_an_update_by_somebody_else_meanwhile_is_told_and_stays(engine: SwarmEngine, clean_bed: DockerBed) -> None:
    clean_bed.push("app", "v1")
    swarm.create(clean_bed, "web", APP)
    clean_bed.push("app", "v2")
    other = ("service", "update", "--detach", "--force", "--env-add", "FROM=elsewhere", "web")
    run = _RunThatActsOn("1 of 2 new containers run", lambda: clean_bed.run(*other))
    outcome = engine.redeploy(swarm.service("web"), run)
    assert (outcome.success, outcome.rolled_back) == (False, False)
    assert "somebody else updated the service" in outcome.reason
    after = swarm.spec(clean_bed, "web")
    assert after["TaskTemplate"]["ContainerSpec"]["Env"] == ["FROM=elsewhere"]
    assert "UpdateConfig" not in after


@pytest.mark.parametrize("gone", ["nope", "down"])
def test_a_tag_that_cannot_be_resolved_leaves_the_service_untouched(
    engine: SwarmEngine, clean_bed: DockerBed, gone: str
) -> None:
    clean_bed.push("app", "v1")
    swarm.create(clean_bed, "web", APP, replicas=1)
    if gone == "nope":
        clean_bed.docker("service", "update", "--detach", "--no-resolve-image", "--image", f"{APP}:nope", "web")
    else:
        clean_bed.stop_registry()
    before = swarm.spec(clean_bed, "web")
    with pytest.raises(EngineRefusedError, match="cannot find out which image"):
        engine.redeploy(swarm.service("web"), FakeRun())
    assert swarm.spec(clean_bed, "web") == before


def test_a_private_image_is_found_with_a_login_made_after_the_start(engine: SwarmEngine, clean_bed: DockerBed) -> None:
    image = f"{PRIVATE}/app"
    engine.discover()
    clean_bed.login()
    clean_bed.push("app", "v1", registry=PRIVATE)
    swarm.create(clean_bed, "web", image, "--with-registry-auth", replicas=1)
    digest = clean_bed.push("app", "v2", registry=PRIVATE)
    outcome = engine.redeploy(swarm.service("web"), FakeRun())
    assert (outcome.success, outcome.image_after) == (True, digest)
    assert swarm.running(clean_bed, "web") == ["v2"]


def test_an_image_that_was_built_here_is_used_as_it_is(engine: SwarmEngine, clean_bed: DockerBed) -> None:
    # A registry host that refuses connections: nothing beyond loopback is asked.
    name = f"{ANONYMOUS}/built"
    clean_bed.docker("tag", "app:v1", name)
    swarm.create(clean_bed, "web", f"{name}:latest", replicas=1)
    clean_bed.docker("tag", "app:v2", name)
    outcome = engine.redeploy(swarm.service("web"), FakeRun())
    assert outcome.success, outcome.reason
    assert "no registry knows it" in outcome.reason
    assert swarm.running(clean_bed, "web") == ["v2"]


def test_a_stopped_service_gets_the_new_image_and_stays_stopped(engine: SwarmEngine, clean_bed: DockerBed) -> None:
    clean_bed.push("app", "v1")
    swarm.create(clean_bed, "web", APP, replicas=1)
    assert engine.stop(swarm.service("web"), FakeRun()).success
    digest = clean_bed.push("app", "v2")
    outcome = engine.redeploy(swarm.service("web"), FakeRun())
    assert outcome.success
    assert "stays stopped" in outcome.reason
    assert swarm.snapshot(engine, "web").stopped
    assert swarm.image(clean_bed, "web").endswith(digest)
    assert swarm.running(clean_bed, "web") == []
    assert engine.start(swarm.service("web", target=1), FakeRun()).success
    assert swarm.running(clean_bed, "web") == ["v2"]


def test_a_service_with_a_volume_never_has_two_tasks_at_once(engine: SwarmEngine, clean_bed: DockerBed) -> None:
    clean_bed.push("app", "v1")
    swarm.create(clean_bed, "web", APP, "--mount", "type=volume,source=data,target=/data", replicas=1)
    clean_bed.push("app", "v2")
    run = FakeRun()
    with Watched(lambda: len(swarm.running(clean_bed, "web"))) as watched:
        outcome = engine.redeploy(swarm.service("web"), run)
    assert outcome.success, outcome.reason
    assert max(watched.seen) == 1
    assert any("stop-first: two tasks at once would write" in line for line in run.lines)


def test_a_global_service_is_redeployed(engine: SwarmEngine, clean_bed: DockerBed) -> None:
    clean_bed.push("app", "v1")
    swarm.create(clean_bed, "web", APP, "--mode", "global", replicas=None)
    wait_until(lambda: swarm.running(clean_bed, "web") == ["v1"], "it runs")
    clean_bed.push("app", "v2")
    assert engine.redeploy(swarm.service("web"), FakeRun()).success
    assert swarm.running(clean_bed, "web") == ["v2"]
    assert swarm.snapshot(engine, "web").target == 1


def test_a_job_is_not_scaled(engine: SwarmEngine, clean_bed: DockerBed) -> None:
    swarm.create(clean_bed, "job", "app:v1", "--mode", "replicated-job", replicas=None)
    with pytest.raises(EngineRefusedError, match="is a job"):
        engine.scale(swarm.service("job"), 2, FakeRun())


def test_a_service_that_is_removed_meanwhile_is_told(engine: SwarmEngine, clean_bed: DockerBed) -> None:
    clean_bed.push("app", "v1")
    swarm.create(clean_bed, "web", APP)
    run = _RunThatActsOn("1 of 2 new containers run", lambda: clean_bed.run("service", "rm", "web"))
    outcome = engine.redeploy(swarm.service("web"), run)
    assert not outcome.success
    assert "was removed" in outcome.reason
    assert engine.inspect(swarm.service("web")) is None


def test_a_snapshot_shows_each_container_with_its_digest(engine: SwarmEngine, clean_bed: DockerBed) -> None:
    digest = clean_bed.push("app", "v1")
    swarm.create(clean_bed, "web", APP)
    # The manager hears of a container that runs a moment later.
    wait_until(lambda: swarm.snapshot(engine, "web").running == 2, "both tasks are told to run")
    shown = {
        (one.name, one.state, one.image_name, one.image_digest) for one in swarm.snapshot(engine, "web").containers
    }
    assert shown == {(f"web.{slot}", ContainerState.RUNNING, f"{APP}:latest", digest) for slot in (1, 2)}


class _RunThatActsOn(FakeRun):
    """Does something once, when a line begins with given words."""

    def __init__(self, words: str, act: Callable[[], object]) -> None:
        super().__init__()
        self._words, self._acts = words, [act]

    def log(self, line: str) -> None:
        super().log(line)
        if line.startswith(self._words) and self._acts:
            self._acts.pop()()
