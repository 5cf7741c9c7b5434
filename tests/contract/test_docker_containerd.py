"""Redeploy on a Docker Engine with the containerd image store, which drops an image when a pull takes its last name."""

from collections.abc import Iterator

import pytest

from tests.contract.docker_support import APP, inspected, opened, service, states, version
from tests.support.docker_bed import DockerBed
from tests.support.images import VERSIONS, Image
from tests.support.runs import FakeRun
from tutumd.errors import EngineRefusedError

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def containerd_bed(docker_bed: DockerBed) -> Iterator[DockerBed]:
    """A Docker Engine with that store. `docker_bed` pushes, so that this engine has nothing of a push."""
    with DockerBed("-c", images_of=docker_bed, settings={"features": {"containerd-snapshotter": True}}) as bed:
        yield bed


@pytest.fixture
def bed(containerd_bed: DockerBed) -> Iterator[DockerBed]:
    # This engine does not fetch a layer that it has unpacked already, and then does not list the image.
    containerd_bed.docker("rmi", *[f"app:{name}" for name in VERSIONS])
    yield containerd_bed
    containerd_bed.clean()


def names(bed: DockerBed) -> dict[str, str]:
    """Return the tags of the images of the repository, by ID."""
    listed = bed.docker("image", "ls", "--no-trunc", "--format", "{{.Repository}} {{.ID}} {{.Tag}}").splitlines()
    return {image: tag for repository, image, tag in map(str.split, listed) if repository == APP}


def run(bed: DockerBed) -> str:
    bed.docker("run", "-d", "--name", "web", "-e", "MINE=1", APP)
    return str(inspected(bed, "web")["Image"])


def test_the_previous_image_is_kept_and_an_older_or_unchanged_one_not(docker_bed: DockerBed, bed: DockerBed) -> None:
    docker_bed.push("app", "v1")
    ids = [run(bed)]
    pulled: set[str] = set()
    with opened(bed) as engine:
        assert engine.redeploy(service("name:web"), FakeRun()).success
        assert names(bed) == {ids[0]: "latest"}
        for number, pushed in enumerate([Image(version=each) for each in "bc"] + [Image(version="c", env={"D": "1"})]):
            docker_bed.push("app", pushed)
            action = FakeRun(action_uuid=f"{number}1111111-0000", pulled=pulled)
            outcome = engine.redeploy(service("name:web"), action)
            assert outcome.success, outcome
            pulled = action.pulled
            ids.append(str(inspected(bed, "web")["Image"]))
            # The first one was not pulled by a run.
            previous = {each: f"tutum-prev-{each[7:19]}" for each in (ids[0], ids[-2])}
            assert names(bed) == {**previous, ids[-1]: "latest"}
    assert set(inspected(bed, "web")["Config"]["Env"]) == {"MINE=1", "D=1", "PATH=/bin", "VERSION=c"}


def test_an_image_that_failed_does_not_keep_the_name(docker_bed: DockerBed, bed: DockerBed) -> None:
    docker_bed.push("app", "v1")
    old = run(bed)
    docker_bed.push("app", "v3-broken")
    with opened(bed) as engine:
        failed = FakeRun()
        assert engine.redeploy(service("name:web"), failed).rolled_back
        assert names(bed)[old] == "latest"
        # The next newer one takes what failed away with it.
        docker_bed.push("app", "v2")
        following = FakeRun(action_uuid="1a1b2c3d-0000", pulled=failed.pulled)
        assert engine.redeploy(service("name:web"), following).success
    assert names(bed) == {old: f"tutum-prev-{old[7:19]}", str(inspected(bed, "web")["Image"]): "latest"}
    assert (states(bed), version(bed, "web")) == ({"web": "running"}, "v2")


def test_an_image_that_another_pull_removed_is_fetched_again(docker_bed: DockerBed, bed: DockerBed) -> None:
    docker_bed.push("app", "v1")
    old = run(bed)
    docker_bed.push("app", "v2")
    bed.docker("pull", APP)
    assert bed.run("image", "inspect", old).returncode != 0
    with opened(bed) as engine:
        plan = engine.plan(service("name:web"), None)
        assert plan.refused == ""
        assert plan.notes[0] == "the image that web runs is gone from the engine: it is pulled again by digest first"
        assert engine.redeploy(service("name:web"), FakeRun()).success
    assert set(inspected(bed, "web")["Config"]["Env"]) == {"MINE=1", "NEW_IN_V2=yes", "PATH=/bin", "VERSION=v2"}


def test_a_local_build_is_not_taken_for_one_of_docker_hub(bed: DockerBed) -> None:
    bed.load({"localhost/mine:latest": Image(version="a"), "mine:latest": Image(version="a")})
    bed.docker("run", "-d", "--name", "web", "localhost/mine")
    bed.docker("run", "-d", "--name", "unclear", "mine")
    with opened(bed) as engine:
        bed.load({"localhost/mine:latest": Image(version="b", labels={"version": "b"})})
        outcome = engine.redeploy(service("name:web"), FakeRun())
        assert (outcome.success, outcome.reason) == (True, "the image was never in a registry: the local one was used")
        # Whether it is one of Docker Hub only that can tell, which cannot be reached from here.
        with pytest.raises(
            EngineRefusedError, match=r"cannot find mine@sha256:.*; name what was built here localhost/mine"
        ):
            engine.redeploy(service("name:unclear"), FakeRun())
    assert version(bed, "web") == "b"
