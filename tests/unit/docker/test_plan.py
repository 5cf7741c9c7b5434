"""What a redeploy will do, as exact values: order and why, members, refusals, steps for people."""

from typing import Any

import pytest

from tests.unit.docker.documents import compose_labels, identity, image, inspected
from tutumd.engines.docker.look.containers import InspectedContainer
from tutumd.engines.docker.look.services import ContainerGroup, group_by_service
from tutumd.engines.docker.plan.journal import Swap
from tutumd.engines.docker.plan.redeploy import RedeployPlan, describe_steps, plan_redeploy, with_tag
from tutumd.engines.labels import Order, ServiceLabels
from tutumd.errors import EngineRefusedError, EngineUnavailableError

NAMED: dict[str, Any] = {"networks": {"front": {}}, "host": {"NetworkMode": "front"}}


def service_of(first: InspectedContainer, *others: InspectedContainer) -> ContainerGroup:
    return next(group for group in group_by_service([first, *others]) if first in group.containers)


def planned(first: InspectedContainer, *others: InspectedContainer, tag: str | None = None) -> RedeployPlan:
    return plan_redeploy(service_of(first, *others), [first, *others], tag, None)


def essence(plan: RedeployPlan) -> list[tuple[str, str, str, str]]:
    """Name, ID, image and manner of each swap: what is done with the new container, or why it is created."""
    return [(swap.name, swap.old, swap.image, manner(swap)) for swap in plan.swaps]


def manner(swap: Swap) -> str:
    if not swap.run:
        return "stays stopped"
    beside = "first" if swap.start_first else "later"
    return swap.dependence or ("spare" if swap.needs_spare else beside)


def test_a_container_that_others_find_by_name_is_started_first() -> None:
    first = inspected(1, "shop-web-1", labels=compose_labels(1), **NAMED)
    second = inspected(2, "shop-web-2", labels=compose_labels(2), status="exited", finished=9, **NAMED)
    plan = planned(first, second)
    assert essence(plan) == [
        ("shop-web-1", identity(1), "app", "first"),
        ("shop-web-2", identity(2), "app", "stays stopped"),
    ]
    assert (plan.order, plan.order_reason) == (Order.START_FIRST, "nothing forbids that old and new run at once")
    assert (plan.labels, plan.pulled, plan.notes) == (ServiceLabels(), ("app",), ())
    assert describe_steps(plan) == (
        "fetch app",
        "create the new container of shop-web-1",
        "create the new container of shop-web-2",
        "start the new container of shop-web-1 beside the old one and wait until it is ready",
        "park shop-web-2",
        "put the new container in its place",
        "route clients of shop-web-1 to the new container, then stop the old one",
        "remove the old containers",
    )


def test_dependents_are_re_created_after_what_they_depend_on() -> None:
    parent = inspected(1, "web", **NAMED)
    sidecar = inspected(2, "sidecar", host={"NetworkMode": f"container:{identity(1)}"}, networks={})
    linker = inspected(3, "linker", host={"Links": ["/sidecar:/linker/db"]})
    plan = planned(parent, linker, sidecar)
    shares, links = "shares the network namespace of web", "has a legacy link to sidecar"
    assert essence(plan) == [
        ("web", identity(1), "app", "later"),
        ("sidecar", identity(2), "app", shares),
        ("linker", identity(3), "app", links),
    ]
    assert (plan.order, plan.order_reason) == (Order.STOP_FIRST, f"two cannot run at once: sidecar {shares}")
    assert plan.notes == (
        f"sidecar {shares}: it is re-created from the image that its name refers to here",
        f"linker {links}: it is re-created from the image that its name refers to here",
    )
    assert describe_steps(plan) == (
        "fetch app",
        "create the new container of web",
        "stop linker",
        "stop sidecar",
        "stop web",
        "put the new container in its place, start it and wait until it is ready",
        f"re-create sidecar ({shares}), start it and wait until it is ready",
        f"re-create linker ({links}), start it and wait until it is ready",
        "remove the old containers",
    )


def test_a_container_that_its_stop_deletes_gets_a_spare() -> None:
    plan = planned(inspected(1, "web", host={"AutoRemove": True}))
    assert essence(plan) == [("web", identity(1), "app", "spare")]
    assert plan.notes == (
        "web was started with --rm, so stopping it deletes it: if the new one fails, a copy of the old one is started "
        "instead",
    )
    beside = planned(inspected(1, "web", networks={"front": {}}, host={"AutoRemove": True, "NetworkMode": "front"}))
    assert essence(beside) == [("web", identity(1), "app", "first")]


