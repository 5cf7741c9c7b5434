"""Volumes, network endpoints and inline files of a replacement and of a copy, and of a detached container."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import pytest

from tests.unit.docker.documents import ALWAYS, container, identity, inspected
from tutumd.engines.docker.apply.compose_files import candidate_paths, is_compose_file
from tutumd.engines.docker.apply.steps import detach_step, reattach_steps
from tutumd.engines.docker.look.containers import InspectedContainer
from tutumd.engines.docker.plan.config import (
    carry_over_mounts,
    endpoint_settings,
    fresh_mounts,
    has_static_address,
    replace_alias,
)
from tutumd.engines.docker.plan.journal import Swap, SwapStep

GENERATED = "ab" * 32


def volume(destination: str, name: str = GENERATED, *, writable: bool = True) -> dict[str, Any]:
    return {"Type": "volume", "Name": name, "Destination": destination, "RW": writable}


def carried(destination: str, name: str = GENERATED, *, read_only: bool = False) -> dict[str, Any]:
    return {"Type": "volume", "Source": name, "Target": destination, "ReadOnly": read_only}


def test_anonymous_volumes_are_carried_over_by_name() -> None:
    old = container(config={"Volumes": {"/mine": {}}}, mounts=[volume("/mine"), volume("/theirs", "n", writable=False)])
    assert carry_over_mounts(old, ()) == [carried("/mine"), carried("/theirs", "n", read_only=True)]


def test_a_mount_without_a_source_gets_the_volume_that_it_was_given() -> None:
    sourceless = {"Type": "volume", "Target": "/data", "VolumeOptions": {"NoCopy": True}}
    named = {"Type": "volume", "Source": "named", "Target": "/named"}
    old = container(host={"Mounts": [sourceless, named]}, mounts=[volume("/data"), volume("/named", "named")])
    assert carry_over_mounts(old, ()) == [{**sourceless, "Source": GENERATED}, named]


def test_no_destination_is_mounted_twice() -> None:
    old = container(
        host={"Binds": ["named:/bound:ro", "/host:/host"], "VolumesFrom": ["other"]},
        mounts=[volume("/bound", "named"), volume("/shared")],
    )
    assert carry_over_mounts(old, {"/shared"}) == []


def test_a_replica_gets_anonymous_volumes_of_its_own_and_shares_named_ones() -> None:
    mounts = [carried("/data"), carried("/named", "named"), {"Type": "bind", "Source": "/x", "Target": "/x"}]
    assert fresh_mounts(mounts) == [{"Type": "volume", "Target": "/data", "ReadOnly": False}, *mounts[1:]]


def test_only_user_settings_of_an_endpoint_are_kept() -> None:
    endpoint = {
        "IPAMConfig": {"IPv4Address": "10.0.0.9"},
        "Links": ["db:store"],
        "Aliases": ["www", identity(1)[:12]],
        "DriverOpts": {"a": "b"},
        "GwPriority": 5,
        "MacAddress": "02:42:0a:00:00:09",
        "NetworkID": "f" * 64,
        "EndpointID": "e" * 64,
        "Gateway": "10.0.0.1",
        "IPAddress": "10.0.0.9",
        "DNSNames": ["web"],
    }
    old = container(networks={"front": endpoint, "back": None})
    assert endpoint_settings(old) == {
        "front": {
            "IPAMConfig": {"IPv4Address": "10.0.0.9"},
            "Links": ["db:store"],
            "Aliases": ["www"],
            "DriverOpts": {"a": "b"},
            "GwPriority": 5,
        },
        "back": {},
    }
    assert has_static_address(old)
    assert not has_static_address(container(networks={"front": {"IPAddress": "10.0.0.9", "IPAMConfig": {}}}))


def test_a_container_without_a_network_of_its_own_has_no_endpoints() -> None:
    for mode in ("host", "none", "container:abc"):
        assert endpoint_settings(container(host={"NetworkMode": mode}, networks={mode: {}})) == {}


def test_a_replica_has_its_own_name_as_an_alias() -> None:
    settings = {"front": {"Aliases": ["shop-web-1", "web"], "DriverOpts": {}}, "back": {}}
    assert replace_alias(settings, "shop-web-1", "shop-web-2") == {
        "front": {"Aliases": ["shop-web-2", "web"], "DriverOpts": {}},
        "back": {},
    }


def test_files_in_mounts_and_folders_are_no_candidates() -> None:
    paths = ["/etc/app.conf", "/data", "/data/x", "/run", "/run/secrets", "/run/secrets/key", "/database"]
    assert candidate_paths(paths, ["/data"]) == ("/run/secrets/key", "/etc/app.conf", "/database")


CREATED, STARTED = datetime(2026, 1, 1, 12, 0, 0, tzinfo=UTC), datetime(2026, 1, 1, 12, 0, 1, tzinfo=UTC)


@pytest.mark.parametrize(
    ("modified", "mode", "inline"),
    [
        ("2026-01-01T12:00:01Z", 0o444, True),
        ("2026-01-01T12:00:01.5Z", 0o444, False),
        ("2026-01-01T11:00:00Z", 0o444, False),
        ("2026-01-01T12:00:30Z", 0o444, False),
        ("2026-01-01T12:00:01Z", 0o755 | 1 << 31, False),
        ("2026-01-01T12:00:01Z", 0o777 | 1 << 27, False),
    ],
)
def test_a_file_from_between_creating_and_starting_came_from_compose(modified: str, mode: int, inline: bool) -> None:
    stat = {"size": 1, "mode": mode, "mtime": modified}
    assert is_compose_file(stat, CREATED, STARTED) is inline


RUN = "0a1b2c3d"
PREV = f"web-tutum-prev-{RUN}"
OLD, NEW = identity(1), identity(2)
SWAP = Swap(
    name="web",
    old=OLD,
    new=NEW,
    image="app",
    run=True,
    ran=True,
    paused=False,
    policy=ALWAYS,
    start_first=True,
    endpoints={"bridge": {}, "front": {"Aliases": ["www"]}, "back": {}},
)


def old(name: str, networks: Mapping[str, Any], status: str = "running") -> InspectedContainer:
    return inspected(1, name, status=status, networks=networks)


def test_a_detached_container_keeps_its_addresses() -> None:
    before = old("web", {**SWAP.endpoints, "front": {"Aliases": ["www"], "IPAddress": "10.0.0.2"}})
    again = SwapStep(
        verb="connect", container=OLD, network="front", endpoint={"IPAMConfig": {"IPv4Address": "10.0.0.2"}}
    )
    assert list(reattach_steps(SWAP, before, old(PREV, {"bridge": {}}))) == [again]
    assert list(reattach_steps(SWAP, before, old(PREV, {"bridge": {}}, "exited"))) == []
    # Clients do not find it, as it has no alias there; and it is not detached again by its name.
    hidden = old(PREV, {"front": {"Aliases": None}})
    assert detach_step(SWAP, RUN, hidden, inspected(2, "web"), in_swarm=False) is None
