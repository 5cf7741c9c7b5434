"""Redeploy on a real Swarm: the specification that it writes, rollback, and updates by others."""

from pathlib import Path

import pytest

from tests.contract import swarm_support as swarm
from tests.contract.docker_support import APP
from tests.contract.swarm_support import Sampler
from tests.support.docker_bed import PRIVATE, DockerBed
from tests.support.images import Image
from tests.support.runs import FakeRun, once_at
from tests.support.waiting import wait_until
from tutumd.engines.swarm.engine import SwarmEngine
from tutumd.errors import EngineRefusedError

SETTINGS = ("--update-parallelism", "2", "--update-delay", "1s", "--update-failure-action", "continue")
HANGING = Image(version="hanging", healthcheck=("CMD", "sleep", "1000"))
ENDS_AT_A_SIGN = "while ! test -e /signs/end; do sleep 0.1; done; echo 'fatal: cannot go on'; exit 4"


@pytest.mark.slow
@pytest.mark.parametrize(
    "settings",
    [
        pytest.param((), id="default settings", marks=pytest.mark.nightly),
        pytest.param(SETTINGS, id="settings of the user"),
    ],
)
def test_redeploy_brings_the_pushed_image_and_loses_no_container(
    swarm_engine: SwarmEngine, clean_bed: DockerBed, settings: tuple[str, ...]
) -> None:
    first = clean_bed.push("app", "v1")
    swarm.create(clean_bed, "web", APP, *settings)
    before, snapshot = swarm.spec(clean_bed, "web"), swarm.snapshot(swarm_engine, "web")
    labels = {"version": "v2", "org.opencontainers.image.revision": "a" * 40}
    second = clean_bed.push("app", Image(version="v2", labels=labels))
    run = FakeRun()
    with Sampler(lambda: len(swarm.running(clean_bed, "web"))) as sampler:
        outcome = swarm_engine.redeploy(swarm.service("web"), run)
    assert (outcome.success, outcome.reason, outcome.rolled_back) == (True, "", False)
    assert (outcome.image_before, outcome.image_after) == (first, second)
    assert outcome.image is not None
    assert outcome.image.revision == "a" * 40
    assert set(outcome.containers_before) == {container.id for container in snapshot.containers}
    assert set(outcome.containers_after).isdisjoint(outcome.containers_before)
    assert swarm.running(clean_bed, "web") == ["v2", "v2"]
    assert min(sampler.samples) == 2
    after = swarm.spec(clean_bed, "web")
    assert after["TaskTemplate"]["ContainerSpec"]["Image"] == f"{APP}:latest@{second}"
    assert after["TaskTemplate"]["ForceUpdate"] == 1
    assert after.get("UpdateConfig", "none") == before.get("UpdateConfig", "none")
    after["TaskTemplate"] = before["TaskTemplate"]
    assert after == before


@pytest.mark.slow
def test_an_update_that_the_engine_pauses_is_undone(
    swarm_engine: SwarmEngine, clean_bed: DockerBed, tmp_path: Path
) -> None:
    clean_bed.push("app", "v1")
    swarm.create(clean_bed, "web", APP, "--mount", f"type=bind,source={tmp_path},target=/signs,readonly")
    before = swarm.spec(clean_bed, "web")
    clean_bed.push("app", Image(version="ending", command=("sh", "-c", ENDS_AT_A_SIGN)))
    pause = ("service", "update", "--detach", "--update-failure-action", "pause", "--update-monitor", "10s", "web")

    def let_the_engine_pause() -> None:
        clean_bed.docker(*pause)
        (tmp_path / "end").touch()

    run = FakeRun(on_log=once_at("1 of 2 new containers run", let_the_engine_pause))
    outcome = swarm_engine.redeploy(swarm.service("web"), run)
    assert (outcome.success, outcome.rolled_back) == (False, True)
    # Whichever is seen first.
    assert "the engine paused the update" in outcome.reason or "exited with 4" in outcome.reason
    assert outcome.log_tail.splitlines()[-1] == "fatal: cannot go on"
    assert swarm.running(clean_bed, "web") == ["v1", "v1"]
    assert swarm.spec(clean_bed, "web")["TaskTemplate"] == before["TaskTemplate"]


@pytest.mark.slow
def test_a_redeploy_frees_a_service_whose_last_update_is_paused(
    swarm_engine: SwarmEngine, clean_bed: DockerBed
) -> None:
    clean_bed.push("app", "v1")
    swarm.create(clean_bed, "web", APP)
    clean_bed.push("app", "v3-broken")
    clean_bed.docker("service", "update", "--detach", "--image", APP, "web")
    wait_until(lambda: "paused" in str(clean_bed.inspect("service", "web")), "the update is paused")
    assert any("paused" in warning for warning in swarm.snapshot(swarm_engine, "web").warnings)
    clean_bed.push("app", "v2")
    outcome = swarm_engine.redeploy(swarm.service("web"), FakeRun())
    assert outcome.success, outcome.reason
    assert swarm.running(clean_bed, "web") == ["v2", "v2"]


