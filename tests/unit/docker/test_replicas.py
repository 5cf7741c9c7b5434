"""More copies of a service's first container: whether, under which names, and with what of their own."""

from typing import Any

import pytest

from tests.unit.docker.documents import compose_labels, image, inspected
from tutumd.engines.docker.apply.scale import check_scalable, name_replicas, replica_config
from tutumd.engines.docker.look.containers import InspectedContainer
from tutumd.engines.docker.look.services import ContainerGroup, group_by_service
from tutumd.errors import EngineRefusedError


def only(*containers: InspectedContainer) -> ContainerGroup:
    (found,) = group_by_service(containers)
    return found


@pytest.mark.parametrize(
    ("document", "reason"),
    [
        ({"host": {"PortBindings": {"80/tcp": [{"HostPort": "8080"}]}}}, r"fixed host port 8080 \(for 80/tcp\)"),
        ({"host": {"NetworkMode": "container:abc"}}, "another container's network"),
        ({"networks": {"front": {"IPAMConfig": {"IPv4Address": "10.0.0.9"}}}}, "static IP address"),
        ({"host": {"AutoRemove": True}}, "--rm"),
        ({"name": "chosen", "labels": compose_labels(1)}, r"fixed name chosen \(container_name\)"),
    ],
)
def test_a_service_with_exclusive_settings_is_not_scaled(document: dict[str, Any], reason: str) -> None:
    first = inspected(1, **{"name": "web", **document})
    with pytest.raises(EngineRefusedError, match=reason):
        check_scalable(only(first), first)


@pytest.mark.parametrize(
    "document",
    [
        {"host": {"PortBindings": {"80/tcp": [{"HostPort": ""}], "81/tcp": [{"HostPort": "0"}], "82/tcp": None}}},
        {"host": {"PortBindings": {"80/tcp": [{"HostPort": "8000-8010"}]}}},
        {"name": "shop-web-1", "labels": compose_labels(1)},
        {"name": "shop_web_1", "labels": compose_labels(1)},
    ],
)
def test_a_service_with_shareable_settings_is_scaled(document: dict[str, Any]) -> None:
    first = inspected(1, **{"name": "web", **document})
    check_scalable(only(first), first)


def test_replicas_get_the_next_free_numbers() -> None:
    lone = inspected(1, "web")
    assert name_replicas(only(lone), lone, 2, {"web", "web-2"}) == ("web-3", "web-4")
    old_style = inspected(1, "shop_web_3", labels=compose_labels(3))
    assert name_replicas(only(old_style), old_style, 1, {"shop_web_3"}) == ("shop_web_4",)
    odd = inspected(1, "x1", labels={"tutum.service": "api"})
    assert name_replicas(only(odd), odd, 1, {"x1"}) == ("api-2",)


def test_a_replica_has_a_name_volumes_and_an_address_of_its_own() -> None:
    first = inspected(
        1,
        "shop-web-1",
        labels=compose_labels(1, **{"com.docker.compose.replace": "x"}),
        config={
            "Image": "app",
            "Labels": compose_labels(1, **{"com.docker.compose.replace": "x"}),
            "Hostname": "chosen",
            "MacAddress": "02:42:ac:11:00:02",
            "Env": ["A=1", "B=2"],
        },
        host={"Mounts": [{"Type": "volume", "Source": "ab" * 32, "Target": "/data"}]},
        networks={"front": {"Aliases": ["shop-web-1", "web"], "IPAddress": "10.0.0.2"}},
        its_image=image(Env=["A=1"]),
    )
    body = replica_config(only(first), first, "shop-web-2")
    assert body["Labels"] == compose_labels(2)
    assert body["Env"] == ["B=2"]
    assert "Hostname" not in body
    assert "MacAddress" not in body
    assert body["HostConfig"]["Mounts"] == [{"Type": "volume", "Target": "/data"}]
    assert body["NetworkingConfig"] == {"EndpointsConfig": {"front": {"Aliases": ["shop-web-2", "web"]}}}


def test_a_replica_of_a_single_container_is_labelled_with_its_service() -> None:
    first = inspected(1, "web", labels={"mine": "1"})
    assert replica_config(only(first), first, "web-2")["Labels"] == {"mine": "1", "tutum.service": "web"}
