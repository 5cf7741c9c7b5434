"""The list of services that pages read: by stack, with filters, and with counts of what the filters leave."""

from collections import Counter
from dataclasses import replace

import pytest

from tests.support.stores import StoreBed, query, snapshot
from tutumd.errors import NotFoundError
from tutumd.model import ActionState, Query, Service, User, Verb

pytestmark = pytest.mark.dialect


@pytest.fixture
def member(bed: StoreBed) -> User:
    return bed.store.add_user("mia", is_admin=False)


def listed(bed: StoreBed, viewer: User | None = None, **filters: str) -> list[str]:
    """Return the full names of the services that filters let through."""
    found = bed.store.services(viewer or bed.admin, Query(filters=filters, limit=100))
    return [each.full_name for each in found.objects]


def counted(bed: StoreBed, viewer: User | None = None, **values: str) -> dict[tuple[bool, str], int]:
    """Return how many services there are by whether they are bound and their state, of those with these values."""
    counts = Counter[tuple[bool, str]]()
    for group in bed.store.service_groups(viewer or bed.admin, values.pop("search", "")):
        if all(getattr(group, name) == value for name, value in values.items()):
            counts[group.bound, group.state] += group.number
    return +counts


@pytest.mark.slow
def test_services_of_a_stack_stay_together_in_pages(bed: StoreBed) -> None:
    places = (("", "web"), ("shop", "db"), ("blog", "web"), ("shop", "app"), ("blog", "app"), ("", "api"))
    bed.sync(*(replace(snapshot(name), selector=f"{stack}:{name}", stack=stack) for stack, name in places))
    seen: list[Service] = []
    while page := bed.store.services(bed.admin, Query(filters={"gone": "no"}, limit=2, offset=len(seen))).objects:
        seen += page
    assert [each.full_name for each in seen] == ["api", "web", "blog/app", "blog/web", "shop/app", "shop/db"]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("search", "found"),
    [
        ("WEB", ["shop/web"]),
        ("shop", ["shop/web"]),
        ("shop/w", ["shop/web"]),
        ("registry.example", ["api"]),
        ("%", ["50%"]),
        ("_", ["a_b"]),
        ("\\", []),
        ("\0web", ["shop/web"]),
        ("  api ", ["api"]),
        ("nothing", []),
        ("", ["50%", "a_b", "api", "shop/web"]),
    ],
)
def test_a_search_finds_part_of_a_name_or_an_image(bed: StoreBed, search: str, found: list[str]) -> None:
    bed.sync(
        replace(snapshot("Web".lower()), stack="shop"),
        replace(snapshot("api"), image_name="Registry.example/api:1"),
        snapshot("50%"),
        snapshot("a_b"),
    )
    assert sorted(listed(bed, search=search, gone="no")) == found


def test_a_search_finds_a_workload_by_its_namespace(bed: StoreBed) -> None:
    bed.sync(replace(snapshot("web"), stack="shop", full_name="prod/web"))
    assert listed(bed, search="prod/w") == listed(bed, search="shop/w") == ["prod/web"]


def test_counts_respect_the_search_and_tell_of_every_group(bed: StoreBed) -> None:
    bed.sync(
        replace(snapshot("web"), stack="shop"),
        replace(snapshot("db"), stack="shop", stopped=True, containers=()),
        replace(snapshot("other"), stack="blog"),
        snapshot("alone"),
    )
    assert listed(bed, stack="shop", state="Running") == ["shop/web"]
    assert listed(bed, state="Stopped") == ["shop/db"]
    assert listed(bed, engine="another") == []
    assert counted(bed, stack="shop") == {(True, "Running"): 1, (True, "Stopped"): 1}
    assert counted(bed) == {(True, "Running"): 3, (True, "Stopped"): 1}
    assert counted(bed, search="shop") == counted(bed, stack="shop")
    groups = bed.store.service_groups(bed.admin, "shop")
    assert {(group.engine, group.stack) for group in groups} == {("docker", stack) for stack in ("", "blog", "shop")}


def test_a_label_puts_a_service_into_another_stack_for_groups(bed: StoreBed) -> None:
    bed.sync(
        replace(snapshot("web"), stack="shop"),
        replace(snapshot("db"), part_of="shop"),
        replace(snapshot("mail"), stack="shop", part_of="office"),
    )
    assert listed(bed, group_stack="shop") == ["db", "shop/web"]
    assert listed(bed, group_stack="office") == ["shop/mail"]


def test_a_state_is_that_of_the_action_that_runs(bed: StoreBed) -> None:
    bed.call(bed.handler("web"))
    claim = bed.claimed()
    assert listed(bed, state="Redeploying") == ["web"]
    assert counted(bed) == {(True, "Redeploying"): 1, (True, "Running"): 1}
    bed.finish(claim)
    assert listed(bed, state="Redeploying") == []


def test_services_that_are_gone_are_apart(bed: StoreBed) -> None:
    bed.show("web")
    assert (listed(bed, gone="no"), listed(bed, gone="yes")) == (["web"], ["db"])
    assert counted(bed) == {(True, "Running"): 1, (False, "Not running"): 1}
    assert bed.store.services(bed.admin, query(gone="yes")).objects[0].gone_since == bed.clock()


def test_services_with_warnings_are_found(bed: StoreBed) -> None:
    bed.sync(replace(snapshot("web"), warnings=("an autoscaler sets its target", "another")), snapshot("api"))
    assert listed(bed, warned="yes") == ["web"]


def test_each_service_has_a_newest_action(bed: StoreBed, member: User) -> None:
    handler = bed.handler("web")
    bed.call(handler)
    bed.finish(bed.claimed(), success=False)
    uuid = bed.call(handler)
    uuids = [service.uuid for service in bed.store.services(bed.admin, query()).objects]
    (newest,) = bed.store.newest_actions(bed.admin, uuids).values()
    assert (newest.uuid, newest.state, newest.service_name) == (uuid, ActionState.PENDING, "web")
    assert bed.store.newest_actions(member, uuids) == {}


def test_a_member_finds_and_counts_only_their_own_services(bed: StoreBed, member: User) -> None:
    bed.sync(replace(snapshot("web", owner="mia"), stack="hers"), replace(snapshot("db"), stack="not-hers"))
    assert listed(bed, member) == ["hers/web"]
    assert counted(bed, member) == {(True, "Running"): 1}
    assert counted(bed, member, search="db") == {}
    action = bed.call(bed.handler("db"))
    bed.claimed()
    assert bed.store.unfinished_actions(member) == ()
    assert bed.store.unfinished_actions(bed.admin) == (replace(bed.store.action(bed.admin, action), deliveries=0),)
    with pytest.raises(NotFoundError):
        bed.store.action(member, action)
    assert bed.store.actions(member, query(object=bed.service_uuid("db"))).objects == ()


def test_actions_of_a_service_are_read_in_pages(bed: StoreBed) -> None:
    uuid = bed.service_uuid("web")
    handler = bed.handler("web")
    submitted = []
    for _ in range(5):
        submitted.append(bed.call(handler))
        bed.finish(bed.claimed())
    bed.call(bed.handler("db"))
    first = bed.store.actions(bed.admin, replace(query(object=uuid), limit=3)).objects
    second = bed.store.actions(bed.admin, query(object=uuid, number__lt=str(first[-1].number))).objects
    assert [action.uuid for action in (*first, *second)] == submitted[::-1]
    assert {(action.verb, action.service_name) for action in first} == {(Verb.REDEPLOY, "web")}
