"""Local builds, and superseded images."""

import pytest

from tests.support.runs import FakeRun
from tests.unit.docker.documents import image
from tests.unit.docker.fake_docker import FakeDocker
from tutumd.engines.docker.plan.images import is_local_build, remove_superseded, superseded_images
from tutumd.engines.images import parse_reference

APP, OTHER = "127.0.0.1:5000/app@sha256:" + "a" * 64, "127.0.0.1:5000/other@sha256:" + "b" * 64
MANUAL, GONE = "127.0.0.1:5000/app@sha256:" + "c" * 64, "127.0.0.1:5000/app@sha256:" + "d" * 64
NAMES = ["127.0.0.1:5000/app:latest"]


def test_untagged_images_of_these_repositories_that_were_pulled_and_nothing_needs_are_superseded() -> None:
    images = [
        image(1, digests=[APP]),
        image(2, digests=[APP]),
        image(3, digests=[OTHER]),
        image(4, digests=[APP, OTHER]),
        image(5),
        {**image(6, digests=[APP]), "RepoTags": ["mine:1"]},
        {**image(7, digests=[APP]), "RepoTags": ["<none>:<none>"]},
        {**image(8, digests=[APP]), "RepoTags": ["127.0.0.1:5000/app:tutum-prev-000000000000"]},
        image(9, digests=[MANUAL]),
        image(10, digests=[APP, MANUAL]),
    ]
    superseded = superseded_images(images, NAMES, {image(2)["Id"]}, {APP, OTHER})
    assert [one["Id"] for one in superseded] == [image(number)["Id"] for number in (1, 7, 8)]


def test_the_newest_superseded_images_may_stay() -> None:
    images = [{**image(number, digests=[APP]), "Created": number} for number in (1, 3, 2)]
    superseded = superseded_images(images, NAMES, set(), {APP}, 1)
    assert [one["Id"] for one in superseded] == [image(2)["Id"], image(1)["Id"]]


def test_an_image_that_somebody_pulled_by_its_digest_or_that_a_container_runs_stays() -> None:
    engine, run, digests = FakeDocker(), FakeRun(), [f"app@sha256:{number}{'c' * 63}" for number in range(3)]
    run.update_pulled(added=[*digests, GONE])
    engine.dangling = tuple(image(number, digests=[digest]) for number, digest in enumerate(digests, start=1))
    engine.pulls = ["app:latest", digests[0]]
    engine.add(7, "other", image_number=2)
    remove_superseded(engine.api, ["app"], set(), 0, run)
    assert engine.removed_images == [image(3)["Id"]]
    assert run.pulled == set(digests[:2]), "what is gone is forgotten"


@pytest.mark.parametrize(
    ("name", "digests", "local"),
    [("app:v1", [], True), ("app:v1", ["app@sha256:" + "a" * 64], False), ("engine:5000/app", [], False)],
)
def test_an_image_is_local_if_its_name_has_no_registry_and_no_registry_has_it(
    name: str, digests: list[str], local: bool
) -> None:
    engine = FakeDocker()
    assert is_local_build(engine.api, parse_reference(name), image(digests=digests)) is local
    assert not is_local_build(engine.api, parse_reference(name), None)


def test_an_image_with_a_manifest_digest_is_local_if_its_repository_does_not_have_it() -> None:
    engine, built = FakeDocker(), image(1, digests=["app@sha256:" + "a" * 64])
    engine.by_manifest = True
    assert is_local_build(engine.api, parse_reference("app:v1"), built)
    engine.in_registry = {f"app@{built['Id']}"}
    assert not is_local_build(engine.api, parse_reference("app:v1"), built)