FIRST, LATER, AUTO = "start-first", "stop-first", ""
FIXED_PORT = {"host": {"PortBindings": {"80/tcp": [{"HostPort": "8080"}]}}}
WRITTEN = {"mounts": [{"Type": "volume", "Destination": "/data", "RW": True}]}


@pytest.mark.parametrize(
    ("document", "label", "order", "reason"),
    [
        ({}, AUTO, FIRST, "nothing forbids that old and new run at once"),
        ({}, LATER, LATER, "the label tutum.redeploy.order requests it"),
        ({}, FIRST, FIRST, "the label tutum.redeploy.order requests it, and nothing forbids it"),
        ({"status": "exited", "finished": 9}, FIRST, LATER, "nothing of it runs"),
        ({"status": "paused"}, FIRST, LATER, "nothing of it runs"),
        ({"host": {"PortBindings": {"80/tcp": [{"HostPort": ""}]}}}, AUTO, FIRST, "nothing forbids"),
        (FIXED_PORT, AUTO, LATER, "two cannot run at once: web publishes the fixed host port 8080 (for 80/tcp)"),
        (FIXED_PORT, FIRST, LATER, "for 80/tcp), though the label tutum.redeploy.order requests start-first"),
        ({"host": {"NetworkMode": "host"}}, FIRST, LATER, "web uses the host's network"),
        ({"host": {"NetworkMode": "container:x"}}, FIRST, LATER, "web shares another container's network"),
        ({"networks": {"front": {"IPAMConfig": {"IPv4Address": "10.0.0.9"}}}}, FIRST, LATER, "a static IP address"),
        ({"config": {"MacAddress": "02:42:ac:11:00:02"}}, FIRST, LATER, "web has a MAC address of its own"),
        (WRITTEN, AUTO, LATER, "two containers at once could conflict: web writes to /data, which both would share"),
        (WRITTEN, FIRST, FIRST, "nothing forbids it"),
        ({"mounts": [{"Type": "bind", "Destination": "/etc/x", "RW": False}]}, AUTO, FIRST, "nothing forbids"),
        ({"host": {"Devices": [{"PathOnHost": "/dev/x"}]}}, AUTO, LATER, "web uses a device of the host"),
        ({"networks": {"bridge": {}}}, AUTO, LATER, "web is in no network in which others find it by name"),
        ({"networks": {"bridge": {}}}, FIRST, FIRST, "nothing forbids it"),
    ],
)
def test_the_order_has_a_reason(document: dict[str, Any], label: str, order: str, reason: str) -> None:
    labels = {"tutum.redeploy.order": label} if label else {}
    web = inspected(1, "web", **{"networks": {"front": {}}, "labels": labels, **document})
    plan = planned(web, inspected(2, "x"))
    assert plan.order == order
    assert reason in plan.order_reason


@pytest.mark.parametrize(
    ("document", "neighbour", "reason"),
    [
        ({"status": "dead"}, {}, "is dead"),
        ({"config": {"Image": f"sha256:{identity(0xA0)}"}}, {}, "from an image ID"),
        ({"config": {"Image": identity(0xA0)[:12]}}, {}, "from an image ID"),
        (
            {},
            {"host": {"NetworkMode": "container:web", "AutoRemove": True}},
            "other shares the network namespace of web and must be re-created with it.* --rm",
        ),
        (
            {},
            {"host": {"PidMode": "container:web"}, "config": {"Image": identity(0xA0)[:12]}},
            "shares the process namespace.*image ID",
        ),
    ],
)
def test_a_container_that_cannot_be_put_back_is_not_replaced(
    document: dict[str, Any], neighbour: dict[str, Any], reason: str
) -> None:
    with pytest.raises(EngineRefusedError, match=reason):
        planned(inspected(1, "web", **document), inspected(2, **{"name": "other", **neighbour}))


