"""Whether an engine can run what a registry has."""

from dataclasses import replace

import pytest

from tutumd.engines.docker.platforms import EngineFacts, Manifest, check_platform, parse_facts, parse_manifest
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
    assert parse_manifest(answer) == Manifest(digest="sha256:a", platforms=(("linux", "arm64"),))


@pytest.mark.parametrize(
    ("platforms", "running"),
    [
        ([("linux", "amd64")], []),
        ([("linux", "arm64"), ("linux", "amd64")], []),
        ([("linux", "386")], []),
        ([("linux", "arm64")], ["arm64"]),
        ([], []),
    ],
)
def test_a_fitting_platform_passes(platforms: list[tuple[str, str]], running: list[str]) -> None:
    check_platform("app", platforms, ENGINE, running)


def test_another_platform_is_refused() -> None:
    with pytest.raises(EngineRefusedError, match="app is available for linux/arm64, windows/amd64 only"):
        check_platform("app", [("linux", "arm64"), ("windows", "amd64")], ENGINE)
