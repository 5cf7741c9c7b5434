"""Rollbacks on a real Swarm: by digest, from a registry that deletes, without a failed request, and killed."""

from dataclasses import replace

import pytest

from tests.contract import swarm_support as swarm
from tests.contract.docker_support import APP
from tests.support.docker_bed import DockerBed
from tests.support.images import Image
from tests.support.poller import polling
from tests.support.runs import FakeRun, Killed
from tutumd.engines.swarm.engine import SwarmEngine
from tutumd.errors import EngineRefusedError
from tutumd.model import Availability, ImageFacts, Outcome, WantedImage

pytestmark = pytest.mark.slow
ROLLED_BACK = "tutum.image.rolled-back"
VERSIONS = tuple(Image(version=f"v{n}", labels={"version": f"v{n}"}) for n in range(1, 6))
CHECKED = tuple(replace(image, healthcheck=("CMD", "/bin/true")) for image in VERSIONS)
OF_OTHERS = WantedImage(number=9, digest="sha256:" + "9" * 64)
MAX_STEPS = 14


def release(bed: DockerBed, *images: Image) -> list[WantedImage]:
    """Push images under one moving tag; return them as rows of a history."""
    return [WantedImage(number=number, digest=bed.push("app", image)) for number, image in enumerate(images, 1)]


def roll_back(engine: SwarmEngine, image: WantedImage) -> Outcome:
    return engine.redeploy(swarm.service("web"), FakeRun(image=image))


def name_of(image: WantedImage) -> str:
    return f"{APP}:latest@{image.digest}"


def test_rollbacks_go_two_versions_back_and_the_next_redeploy_returns_to_the_tag(
    swarm_engine: SwarmEngine, clean_bed: DockerBed
) -> None:
    bed, web = clean_bed, swarm.service("web")
    first, _, third, fourth, fifth = release(bed, *VERSIONS)
    swarm.create(bed, "web", APP, replicas=1)
    before = swarm.spec(bed, "web")
    for image, version in ((fourth, "v4"), (third, "v3")):
        assert swarm_engine.plan(web, None, image).image_after == image.digest
        outcome = roll_back(swarm_engine, image)
        assert (outcome.success, outcome.image_after) == (True, image.digest), outcome.reason
        assert outcome.image == ImageFacts(reference=f"{APP}:latest", digest=image.digest)
        assert swarm.snapshot(swarm_engine, "web").image == outcome.image
        assert (swarm.image(bed, "web"), swarm.running(bed, "web")) == (name_of(image), [version])
        assert swarm.spec(bed, "web")["Labels"] == {ROLLED_BACK: f"{name_of(image)} {name_of(fifth)}"}
    assert swarm_engine.scale(replace(web, target=1), 2, FakeRun()).success
    assert swarm.running(bed, "web") == ["v3", "v3"]
    bed.docker("system", "prune", "--all", "--force")
    bed.delete_image("app", fourth.digest)
    rows = (first, third, fourth, fifth, WantedImage(number=7, image_id="sha256:" + "7" * 64))
    where = (Availability.REGISTRY, Availability.LOCAL, Availability.NO, Availability.REGISTRY, Availability.NO)
    numbered = [replace(row, number=number) for number, row in enumerate(rows)]
    assert tuple(swarm_engine.availability(web, numbered).values()) == where
    rolled_back = swarm.spec(bed, "web")
    for gone, reason in ((fourth, "manifest unknown"), (rows[-1], "has no digest of a registry")):
        for use in (lambda row=gone: roll_back(swarm_engine, row), lambda row=gone: swarm_engine.plan(web, None, row)):
            with pytest.raises(EngineRefusedError, match=reason):
                use()
    assert swarm.spec(bed, "web") == rolled_back
    assert roll_back(swarm_engine, first).success
    assert swarm.running(bed, "web") == ["v1", "v1"]
    assert swarm_engine.redeploy(web, FakeRun()).success
    after = swarm.spec(bed, "web")
    assert (swarm.image(bed, "web"), swarm.running(bed, "web")) == (name_of(fifth), ["v5", "v5"])
    assert (after["Labels"], after.get("UpdateConfig")) == ({}, before.get("UpdateConfig"))


def test_a_rollback_without_the_registry_uses_the_image_of_the_node(
    swarm_engine: SwarmEngine, clean_bed: DockerBed
) -> None:
    bed, web = clean_bed, swarm.service("web")
    (first,) = release(bed, VERSIONS[0])
    swarm.create(bed, "web", APP, replicas=1)
    bed.push("app", VERSIONS[1])
    assert swarm_engine.redeploy(web, FakeRun()).success
    bed.stop_registry()
    assert swarm_engine.availability(web, [first, OF_OTHERS]) == {1: Availability.LOCAL, 9: Availability.UNKNOWN}
    with pytest.raises(EngineRefusedError, match="cannot find the image #9 in its registry"):
        roll_back(swarm_engine, OF_OTHERS)
    outcome = roll_back(swarm_engine, first)
    assert outcome.success
    assert outcome.reason.startswith("only nodes that have the image #1 can start it (cannot find the image #1")
    assert swarm.running(bed, "web") == ["v1"]