@pytest.mark.parametrize("sibling", ["db-tutum-next-0a1b2c3d", "db-tutum-prev-0a1b2c3d"])
@pytest.mark.parametrize(
    "host",
    [
        {"NetworkMode": f"container:{identity(2)}"},
        {"PidMode": "container:db"},
        {"IpcMode": "container:db"},
        {"Links": ["/db:/web/db"]},
    ],
)
def test_a_dependent_of_a_container_that_is_being_replaced_waits(host: dict[str, Any], sibling: str) -> None:
    web, parent = inspected(1, "web", host=host), inspected(2, "db")
    assert planned(web, parent, inspected(3, "other-tutum-next-0a1b2c3d")).swaps[0].name == "web"
    with pytest.raises(EngineUnavailableError, match=r"web .* db, which is being redeployed at present"):
        planned(web, parent, inspected(3, sibling))


def test_a_container_waits_for_one_that_depends_on_it_and_is_being_replaced() -> None:
    other = inspected(2, "other-tutum-next-0a1b2c3d", host={"IpcMode": "container:web"})
    with pytest.raises(EngineUnavailableError, match="shares the IPC namespace of web and is being redeployed itself"):
        planned(inspected(1, "web"), other)


def test_the_container_that_tutumd_runs_in_is_not_re_created() -> None:
    parent = inspected(1, "web")
    own = inspected(2, "tutumd", host={"NetworkMode": "container:web"})
    with pytest.raises(EngineRefusedError, match="tutumd itself runs in it"):
        plan_redeploy(service_of(parent), [parent, own], None, own.id)


@pytest.mark.parametrize("host", [{"NetworkMode": "container:web"}, {"Links": ["/web:/sidecar/db"]}])
def test_a_dependent_of_a_container_that_its_stop_deletes_could_not_be_put_back(host: dict[str, Any]) -> None:
    sidecar = inspected(2, "sidecar", host=host)
    with pytest.raises(EngineRefusedError, match=r"web was started with --rm.*sidecar .* web.*start it without --rm"):
        planned(inspected(1, "web", host={"AutoRemove": True}), sidecar)
    # One that does not run is deleted only when all is well.
    created = inspected(1, "web", host={"AutoRemove": True}, status="created", started=None)
    assert len(planned(created, sidecar).swaps) == 2


def test_a_container_whose_image_is_gone_is_not_replaced() -> None:
    old = inspected(1, "web")
    lost = InspectedContainer(**{name: getattr(old, name) for name in InspectedContainer.__slots__} | {"image": None})
    with pytest.raises(EngineRefusedError, match="is gone from the engine"):
        planned(lost)


@pytest.mark.parametrize(
    ("name", "tag", "expected"),
    [
        ("app", None, "app"),
        ("app", "v2", "app:v2"),
        ("app:v1", "v2", "app:v2"),
        ("library/app:v1", "v2", "library/app:v2"),
        ("host:5000/app", "v2", "host:5000/app:v2"),
        ("host:5000/team/app:v1", "v2", "host:5000/team/app:v2"),
        (f"host:5000/app@sha256:{identity(1)}", "v2", "host:5000/app:v2"),
        (f"app:v1@sha256:{identity(1)}", "v2", "app:v2"),
    ],
)
def test_a_tag_stays_in_the_images_own_repository(name: str, tag: str | None, expected: str) -> None:
    assert with_tag(name, tag) == expected


@pytest.mark.parametrize("tag", ["../x", "a b", "v2@sha256:x", "x/y:z", ""])
def test_an_invalid_tag_is_refused(tag: str) -> None:
    with pytest.raises(EngineRefusedError, match="must be named"):
        with_tag("host:5000/app:v1", tag)


def test_a_new_tag_is_noted() -> None:
    plan = planned(inspected(1, "web", config={"Image": "app:v1"}, its_image=image()), tag="v2")
    assert plan.pulled == ("app:v2",)
    assert plan.notes == ("web changes from app:v1 to app:v2",)


@pytest.mark.parametrize("field", ["NetworkMode", "IpcMode", "PidMode"])
def test_a_running_container_whose_namespace_belongs_to_one_that_does_not_run_is_left_alone(field: str) -> None:
    owner = inspected(1, "owner", status="exited", finished=9)
    for reference in (owner.id, "owner"):
        web = inspected(2, "web", host={field: f"container:{reference}"})
        for others in ((owner,), ()):
            with pytest.raises(EngineRefusedError, match=r"web shares the .* namespace of .*, which does not run"):
                planned(web, *others)
        stopped = inspected(2, "web", host={field: f"container:{reference}"}, status="exited", finished=9)
        assert not planned(stopped, owner).swaps[0].run
