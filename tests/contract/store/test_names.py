"""What people call services: with or without the stack, by a container, by the start of the UUID; here or gone."""

from dataclasses import replace

import pytest

from tests.support.replica import Replica
from tests.support.stores import StoreBed, query, snapshot
from tutumd.model import ContainerSnapshot, ContainerState, EngineInfo, ServiceSnapshot

SWARM = EngineInfo(name="swarm", kind="swarm", can_create=False)
KUBERNETES = EngineInfo(name="cluster", kind="kubernetes", can_create=False)


def of_stack(name: str, stack: str) -> ServiceSnapshot:
    """Return the snapshot of a Compose service."""
    found = snapshot(f"{stack}-{name}")
    return replace(found, selector=f"compose:{stack}/{name}", name=name, stack=stack)


@pytest.fixture
def shops(bed: StoreBed) -> StoreBed:
    """Two Compose projects with a `web` each, a `web` that is gone, a Swarm stack, and an application twice."""
    bed.sync(of_stack("web", "shop"), of_stack("web", "blog"), snapshot("db"))
    task = ContainerSnapshot(id="qx7", name="mall_web.1", state=ContainerState.RUNNING)
    stacked = replace(
        snapshot("mall_web"),
        selector="mall_web",
        stack="mall",
        full_name="mall_web",
        alias="mall/web",
        containers=(task,),
    )
    bed.queue.sync(SWARM, [stacked], revisions=bed.queue.revisions("swarm"))
    workloads = [
        replace(
            snapshot("cart"),
            selector=f"{kind}/{namespace}/cart",
            stack="market",
            full_name=f"{namespace}/cart",
            alias=f"{kind}/{namespace}/cart",
        )
        for kind, namespace in (("deployment", "prod"), ("deployment", "test"), ("statefulset", "test"))
    ]
    bed.queue.sync(KUBERNETES, workloads, revisions=bed.queue.revisions("cluster"))
    return bed


def meant(bed: StoreBed, reference: str) -> list[str]:
    """Return the selectors of the services that a reference means."""
    page = bed.store.services(bed.admin, query(reference=reference))
    assert page.total == len(page.objects)
    return sorted(service.selector for service in page.objects)


def test_names_mean_services(shops: StoreBed) -> None:
    for reference, selectors in {
        "db": ["name:db"],
        "web": ["compose:blog/web", "compose:shop/web"],
        "shop/web": ["compose:shop/web"],
        "shop-web-1": ["compose:shop/web"],
        "mall_web": ["mall_web"],
        "mall/web": ["mall_web"],
        "mall/mall_web": ["mall_web"],
        "mall_web.1": ["mall_web"],
        "mall_web.1.qx7": ["mall_web"],
        "mall_web.n0d3.qx7": ["mall_web"],
        "prod/cart": ["deployment/prod/cart"],
        "test/cart": ["deployment/test/cart", "statefulset/test/cart"],
        "statefulset/test/cart": ["statefulset/test/cart"],
        "market/cart": ["deployment/prod/cart", "deployment/test/cart", "statefulset/test/cart"],
        "shop/db": [],
        "shop/": [],
        "/db": ["name:db"],
        "/web": ["name:web"],
        "": [],
        "%": [],
        "shop%web": [],
        "name:db": [],
    }.items():
        assert meant(shops, reference) == selectors, reference


def test_the_start_of_a_uuid_comes_after_names(shops: StoreBed) -> None:
    db = shops.service_uuid("db")
    assert meant(shops, db[:12].upper()) == ["name:db"]
    shops.sync(of_stack("web", "shop"), snapshot("db"), snapshot(db[:12]))
    assert meant(shops, db[:12]) == [f"name:{db[:12]}"]


def test_people_read_the_stack_in_the_name(shops: StoreBed) -> None:
    names = [service.full_name for service in shops.store.services(shops.admin, query()).objects]
    assert sorted(names) == ["blog/web", "db", "mall_web", "prod/cart", "shop/web", "test/cart", "test/cart", "web"]


@pytest.mark.slow
def test_a_member_names_only_own_services(shops: StoreBed) -> None:
    ann = shops.store.add_user("ann", is_admin=False)
    shops.sync(replace(of_stack("web", "shop"), owner="ann"), of_stack("web", "blog"))
    for reference in ("web", "shop/web", "shop-web-1"):
        assert shops.store.services(ann, query(reference=reference)).total == 1
    for reference in ("blog/web", "blog-web-1", meant_uuid(shops, "blog/web")[:8]):
        assert shops.store.services(ann, query(reference=reference)).total == 0