@pytest.mark.nightly
def test_the_only_node_goes_back_to_an_image_that_was_built_there(
    swarm_engine: SwarmEngine, clean_bed: DockerBed
) -> None:
    bed, web = clean_bed, swarm.service("web")
    bed.load({"built:latest": VERSIONS[0]})
    swarm.create(bed, "web", "built:latest", replicas=1)
    rows: list[WantedImage] = []
    for image in VERSIONS[:2]:
        bed.load({"built:latest": image})
        outcome = swarm_engine.redeploy(web, FakeRun())
        assert outcome.image, outcome.reason
        assert (outcome.image.reference, outcome.image.digest) == ("built:latest", "")
        rows.append(WantedImage(number=len(rows) + 1, image_id=outcome.image.image_id))
    by_name = swarm.spec(bed, "web")
    missing = WantedImage(number=9, image_id="sha256:" + "9" * 64)
    where = {1: Availability.LOCAL, 2: Availability.LOCAL, 9: Availability.NO}
    assert swarm_engine.availability(web, [*rows, missing]) == where
    with pytest.raises(EngineRefusedError, match="the image #9 has no digest of a registry"):
        roll_back(swarm_engine, missing)
    assert swarm.spec(bed, "web") == by_name
    outcome = roll_back(swarm_engine, rows[0])
    assert outcome.success, outcome.reason
    assert outcome.image == ImageFacts(reference="built:latest", image_id=rows[0].image_id)
    shown = swarm.snapshot(swarm_engine, "web")
    assert (shown.image, shown.image_name, shown.rollback_refusal) == (outcome.image, "built:latest", "")
    assert swarm_engine.scale(replace(web, target=1), 2, FakeRun()).success
    assert swarm.running(bed, "web") == ["v1", "v1"]
    assert swarm_engine.plan(web, None).image_name == "built:latest"
    assert swarm_engine.redeploy(web, FakeRun()).success
    assert (swarm.image(bed, "web"), swarm.running(bed, "web")) == ("built:latest", ["v2", "v2"])


def test_a_rollback_that_fails_leaves_what_ran_and_its_name(swarm_engine: SwarmEngine, clean_bed: DockerBed) -> None:
    bed = clean_bed
    broken, good, newest = release(bed, replace(CHECKED[0], command=("/crash",)), CHECKED[1], CHECKED[2])
    swarm.create(bed, "web", APP, replicas=1)
    assert roll_back(swarm_engine, good).success
    before = swarm.spec(bed, "web")
    outcome = roll_back(swarm_engine, broken)
    assert (outcome.success, outcome.rolled_back, outcome.image) == (False, True, None)
    assert (swarm.running(bed, "web"), swarm.spec(bed, "web")) == (["v2"], before)
    assert swarm_engine.redeploy(swarm.service("web"), FakeRun()).success
    assert swarm.image(bed, "web") == name_of(newest)


@pytest.mark.nightly
def test_a_rollback_of_a_stopped_service_changes_what_its_next_start_runs(
    swarm_engine: SwarmEngine, clean_bed: DockerBed
) -> None:
    first, _ = release(clean_bed, *VERSIONS[:2])
    swarm.create(clean_bed, "web", APP, replicas=0)
    outcome = roll_back(swarm_engine, first)
    assert outcome.success
    assert outcome.reason == f"the service is stopped and stays stopped: its next start runs {name_of(first)}"
    assert swarm_engine.start(swarm.service("web", target=1), FakeRun()).success
    assert swarm.running(clean_bed, "web") == ["v1"]


@pytest.mark.parametrize("replicas", [pytest.param(1, marks=pytest.mark.nightly), 3])
def test_a_rollback_is_not_noticed_by_a_caller(swarm_engine: SwarmEngine, clean_bed: DockerBed, replicas: int) -> None:
    clean_bed.docker("network", "create", "--driver", "overlay", "--attachable", "front")
    first, _ = release(clean_bed, *VERSIONS[:2])
    swarm.create(clean_bed, "web", APP, "--network", "front", replicas=replicas)
    with polling(clean_bed, "web", "front", retries=5) as polled:
        assert roll_back(swarm_engine, first).success
    assert polled.versions == ["v2", "v1"]
    assert polled.failures == []


@pytest.mark.nightly
@pytest.mark.parametrize("images", [VERSIONS, CHECKED], ids=["probed", "checked"])
def test_a_rollback_that_is_killed_at_any_step_is_resumed(clean_bed: DockerBed, images: tuple[Image, ...]) -> None:
    bed, web = clean_bed, swarm.service("web")
    targets = release(bed, *images[:3])
    swarm.create(bed, "web", APP, "--rollback-monitor", "1s", replicas=1)
    newest = targets.pop()
    for step in range(1, MAX_STEPS):
        target = targets[step % 2]
        first = FakeRun(image=target, kill_at=step)
        with swarm.opened(bed, stable_s=0.3) as engine:
            try:
                engine.redeploy(web, first)
            except Killed:
                pass
            else:
                break
        with swarm.opened(bed, stable_s=0.3) as engine:
            outcome = engine.redeploy(web, first.again())
        assert outcome.success, (step, outcome)
        spec = swarm.spec(bed, "web")
        assert (swarm.image(bed, "web"), len(swarm.running(bed, "web"))) == (name_of(target), 1), step
        assert (spec["Labels"], "UpdateConfig" in spec) == (
            {ROLLED_BACK: f"{name_of(target)} {name_of(newest)}"},
            False,
        ), step
    assert 4 <= step < MAX_STEPS - 1
    assert "-trial-" not in bed.docker("service", "ls")