@pytest.mark.slow
def test_an_update_by_another_client_is_reported_and_stays(swarm_engine: SwarmEngine, clean_bed: DockerBed) -> None:
    clean_bed.push("app", "v1")
    swarm.create(clean_bed, "web", APP)
    clean_bed.push("app", "v2")
    other = ("service", "update", "--detach", "--force", "--env-add", "FROM=elsewhere", "web")
    run = FakeRun(on_log=once_at("1 of 2 new containers run", lambda: clean_bed.run(*other)))
    outcome = swarm_engine.redeploy(swarm.service("web"), run)
    assert (outcome.success, outcome.rolled_back) == (False, False)
    assert "somebody else updated the service" in outcome.reason
    after = swarm.spec(clean_bed, "web")
    assert after["TaskTemplate"]["ContainerSpec"]["Env"] == ["FROM=elsewhere"]
    assert "UpdateConfig" not in after


def test_a_registry_that_is_away_leaves_the_service_untouched(swarm_engine: SwarmEngine, clean_bed: DockerBed) -> None:
    clean_bed.push("app", "v1")
    swarm.create(clean_bed, "web", APP, replicas=1)
    clean_bed.stop_registry()
    before = swarm.spec(clean_bed, "web")
    service = swarm.service("web")
    for use in (lambda: swarm_engine.redeploy(service, FakeRun()), lambda: swarm_engine.plan(service, None)):
        with pytest.raises(EngineRefusedError, match="cannot find out which image"):
            use()
    assert swarm.spec(clean_bed, "web") == before


@pytest.mark.slow
def test_a_private_image_is_found_with_a_login_made_after_the_start(
    swarm_engine: SwarmEngine, clean_bed: DockerBed
) -> None:
    image = f"{PRIVATE}/app"
    swarm_engine.discover()
    clean_bed.login()
    clean_bed.push("app", "v1", registry=PRIVATE)
    swarm.create(clean_bed, "web", image, "--with-registry-auth", replicas=1)
    digest = clean_bed.push("app", "v2", registry=PRIVATE)
    outcome = swarm_engine.redeploy(swarm.service("web"), FakeRun())
    assert (outcome.success, outcome.image_after) == (True, digest)
    assert swarm.running(clean_bed, "web") == ["v2"]


@pytest.mark.slow
def test_a_service_that_is_removed_during_a_redeploy_is_reported(
    swarm_engine: SwarmEngine, clean_bed: DockerBed
) -> None:
    clean_bed.push("app", "v1")
    swarm.create(clean_bed, "web", APP)
    run = FakeRun(on_log=once_at("1 of 2 new containers run", lambda: clean_bed.run("service", "rm", "web")))
    outcome = swarm_engine.redeploy(swarm.service("web"), run)
    assert not outcome.success
    assert "was removed" in outcome.reason
    assert swarm_engine.inspect(swarm.service("web")) is None


@pytest.mark.slow
def test_a_service_that_somebody_scales_to_0_in_the_middle_of_an_update_is_rolled_back(
    swarm_engine: SwarmEngine, clean_bed: DockerBed
) -> None:
    first = clean_bed.push("app", "healthy")  # it has a health check: nothing is tried out before the update
    swarm.create(clean_bed, "web", APP)
    clean_bed.push("app", HANGING)
    empty = once_at("0 of 2 new containers run", lambda: clean_bed.docker("service", "scale", "--detach", "web=0"))
    outcome = swarm_engine.redeploy(swarm.service("web"), FakeRun(on_log=empty))
    assert (outcome.success, outcome.rolled_back) == (False, True), outcome.reason
    assert outcome.reason == (
        "somebody else scaled the service to 0 during the update, so nothing shows that the new version runs"
    )
    assert swarm.image(clean_bed, "web") == f"{APP}:latest@{first}"
    assert swarm.running(clean_bed, "web") == []
    clean_bed.docker("service", "scale", "--detach", "web=1")
    wait_until(lambda: swarm.running(clean_bed, "web") == ["healthy"], "the previous version runs")
    clean_bed.docker("service", "scale", "web=0")
    stopped = swarm_engine.redeploy(swarm.service("web"), FakeRun())
    assert (stopped.success, stopped.reason.startswith("the service is stopped and stays stopped")) == (True, True)
