"""Local builds, superseded images, and whether an engine can run what a registry has."""

from dataclasses import replace
from typing import Any

import pytest

from tests.support.runs import FakeRun
from tests.unit.docker.documents import image
from tests.unit.docker.fake_docker import FakeDocker
from tutumd.engines.docker.look.containers import platform_of
from tutumd.engines.docker.look.facts import EngineFacts, check_platform, kept_platform, parse_facts
from tutumd.engines.docker.plan.images import is_local_build, remove_superseded, superseded_images
from tutumd.engines.dockerapi.registry import Manifest, inspect_manifest
from tutumd.engines.labels import parse_reference
from tutumd.errors import EngineRefusedError
from tutumd.model import ImageFacts

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
    superseded = list(superseded_images(images, NAMES, {image(2)["Id"]}, {APP, OTHER}))
    assert [one["Id"] for one in superseded] == [image(number)["Id"] for number in (1, 7, 8)]


def test_the_images_that_the_service_ran_last_may_stay() -> None:
    digests = [f"app@sha256:{number}{'e' * 63}" for number in range(4)]
    engine = FakeDocker()
    engine.dangling = tuple({**image(each, digests=[digests[each]]), "Created": each} for each in range(4))
    history = [ImageFacts(digest=digests[each].partition("@")[2]) for each in (0, 0, 2)]
    for keep, removed in ((0, [3, 2, 1, 0]), (1, [2, 3, 1]), (2, [3, 1]), (3, [1])):
        engine.removed_images.clear()
        remove_superseded(engine.api, ["app"], set(), keep, FakeRun(pulled=digests, history=history))
        assert engine.removed_images == [image(each)["Id"] for each in removed], keep


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


ENGINE = EngineFacts(host_name="machine", system="linux", architecture="amd64", in_swarm=True)


def test_facts_and_manifests_are_parsed() -> None:
    info = {"Name": "machine", "Swarm": {"LocalNodeState": "active"}}
    version = {"Os": "linux", "Arch": "amd64"}
    assert parse_facts(info, version) == ENGINE
    stored = {**info, "DriverStatus": [["driver-type", "io.containerd.snapshotter.v1"]]}
    assert parse_facts(stored, version) == replace(ENGINE, by_manifest=True)
    assert not parse_facts({}, {}).in_swarm
    answer = {
        "Descriptor": {"digest": "sha256:a"},
        "Platforms": [{"os": "linux", "architecture": "arm64"}, {"os": "unknown", "architecture": "unknown"}],
    }

    class Registry:
        def inspect_distribution(self, name: str, auth_config: object) -> object:
            return answer

    client: Any = Registry()
    found = inspect_manifest(client, parse_reference("app"), {}, "find it")
    assert found == Manifest(digest="sha256:a", platforms=(("linux", "arm64"),))


@pytest.mark.parametrize(
    ("platforms", "kept"),
    [
        ([("linux", "amd64")], ""),
        ([("linux", "arm64"), ("linux", "amd64")], ""),
        ([("linux", "386")], ""),
        ([("linux", "arm64")], "linux/arm64/v8"),
        ([], ""),
        ([], "linux/arm64"),
    ],
)
def test_a_fitting_platform_passes(platforms: list[tuple[str, str]], kept: str) -> None:
    check_platform("app", platforms, ENGINE, kept)


def test_another_platform_is_refused() -> None:
    with pytest.raises(EngineRefusedError, match="app is available for linux/arm64, windows/amd64 only"):
        check_platform("app", [("linux", "arm64"), ("windows", "amd64")], ENGINE)
    with pytest.raises(EngineRefusedError, match="only, and the service runs on linux/386: build and push"):
        check_platform("app", [("linux", "amd64")], ENGINE, "linux/386")
    with pytest.raises(EngineRefusedError, match="the service runs on linux/arm64"):
        check_platform("app", [("linux", "386")], ENGINE, "linux/arm64")


def test_the_platform_of_a_container_is_that_of_its_image_or_of_the_manifest_that_runs() -> None:
    image = {"Os": "linux", "Architecture": "amd64", "Variant": ""}
    assert platform_of({}, image) == "linux/amd64"
    manifest = {"platform": {"os": "linux", "architecture": "arm", "variant": "v7"}}
    assert platform_of({"ImageManifestDescriptor": manifest}, image) == "linux/arm/v7"
    assert (platform_of({}, None), platform_of({}, {"Os": "linux"})) == ("", "")


def test_a_platform_is_kept_if_it_is_not_the_engines_own() -> None:
    assert kept_platform(["linux/amd64", "", "linux/amd64/v2"], ENGINE) == ""
    assert kept_platform(["linux/386", "", "linux/386"], ENGINE) == "linux/386"
    with pytest.raises(EngineRefusedError, match="its containers run on several platforms"):
        kept_platform(["linux/386", "linux/amd64"], ENGINE)
