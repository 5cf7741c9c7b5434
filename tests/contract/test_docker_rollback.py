"""Rollbacks on a real Docker Engine, with both of its image stores, and on Podman."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.contract.docker_support import APP, inspected, opened, redeploy, service, snapshots, states, version
from tests.support.docker_bed import DockerBed
from tests.support.images import VERSIONS, Image
from tests.support.podman_bed import PodmanBed
from tests.support.runs import FakeRun
from tests.support.waiting import wait_until
from tutumd.engines.docker.engine import DockerEngine
from tutumd.errors import EngineRefusedError
from tutumd.model import Availability, ImageFacts, Outcome, WantedImage

pytestmark = pytest.mark.slow

NEWEST = f"{APP}:latest"


@pytest.fixture(scope="module")
def containerd_bed(docker_bed: DockerBed) -> Iterator[DockerBed]:
    with DockerBed("-d", images_of=docker_bed, settings={"features": {"containerd-snapshotter": True}}) as bed:
        yield bed


@pytest.fixture(
    params=["classic", *(pytest.param(name, marks=pytest.mark.nightly) for name in ("containerd", "podman"))],
)
def bed(request: pytest.FixtureRequest) -> Iterator[DockerBed]:
    """An engine of each kind of image store."""
    fixtures = {"classic": "clean_bed", "containerd": "containerd_bed", "podman": "clean_podman"}
    bed: DockerBed = request.getfixturevalue(fixtures[request.param])
    if request.param == "containerd":
        bed.docker("rmi", *[f"app:{name}" for name in VERSIONS])
    yield bed
    if request.param == "containerd":
        bed.clean()


def facts(engine: DockerEngine) -> ImageFacts:
    found = snapshots(engine)["name:web"].image
    assert found is not None
    return found


def release(bed: DockerBed, engine: DockerEngine, number: int) -> ImageFacts:
    """Push a version under the moving tag and redeploy; return the image that runs."""
    bed.push("app", Image(version=f"v{number}", labels={"version": f"v{number}"}))
    outcome = redeploy(engine, "name:web", FakeRun(action_uuid=f"{number}1111111-0000"))
    assert outcome.success, outcome
    assert outcome.image == facts(engine)
    return facts(engine)


def roll_back(engine: DockerEngine, image: ImageFacts, number: int = 1) -> Outcome:
    wanted = WantedImage(number=number, digest=image.digest, image_id="" if image.digest else image.image_id)
    return engine.redeploy(service("name:web"), FakeRun(image=wanted, action_uuid=f"{number}2222222-0000"))


def prune(bed: DockerBed) -> None:
    bed.docker("image", "prune", "--all", "--force")


def test_back_two_versions_and_again_by_digest_after_all_images_were_pruned(bed: DockerBed) -> None:
    bed.push("app", "v1")
    bed.docker("run", "-d", "--name", "web", "-e", "MINE=1", NEWEST)
    with opened(bed) as engine:
        ran = [facts(engine), *(release(bed, engine, number) for number in (2, 3, 4, 5))]
        assert len({each.digest for each in ran}) == 5
        for index, number in ((3, 6), (2, 7)):
            outcome = roll_back(engine, ran[index], number)
            assert outcome.success, outcome
            assert outcome.image == facts(engine) == ran[index]
            assert version(bed, "web") == f"v{index + 1}"
        prune(bed)
        outcome = roll_back(engine, ran[1], 8)
        assert (outcome.success, version(bed, "web")) == (True, "v2"), outcome
        assert facts(engine) == ran[1]
        assert facts(engine).reference == NEWEST
        scaled = engine.scale(service("name:web"), 2, FakeRun(action_uuid="33333333-0000"))
        assert scaled.success, scaled
        assert {version(bed, name) for name in states(bed)} == {"v2"}
        back = redeploy(engine, "name:web", FakeRun(action_uuid="44444444-0000"))
        assert back.success, back
        assert back.reason.startswith(f"without a tag, it goes back from {APP}")
        assert "which a rollback chose" in back.reason
    assert {version(bed, name) for name in states(bed)} == {"v5"}
    assert (inspected(bed, "web")["Config"]["Image"], states(bed)) == (NEWEST, {"web": "running", "web-2": "running"})
    assert "MINE=1" in inspected(bed, "web")["Config"]["Env"]


def test_a_deleted_manifest_leaves_everything_as_it_is(bed: DockerBed) -> None:
    bed.push("app", Image(version="v0"))  # Podman gives an image that was also loaded a digest of its own
    bed.docker("run", "-d", "--name", "web", NEWEST)
    with opened(bed) as engine:
        old = facts(engine)
        new = release(bed, engine, 2)
        prune(bed)
        before = inspected(bed, "web")
        is_podman = isinstance(bed, PodmanBed)
        wanted = [WantedImage(number=1, digest=old.digest), WantedImage(number=2, digest=new.digest)]

        def old_is(expected: Availability) -> bool:
            """Return whether the old image is there, and the new one here. A slow registry is unknown for a while."""
            return engine.availability(service("name:web"), wanted) == {1: expected, 2: Availability.LOCAL}

        wait_until(lambda: old_is(Availability.UNKNOWN if is_podman else Availability.REGISTRY), "it is found")
        bed.delete_image("app", old.digest)
        wait_until(lambda: old_is(Availability.UNKNOWN if is_podman else Availability.NO), "it is gone")
        with pytest.raises(EngineRefusedError, match=r"manifest.*unknown|not found"):
            roll_back(engine, old)
        assert facts(engine) == new
    after = inspected(bed, "web")
    assert (after["Id"], after["State"]["StartedAt"]) == (before["Id"], before["State"]["StartedAt"])
    assert states(bed) == {"web": "running"}


def test_an_image_of_another_platform_is_refused(bed: DockerBed) -> None:
    bed.push("app", "v1")
    bed.docker("run", "-d", "--name", "web", NEWEST)
    foreign = bed.push("app", Image(version="foreign", architecture="s390x"), "foreign")
    before = inspected(bed, "web")["Id"]
    with opened(bed) as engine:
        with pytest.raises(EngineRefusedError, match=r"is available for linux/s390x only|no image found|no matching"):
            roll_back(engine, ImageFacts(digest=foreign))
        bed.run("pull", "--platform", "linux/s390x", f"{APP}:foreign")
        with pytest.raises(EngineRefusedError, match="is available for linux/s390x only"):
            roll_back(engine, ImageFacts(digest=foreign))
    assert (inspected(bed, "web")["Id"], states(bed)) == (before, {"web": "running"})


def test_a_local_build_is_restored_by_its_id_while_it_is_here(bed: DockerBed) -> None:
    name = "localhost/mine:latest"
    bed.load({name: Image(version="a", labels={"version": "a"})})
    bed.docker("run", "-d", "--name", "web", name)
    with opened(bed) as engine:
        old = facts(engine)
        bed.docker("tag", name, "localhost/mine:kept")  # the containerd store drops an image with its last name
        bed.load({name: Image(version="b", labels={"version": "b"})})
        assert redeploy(engine, "name:web", FakeRun(action_uuid="11111111-0000")).success
        outcome = roll_back(engine, old)
        assert (outcome.success, version(bed, "web")) == (True, "a"), outcome
        assert facts(engine).image_id == old.image_id
        assert facts(engine).reference == name
        outcome = redeploy(engine, "name:web", FakeRun(action_uuid="44444444-0000"))
        assert (outcome.success, version(bed, "web")) == (True, "b"), outcome
        bed.docker("rmi", "--force", old.image_id)
        with pytest.raises(EngineRefusedError):
            roll_back(engine, old, 5)
    assert (inspected(bed, "web")["Config"]["Image"], states(bed)) == (name, {"web": "running"})


def test_the_next_redeploy_returns_to_a_digest_that_a_person_gave(bed: DockerBed) -> None:
    first, second = (bed.push("app", Image(version=each, labels={"version": each})) for each in "ab")
    bed.docker("run", "-d", "--name", "web", f"{APP}@{second}")
    with opened(bed) as engine:
        outcome = roll_back(engine, ImageFacts(digest=first))
        assert (outcome.success, version(bed, "web")) == (True, "a"), outcome
        assert (facts(engine).reference, facts(engine).digest) == (APP, first)
        outcome = redeploy(engine, "name:web", FakeRun(action_uuid="44444444-0000"))
        assert (outcome.success, version(bed, "web")) == (True, "b"), outcome
    assert inspected(bed, "web")["Config"]["Image"] == f"{APP}@{second}"


def test_a_failed_rollback_restores_what_ran(clean_bed: DockerBed) -> None:
    bed = clean_bed
    broken = bed.push("app", "v3-broken")
    bed.push("app", "v1")
    bed.docker("run", "-d", "--name", "web", NEWEST)
    before = inspected(bed, "web")["Id"]
    with opened(bed) as engine:
        outcome = roll_back(engine, ImageFacts(digest=broken))
        assert (outcome.success, outcome.rolled_back, outcome.image) == (False, True, None)
    assert (inspected(bed, "web")["Id"], states(bed)) == (before, {"web": "running"})
    assert inspected(bed, "web")["Image"] == bed.inspect("image", NEWEST)["Id"], "the tag has not moved"


def test_a_stopped_service_stays_stopped_and_starts_with_the_image(clean_bed: DockerBed) -> None:
    bed = clean_bed
    bed.push("app", "v1")
    bed.docker("run", "-d", "--name", "web", NEWEST)
    with opened(bed) as engine:
        old = facts(engine)
        release(bed, engine, 2)
        bed.docker("stop", "web")
        outcome = roll_back(engine, old)
        assert (outcome.success, outcome.reason) == (True, "the service is stopped: it was replaced and stays stopped")
    assert states(bed) == {"web": "exited"} or states(bed) == {"web": "created"}
    assert version(bed, "web") == "v1"


def test_compose_up_keeps_a_service_that_was_rolled_back(clean_bed: DockerBed, tmp_path: Path) -> None:
    bed = clean_bed
    bed.push("app", "v1")
    folder = bed.up(tmp_path, f"services: {{web: {{image: {APP}}}}}")
    with opened(bed) as engine:
        selector = next(iter(snapshots(engine)))
        old = snapshots(engine)[selector].image
        assert old is not None
        bed.push("app", "v2")
        assert redeploy(engine, selector).success
        wanted = WantedImage(number=1, digest=old.digest)
        plan = engine.plan(service(selector), None, wanted)
        assert (plan.refused, plan.image_name, plan.image_after) == ("", f"{APP}@{old.digest}", old.digest)
        assert engine.redeploy(service(selector), FakeRun(image=wanted, action_uuid="22222222-0000")).success
        bed.compose(folder, "up", "-d")
        assert version(bed, "shop-web-1") == "v1"
        assert redeploy(engine, selector, FakeRun(action_uuid="33333333-0000")).success
    assert version(bed, "shop-web-1") == "v2"