def meant_uuid(bed: StoreBed, reference: str) -> str:
    (service,) = bed.store.services(bed.admin, query(reference=reference)).objects
    return service.uuid


def test_what_is_gone_makes_no_name_ambiguous(shops: StoreBed) -> None:
    both = [shops.store.service(shops.admin, meant_uuid(shops, name)) for name in ("blog/web", "shop/web")]
    shops.clock.move(60)
    gone_since = shops.clock()
    shops.sync(of_stack("web", "shop"))
    shops.clock.move(60)
    shops.sync(of_stack("web", "shop"))
    for filters in ({"name": "web"}, {"reference": "web"}, {"name": "web", "state": "Running"}):
        page = shops.store.services(shops.admin, query(**filters))
        assert [(each.stack, each.gone_since) for each in page.objects] == [("shop", None)]
        assert page.total == 1
    gone = shops.store.service(shops.admin, both[0].uuid)
    assert (gone.gone_since, gone.state) == (gone_since, "Not running")
    # One that is asked for by its own name, and all in the list without names, are there.
    assert meant(shops, "blog/web") == ["compose:blog/web"]
    assert shops.store.services(shops.admin, query(stack="blog")).total == 1
    assert shops.store.services(shops.admin, query(name="web", state="Not running")).total == 2
    shops.sync()
    page = shops.store.services(shops.admin, query(name="web"))
    assert (page.total, {each.full_name for each in page.objects}) == (3, {"web", "shop/web", "blog/web"})
    start = both[1].uuid[:1]
    shops.sync(of_stack("web", "shop"))
    found = shops.store.services(shops.admin, query(uuid__startswith=start)).objects
    assert both[1].uuid in [each.uuid for each in found]
    assert all(each.gone_since is None for each in found)


def test_paths_take_names(shops: StoreBed, replica: Replica) -> None:
    web = meant_uuid(shops, "shop/web")
    for reference in ("shop%2Fweb", "shop%2fweb", "shop-web-1", web[:13], web.upper()):
        for path in ("", "webhook/handler/"):
            status, answer = replica.request("GET", f"/api/v1/service/{reference}/{path}")
            assert status == 200, (reference, path, answer)
        assert replica.request("GET", f"/api/v1/service/{reference}/")[1]["uuid"] == web
    status, made = replica.request("POST", "/api/v1//service/shop%2Fweb/webhook/handler/", b"{}")
    assert (status, made["url"].split("/")[4]) == (201, web)
    status, answer = replica.request("POST", "/api/v1/service/shop%2Fweb/redeploy/")
    assert (status, answer["full_name"]) == (202, "shop/web")
    for reference in ("nope", "shop%2F", "%2F", "shop%2Fdb", "%00", "shop%252Fdb", "5%25"):
        assert replica.request("GET", f"/api/v1/service/{reference}/")[0] == 404, reference


def test_a_path_with_an_ambiguous_name_lists_the_services(shops: StoreBed, replica: Replica) -> None:
    status, answer = replica.request("POST", "/api/v1/service/web/redeploy/")
    first, *lines = answer["error"].splitlines()
    assert (status, first) == (409, "2 services match 'web'; name one in full, or by its UUID:")
    assert sorted(lines) == sorted(f"{meant_uuid(shops, f'{s}/web')}  {s}/web on docker" for s in ("shop", "blog"))
    assert not shops.has_pending_action()


def test_handlers_are_called_by_uuids_only(shops: StoreBed, replica: Replica) -> None:
    web = meant_uuid(shops, "shop/web")
    _, made = replica.request("POST", f"/api/v1/service/{web}/webhook/handler/", b"{}")
    for reference in ("shop%2Fweb", "shop-web-1", web[:8]):
        assert replica.request("POST", f"/api/v1/service/{reference}/webhook/handler/{made['uuid']}/call/")[0] == 404
    assert not shops.has_pending_action()


def test_the_list_takes_references(shops: StoreBed, replica: Replica) -> None:
    status, page = replica.request("GET", "/api/v1/service/?reference=web&limit=1")
    assert (status, page["meta"]["total_count"], len(page["objects"])) == (200, 2, 1)
    assert "reference=web" in page["meta"]["next"]
    _, rest = replica.request("GET", page["meta"]["next"])
    assert {page["objects"][0]["stack"], rest["objects"][0]["stack"]} == {"shop", "blog"}
