"""What Podman shows, as Docker would have written it."""

from typing import Any

import pytest

from tutumd.engines.docker.look.podman import container_as_docker, image_as_docker, unkept_setting

VOLUME = "d0af73260b77ab1c55443f05c9d0b855d820f280203639270d5d0d4c905334ed"
IMAGE = {"Id": "sha256:1", "Config": {"Env": ["PATH=/bin"], "Cmd": ["/serve"], "Entrypoint": None, "WorkingDir": ""}}


def container(config: dict[str, Any] | None = None, **other: Any) -> dict[str, Any]:
    """An inspect document with the fields that matter, as Podman 5.4 writes them."""
    return {
        "Id": "30ccfa9745368f1d",
        "Name": "/web",
        "State": {"Status": "running"},
        "Config": {
            "Hostname": "30ccfa974536",
            "User": "",
            "Env": ["PATH=/bin", "container=podman", "MINE=1", "HOME=/", "HOSTNAME=30ccfa974536"],
            "Cmd": ["/serve"],
            "Entrypoint": [],
            "WorkingDir": "/",
            "StopSignal": "15",
            "Volumes": None,
            **(config or {}),
        },
        "HostConfig": {
            "Binds": [f"{VOLUME}:/data:rw,rprivate", "named:/named:rw"],
            "NetworkMode": "bridge",
            "Runtime": "oci",
            "PidMode": "private",
            "UTSMode": "private",
            "MemorySwappiness": 0,
            "Annotations": {"io.container.manager": "libpod", "org.systemd.property.KillSignal": "15", "mine": "1"},
        },
        "NetworkSettings": {"Networks": {"front": {"Aliases": ["www", "30ccfa974536"]}}},
        **other,
    }


def test_defaults_of_podman_are_removed() -> None:
    shown, image = container_as_docker(container(), IMAGE)
    assert shown["Config"] == {
        "Hostname": "30ccfa974536",
        "User": "",
        "Env": ["PATH=/bin", "MINE=1"],
        "Cmd": ["/serve"],
        "Entrypoint": None,
        "WorkingDir": "",
        "StopSignal": None,
        "Volumes": {"/data": {}},
        "Healthcheck": None,
    }
    assert shown["HostConfig"] == {"Binds": ["named:/named:rw"], "NetworkMode": "front", "Annotations": {"mine": "1"}}
    assert image is not None
    assert image["Config"]["Cmd"] == ["/serve"]


def test_settings_of_the_user_stay() -> None:
    asked = {
        "Env": ["HOME=/srv", "container=mine", "HOSTNAME=other"],
        "Entrypoint": ["/mine"],
        "WorkingDir": "/srv",
        "StopSignal": "2",
    }
    shown, _ = container_as_docker(container(asked), IMAGE)
    config = shown["Config"]
    assert config["Env"] == asked["Env"]
    assert (config["Entrypoint"], config["WorkingDir"], config["StopSignal"]) == (["/mine"], "/srv", "SIGINT")


def test_an_entrypoint_that_was_cleared_stays_cleared() -> None:
    shown, _ = container_as_docker(container(), {"Config": {"Entrypoint": ["/image"]}})
    assert shown["Config"]["Entrypoint"] == []


@pytest.mark.parametrize(("default", "expected"), [("SIGINT", "SIGINT"), ("INT", "INT"), ("2", "2")])
def test_the_images_stop_signal_is_not_the_containers_own(default: str, expected: str) -> None:
    shown, _ = container_as_docker(container({"StopSignal": "2"}), {"Config": {"StopSignal": default}})
    assert shown["Config"]["StopSignal"] == expected


def test_the_name_is_an_alias_in_every_network_that_has_names() -> None:
    networks = {"front": {"Aliases": ["www", "custom"]}, "podman": {"Aliases": []}, "back": {"Aliases": None}}
    parked = container({"Hostname": "custom"}, Name="/web-tutum-prev-0a1b2c3d", NetworkSettings={"Networks": networks})
    shown, _ = container_as_docker(parked, IMAGE)
    aliases = {name: endpoint["Aliases"] for name, endpoint in shown["NetworkSettings"]["Networks"].items()}
    assert aliases == {"front": ["www", "web"], "podman": [], "back": ["web"]}


def test_a_container_without_a_network_of_its_own_keeps_its_mode() -> None:
    settings = {"Networks": {"host": {"Aliases": None}}}
    other = container(HostConfig={"NetworkMode": "container:abc"}, NetworkSettings=settings)
    assert container_as_docker(other, IMAGE)[0]["HostConfig"]["NetworkMode"] == "container:abc"


def test_states_that_docker_does_not_have_are_translated() -> None:
    shown = [
        container_as_docker(container(State={"Status": status}), None)[0] for status in ("stopping", "initialized")
    ]
    assert [document["State"]["Status"] for document in shown] == ["running", "created"]


CHECK = {"Test": ["CMD", "/bin/true"], "Interval": 200_000_000, "Retries": 2}


def test_an_unchanged_health_check_is_the_images() -> None:
    effective = {**CHECK, "Timeout": 30_000_000_000}
    shown, image = container_as_docker(container({"Healthcheck": effective}), {"Config": {"Healthcheck": CHECK}})
    assert image is not None
    assert shown["Config"]["Healthcheck"] == image["Config"]["Healthcheck"] == CHECK


def test_a_changed_health_check_is_complete() -> None:
    own = {**CHECK, "Timeout": 30_000_000_000, "Retries": 5}
    shown, image = container_as_docker(container({"Healthcheck": own}), {"Config": {"Healthcheck": CHECK}})
    assert image is not None
    assert shown["Config"]["Healthcheck"] == own
    assert image["Config"]["Healthcheck"] is None


def test_names_without_a_registry_are_not_listed() -> None:
    local = {"RepoDigests": ["localhost/app@sha256:1", "host:5000/app@sha256:1"]}
    assert image_as_docker(local, {})["RepoDigests"] == ["host:5000/app@sha256:1"]
    untagged = {"RepoDigests": [], "Digest": "sha256:1", "History": ["localhost/app:v1", "host:5000/app:latest"]}
    assert image_as_docker(untagged, {})["RepoDigests"] == ["host:5000/app@sha256:1"]


@pytest.mark.parametrize(
    ("command", "setting"),
    [
        ("podman run -d --ip 10.0.0.2 app", "was created with --ip 10.0.0.2"),
        ("podman run -d --ip6=fd00::2 app", "was created with --ip6 fd00::2"),
        ("podman run --mac-address 02:42:0a:00:00:02 app", "was created with --mac-address 02:42:0a:00:00:02"),
        ("podman run --network front:alias=a,ip=10.0.0.2 app", "was created with --network front:alias=a,ip=10.0.0.2"),
        ("podman run --net=front:mac=02:42:0a:00:00:02 app", "was created with --net front:mac=02:42:0a:00:00:02"),
        ("podman run --network front:alias=ip -e X=:ip=1 app", ""),
        ("podman run app serve --ip 10.0.0.2", ""),
        ("", ""),
    ],
)
def test_addresses_that_podman_would_not_keep_are_found_in_its_command(command: str, setting: str) -> None:
    config = {"CreateCommand": command.split(), "Cmd": ["serve", "--ip", "10.0.0.2"]}
    assert unkept_setting({"Config": config}) == setting
    assert unkept_setting({"Config": config, "Pod": "1"}) == "belongs to a pod"
