"""The list of services that pages read: filters, counts by state, and pages without offsets."""

from dataclasses import replace

import pytest

from tests.support.stores import StoreBed, query, snapshot
from tutumd.errors import NotFoundError
from tutumd.model import ActionState, ServiceState, ServiceSummary, User, Verb

pytestmark = pytest.mark.dialect


@pytest.fixture
def member(bed: StoreBed) -> User:
    return bed.store.add_user("mia", is_admin=False)


def names(found: tuple[ServiceSummary, ...]) -> list[str]:
    return [each.service.full_name for each in found]


def test_pages_show_each_service_once_by_name(bed: StoreBed) -> None:
    bed.show(*(f"s{number}" for number in range(7)))
    seen: list[str] = []
    after = None
    for _ in range(4):
        page = bed.store.service_list(bed.admin, after=after, limit=2)
        seen += names(page.services)
        after = page.next
    assert after is None
    assert seen == [f"s{number}" for number in range(7)]


@pytest.mark.slow
def test_services_of_a_stack_stay_together(bed: StoreBed) -> None:
    places = (("", "web"), ("shop", "db"), ("blog", "web"), ("shop", "app"), ("blog", "app"), ("", "api"))
    bed.sync(*(replace(snapshot(name), selector=f"{stack}:{name}", stack=stack) for stack, name in places))
    seen: list[str] = []
    after = None
    while True:
        page = bed.store.service_list(bed.admin, after=after, limit=2)
        seen += names(page.services)
        if (after := page.next) is None:
            break
    assert seen == ["api", "web", "blog/app", "blog/web", "shop/app", "shop/db"]


def test_services_of_one_name_are_each_shown_once(bed: StoreBed) -> None:
    bed.sync(*(replace(snapshot("web"), selector=f"name:web-{number}", stack=f"s{number}") for number in range(5)))
    first = bed.store.service_list(bed.admin, limit=3)
    second = bed.store.service_list(bed.admin, after=first.next, limit=3)
    assert sorted(names((*first.services, *second.services))) == [f"s{number}/web" for number in range(5)]


def test_a_list_begins_again_behind_a_service_that_is_deleted(bed: StoreBed) -> None:
    page = bed.store.service_list(bed.admin, after="00000000-0000-4000-8000-000000000000", limit=1)
    assert names(page.services) == ["db"]


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
    assert sorted(names(bed.store.service_list(bed.admin, search=search).services)) == found


def test_a_search_finds_a_workload_by_its_namespace(bed: StoreBed) -> None:
    bed.sync(replace(snapshot("web"), selector="deployment/prod/web"))
    assert names(bed.store.service_list(bed.admin, search="prod/w").services) == []


def test_counts_respect_the_filters_but_that_of_the_state(bed: StoreBed) -> None:
    bed.sync(
        replace(snapshot("web"), stack="shop"),
        replace(snapshot("db"), stack="shop", stopped=True, containers=()),
        replace(snapshot("other"), stack="blog"),
        snapshot("alone"),
    )
    page = bed.store.service_list(bed.admin, stack="shop", state=ServiceState.RUNNING)
    assert names(page.services) == ["shop/web"]
    assert page.counts.states == {ServiceState.RUNNING: 1, ServiceState.STOPPED: 1}
    assert (page.stacks, page.engines) == (("blog", "shop"), ("docker",))
    everything = bed.store.service_list(bed.admin, state=ServiceState.STOPPED)
    assert names(everything.services) == ["shop/db"]
    assert everything.counts.states == {ServiceState.RUNNING: 3, ServiceState.STOPPED: 1}
    assert names(bed.store.service_list(bed.admin, stack="").services) == ["alone"]
    assert names(bed.store.service_list(bed.admin, engine="another").services) == []


def test_a_service_is_in_the_state_of_its_running_action(bed: StoreBed) -> None:
    bed.call(bed.handler("web"))
    claim = bed.claimed()
    page = bed.store.service_list(bed.admin, state=ServiceState.REDEPLOYING)
    assert names(page.services) == ["web"]
    assert page.counts.states == {ServiceState.REDEPLOYING: 1, ServiceState.RUNNING: 1}
    bed.finish(claim)
    assert bed.store.service_list(bed.admin, state=ServiceState.REDEPLOYING).services == ()


def test_services_that_are_gone_are_apart(bed: StoreBed) -> None:
    bed.show("web")
    page = bed.store.service_list(bed.admin)
    assert names(page.services) == ["web"]
    assert (page.counts.states, page.counts.gone) == ({ServiceState.RUNNING: 1}, 1)
    gone = bed.store.service_list(bed.admin, gone=True)
    assert names(gone.services) == ["db"]
    assert gone.services[0].service.gone_since == bed.clock()
    assert gone.counts == page.counts


def test_a_service_comes_with_its_handlers_and_its_last_action(bed: StoreBed) -> None:
    handler = bed.handler("web")
    bed.handler("web")
    bed.call(handler)
    bed.finish(bed.claimed(), success=False)
    uuid = bed.call(handler)
    db, web = bed.store.service_list(bed.admin).services
    assert (db.handlers, db.last_action) == (0, None)
    assert web.handlers == 2
    assert web.last_action is not None
    assert (web.last_action.uuid, web.last_action.state) == (uuid, ActionState.PENDING)


def test_a_member_finds_and_counts_only_their_own_services(bed: StoreBed, member: User) -> None:
    bed.sync(replace(snapshot("web", owner="mia"), stack="hers"), replace(snapshot("db"), stack="not-hers"))
    page = bed.store.service_list(member)
    assert names(page.services) == ["hers/web"]
    assert (page.counts.states, page.stacks) == ({ServiceState.RUNNING: 1}, ("hers",))
    assert bed.store.service_list(member, search="db").counts.states == {}
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
