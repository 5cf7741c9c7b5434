"""The create request of a replacement, as an exact value."""

from typing import Any

import pytest

from tests.unit.docker.documents import compose_labels, container, identity, image
from tutumd.engines.docker.plan.config import config_without_defaults, replacement_config, with_variables

SHORT_ID = identity(1)[:12]


def kept(config: dict[str, Any], defaults: dict[str, Any], host: dict[str, Any] | None = None) -> dict[str, Any]:
    """What stays of a container's Config, without the fields that are there always."""
    full = config_without_defaults(container(config=config, host=host), image(**defaults), "machine")
    always = {"Image": "app", "Labels": {}, "Volumes": {}, "ExposedPorts": {}}
    return {name: value for name, value in full.items() if always.get(name, ...) != value}


def test_settings_of_the_image_are_dropped_and_those_of_the_user_stay() -> None:
    defaults = {
        "Env": ["PATH=/bin", "A=1", "B=1"],
        "Labels": {"version": "1", "mine": "theirs"},
        "Volumes": {"/data": {}},
        "ExposedPorts": {"80/tcp": {}},
        "WorkingDir": "/app",
        "User": "app",
        "StopSignal": "SIGQUIT",
    }
    config = {
        "Env": ["PATH=/bin", "A=2", "B=1", "BARE"],
        "Labels": {"version": "1", "mine": "mine"},
        "Volumes": {"/data": {}, "/more": {}},
        "ExposedPorts": {"80/tcp": {}, "81/tcp": {}},
        "WorkingDir": "/app",
        "User": "root",
        "StopSignal": "SIGQUIT",
        "Hostname": "chosen",
        "Tty": True,
    }
    assert kept(config, defaults) == {
        "Env": ["A=2", "BARE"],
        "Labels": {"mine": "mine"},
        "Volumes": {"/more": {}},
        "ExposedPorts": {"81/tcp": {}},
        "User": "root",
        "Hostname": "chosen",
        "Tty": True,
    }


def test_a_published_port_is_exposed_whatever_the_image_exposes() -> None:
    host = {"PortBindings": {"80/tcp": [{"HostPort": "8080"}]}}
    assert kept({"ExposedPorts": {"80/tcp": {}}}, {"ExposedPorts": {"80/tcp": {}}}, host) == {
        "ExposedPorts": {"80/tcp": {}}
    }


@pytest.mark.parametrize(
    ("own", "defaults", "expected"),
    [
        ((["e"], ["c"]), (["e"], ["c"]), {}),
        ((None, ["c"]), (None, ["c"]), {}),
        ((["e"], ["mine"]), (["e"], ["c"]), {"Cmd": ["mine"]}),
        ((["mine"], ["c"]), (["e"], ["c"]), {"Entrypoint": ["mine"], "Cmd": ["c"]}),
        ((["mine"], None), (["e"], ["c"]), {"Entrypoint": ["mine"], "Cmd": None}),
        ((None, ["mine"]), (["e"], ["c"]), {"Entrypoint": [""], "Cmd": ["mine"]}),
    ],
)
def test_the_images_command_is_dropped_only_with_its_entrypoint(
    own: tuple[object, object], defaults: tuple[object, object], expected: dict[str, object]
) -> None:
    pair = ("Entrypoint", "Cmd")
    assert kept(dict(zip(pair, own, strict=True)), dict(zip(pair, defaults, strict=True))) == expected


def test_a_health_check_is_subtracted_field_by_field() -> None:
    theirs = {"Test": ["CMD", "x"], "Interval": 5}
    assert kept({"Healthcheck": theirs}, {"Healthcheck": theirs}) == {}
    assert kept({"Healthcheck": {"Test": ["CMD", "x"], "Interval": 9}}, {"Healthcheck": theirs}) == {
        "Healthcheck": {"Interval": 9}
    }
    assert kept({"Healthcheck": {"Test": ["NONE"]}}, {"Healthcheck": theirs}) == {"Healthcheck": {"Test": ["NONE"]}}
    assert kept({"Healthcheck": theirs}, {}) == {"Healthcheck": theirs}


@pytest.mark.parametrize(
    ("config", "host", "expected"),
    [
        ({"Hostname": SHORT_ID}, {}, {}),
        ({"Hostname": "machine", "Domainname": "y"}, {"NetworkMode": "host"}, {}),
        ({"Hostname": "chosen"}, {"NetworkMode": "host"}, {"Hostname": "chosen"}),
        ({"Hostname": "x"}, {"UTSMode": "host"}, {}),
        ({"Hostname": "x", "ExposedPorts": {"80/tcp": {}}}, {"NetworkMode": "container:abc"}, {}),
        ({"MacAddress": ""}, {}, {}),
        ({"MacAddress": "02:42:ac:11:00:02"}, {}, {"MacAddress": "02:42:ac:11:00:02"}),
    ],
)
def test_generated_settings_are_not_kept(
    config: dict[str, Any], host: dict[str, Any], expected: dict[str, Any]
) -> None:
    assert kept(config, {}, host) == expected


def test_an_image_document_without_a_config_is_read_as_empty() -> None:
    assert config_without_defaults(container(config={"Env": ["A=1"]}), {"Id": "x"})["Env"] == ["A=1"]


def test_the_compose_label_names_the_new_image() -> None:
    labels = compose_labels(1, **{"com.docker.compose.image": "sha256:old", "com.docker.compose.config-hash": "h"})
    body = replacement_config(container(labels=labels), image(1), image(2), {})
    assert body["Labels"] == {**labels, "com.docker.compose.image": image(2)["Id"]}


def test_the_host_configuration_has_the_form_of_a_request() -> None:
    host = {
        "NetworkMode": "f" * 64,
        "Links": ["/db:/web/store", "/cache:/web/cache"],
        "ContainerIDFile": "/tmp/id",
        "Memory": 1 << 26,
        "RestartPolicy": {"Name": "on-failure", "MaximumRetryCount": 7},
    }
    old = container(host=host, networks={"front": {"NetworkID": "f" * 64, "IPAddress": "10.0.0.2"}})
    body = replacement_config(old, image(1), image(2), {})
    assert body["HostConfig"] == {
        "NetworkMode": "front",
        "Links": ["db:store", "cache:cache"],
        "Memory": 1 << 26,
        "RestartPolicy": {"Name": "on-failure", "MaximumRetryCount": 7},
        "Mounts": [],
    }
    assert body["NetworkingConfig"] == {"EndpointsConfig": {"front": {}}}
    assert old["HostConfig"]["ContainerIDFile"] == "/tmp/id", "the document that was seen is not changed"


def test_variables_of_a_call_replace_add_and_remove() -> None:
    body = {"Image": "app", "Env": ["A=1", "B=2=3", "C", "D=4"]}
    assert with_variables(body, {"A": "new=1", "C": None, "E": ""}) == {
        "Image": "app",
        "Env": ["B=2=3", "D=4", "A=new=1", "E="],
    }
    assert with_variables({"Image": "app"}, {"A": "1"})["Env"] == ["A=1"]
    assert with_variables(body, {}) == body
