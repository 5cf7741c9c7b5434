"""Whether an engine can run what a registry has."""

from dataclasses import replace
from typing import Any

import pytest

from tutumd.engines.docker.look.containers import platform_of
from tutumd.engines.docker.look.facts import EngineFacts, check_platform, kept_platform, parse_facts
from tutumd.engines.dockerapi.registry import Manifest, inspect_manifest
from tutumd.engines.images import parse_reference
from tutumd.errors import EngineRefusedError

ENGINE = EngineFacts(host_name="machine", system="linux", architecture="amd64", in_swarm=True)


def test_facts_and_manifests_are_parsed() -> None:
    info = {"Name": "machine", "Swarm": {"LocalNodeState": "active"}}
    version = {"Os": "linux", "Arch": "amd64"}
    assert parse_facts(info, version, is_podman=False) == ENGINE
    stored = {**info, "DriverStatus": [["driver-type", "io.containerd.snapshotter.v1"]]}
    assert parse_facts(stored, version, is_podman=False) == replace(ENGINE, by_manifest=True)
    podman = parse_facts({}, {}, is_podman=True)
    assert (podman.in_swarm, podman.is_podman) == (False, True)
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
