"""Pages where there is much: how many statements each executes, and that none reads a large table as a whole."""

import re
from collections.abc import Iterator, Sequence
from concurrent.futures import Future
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace

import pytest
import sqlalchemy as sa

from tests.acceptance.page_routes import FOR_ALL, page_routes
from tests.support import large_store
from tests.support.dashboard_bed import DashboardBed, serve_dashboard
from tests.support.large_store import ENGINES, OWNED_ALONE, STACK_UNHEARD_OF, STACKS, LargeStore
from tests.support.pages import Visitor
from tests.support.query_plans import MAX_ROWS, MAX_STEPS, count_rows, count_steps, recorded, scans
from tests.support.stores import ORIGIN, is_postgres, open_store, snapshot
from tutumd.application import accounts
from tutumd.application.digests import sha256_hex
from tutumd.model import Call, NewHandler, NewKey, User, Verb
from tutumd.model.groups import GroupAccepted, GroupSelector
from tutumd.model.notifications import NewTarget, TargetKind
from tutumd.ports.intake import CallResult
from tutumd.store.objects.actions import new_action
from tutumd.store.tables.actions import actions

MAX_STATEMENTS = 40
"""Of different ones: the server asks the same things on its own, more often on a slow machine. Most pages need 15."""
_PLAN = {
    "refused": "",
    "order": "start-first",
    "order_reason": "nothing forbids it",
    "image_name": "app:latest",
    "image_before": None,
    "image_after": None,
    "steps": ["fetch app:latest"],
    "notes": [],
}
_OUTPUT = {"text": "\n".join(f"web-1 | {number} a line of a log" for number in range(300)), "position": {}}
_ANSWERS: dict[str, dict[str, object]] = {
    "/redeploy/": {"plan": _PLAN},
    "/logs/": {"logs": _OUTPUT},
}


@pytest.fixture
def large(database_url: str) -> Iterator[tuple[DashboardBed, LargeStore]]:
    with open_store(database_url) as bed:
        filled = large_store.fill(bed.database, bed.clock)
        with serve_dashboard(bed) as dashboard:
            yield dashboard, filled


@pytest.mark.nightly
@pytest.mark.timeout(1800)
def test_pages_execute_few_statements_and_read_no_large_table(large: tuple[DashboardBed, LargeStore]) -> None:
    dashboard, filled = large
    visits = [
        (who, visitor, list(addresses(filled, visitor, number))) for who, visitor, number in visitors(dashboard, filled)
    ]
    faults: list[str] = []
    # A database whose tables are new knows nothing of what they hold.
    for is_analyzed in (False, True) if is_postgres(dashboard.bed.database) else (True,):
        if is_analyzed:
            large_store.analyze(dashboard.bed.database)
        for who, visitor, found in visits:
            for address in found:
                faults += check(dashboard, who, visitor, address, is_analyzed)
    assert not faults, "\n".join(faults)


@pytest.mark.nightly
def test_the_overview_costs_the_same_beside_a_hundred_thousand_actions(database_url: str) -> None:
    with open_store(database_url) as bed, serve_dashboard(bed) as dashboard:
        users = dashboard.visit(), dashboard.visit("mia", is_admin=False)
        names = [f"s{number}" for number in range(200)]
        bed.sync(*map(snapshot, names), snapshot("web"), replace(snapshot("api"), owner="mia"))
        pages = [(visitor, address) for visitor in users for address in ("/", "/?state=Failed")]
        for name in ("api", "web"):
            bed.call(bed.handler(name))
            bed.finish(bed.claimed(), success=False)
        before = [count_statements(visitor, address) for visitor, address in pages]
        now, uuids = bed.clock(), [bed.service_uuid(name) for name in names]
        ended = {"state": "Success", "open": False, "started": now, "ended": now}
        rows = [new_action(uuid, "docker", Verb.START, origin=ORIGIN, now=now) | ended for uuid in uuids * 500]
        with bed.database.write() as connection:
            connection.execute(sa.insert(actions), rows)
        large_store.analyze(bed.database)
        assert [count_statements(visitor, address) for visitor, address in pages] == before
        faults = [fault for visitor, address in pages for fault in check(dashboard, "", visitor, address, True)]
        small = "Scan on deliveries", "Scan on action_lines"
        assert not [fault for fault in faults if not any(each in fault for each in small)]


def count_statements(visitor: Visitor, address: str) -> int:
    """Return how many different statements render a page. GET would sometimes read the revisions of open pages, too."""
    with recorded() as statements:
        assert visitor.send("HEAD", address).status == 200
    return len({(sql, str(parameters)) for sql, parameters in statements})


def visitors(dashboard: DashboardBed, filled: LargeStore) -> Iterator[tuple[str, Visitor, int]]:
    """Yield visitors who see all, much and little, each with the position of a service that they see."""
    admin, (many, _, one) = dashboard.bed.admin, filled.members
    of_stack = f"stack-{STACK_UNHEARD_OF}"
    for user, stack, number in ((admin, None, 3), (many, None, 3), (one, None, OWNED_ALONE), (admin, of_stack, 49)):
        visitor, key = Visitor(dashboard.url), accounts.generate_key()
        new = NewKey(key_sha256=sha256_hex(key), hint="key", stack=stack)
        dashboard.bed.store.add_key(user.name, new)
        told = NewTarget(name=stack or "oncall", kind=TargetKind.WEBHOOK, settings={}, stack=stack)
        dashboard.bed.store.add_target(user, told)
        add_group_call(dashboard, user, f"stack-{number % STACKS:02}", ENGINES[number % 3].name)
        visitor.sign_in(user.name, key)
        yield stack or user.name, visitor, number


def add_group_call(dashboard: DashboardBed, user: User, stack: str, engine: str) -> None:
    """Make a group of a stack, and call it."""
    selector = GroupSelector(stack=stack, engine=engine)
    group = dashboard.bed.store.add_handlers(user, "", [NewHandler(name=stack, selector=selector)])[0]
    called = Call(service_uuid="", handler_uuid=group.uuid, amount=1, origin=ORIGIN, body_size=0)
    results: Future[Sequence[CallResult]] = Future()
    dashboard.bed.intake.store([called], results.set_result)
    assert isinstance(results.result(600)[0], GroupAccepted)


def addresses(filled: LargeStore, visitor: Visitor, number: int) -> Iterator[str]:
    """Yield the addresses of all pages, of one service, and of lists that are filtered, searched and at their ends."""
    handler = filled.handlers[number][2]
    values = {
        "service_uuid": filled.services[number],
        "number": handler,
        "action_uuid": filled.recent[number],
    }
    paths = {route.path: route for route in page_routes() if route.method == "GET" and route.path not in FOR_ALL}
    of_handler = f"/service/{filled.services[number]}/handler/{handler}/"
    listed = visitor.get(f"{of_handler}deliveries/")
    links = [link for each in listed.find("a") if "/delivery/" in (link := each.attributes.get("href", ""))]
    values["delivery_number"] = re.findall(r"/delivery/(\d+)/", " ".join(links))[0]
    [values["group_number"], *_] = re.findall(r"/groups/(\d+)/", visitor.get("/groups/").html)
    group = visitor.get(f"/groups/{values['group_number']}/").html
    values["call_number"] = re.findall(r"/groupcall/(\d+)/", group)[0]
    values["group_delivery"] = re.findall(r"/delivery/(\d+)/", group)[0]
    [values["target_uuid"]] = re.findall(r"/target/([^/]+)/", visitor.get("/notifications/").html)[:1]
    may_change = visitor.get("/notifications/").find("section", id="add")
    changes = () if may_change else ("/notifications/new/", "/notifications/target/{target_uuid}/edit/")
    yield from (route.fill(values) for path, route in paths.items() if path not in changes)
    last = filled.services[-60]
    services = ("search=APPLICATION-1", "search=nothing", "state=Stopped&stack=stack-03", f"after={last}", "state=Gone")
    yield from (f"/services/?{query}" for query in services)
    yield from (f"{of_handler}deliveries/?{query}" for query in ("outcome=refused", "outcome=queued", "before=50000"))
    yield f"/service/{filled.services[number]}/?before=4000&deliveries_before=50000"
    yield "/audit/?before=60"
    yield "/?state=Failed"
    days = "since=2015-01-01&until=2100-01-01"
    filters: tuple[str, ...] = (
        "user=member-1",
        "user=nobody",
        "what=key+made",
        "what=action+submitted&via=command",
        "via=command",
    )
    filters += ("service_name=stack-03/service-0003", "stack=stack-03", days, f"stack=stack-03&what=user+added&{days}")
    yield from (f"/audit/?{query}" for query in filters)


def check(dashboard: DashboardBed, who: str, visitor: Visitor, address: str, is_analyzed: bool) -> list[str]:
    """Load a page, and return what is wrong with the statements that it executes."""
    bed, most, faults = dashboard.bed, 0, []
    with recorded() as statements, answering(dashboard, address):
        page = visitor.get(address)
    assert page.status == 200, (address, page.text)
    for sql, parameters in statements:
        faults += [f"{who} {address}: {scan}\n{sql}" for scan in scans(bed, sql, parameters)]
        if not is_postgres(bed.database):
            number, limit = count_steps(bed, sql, parameters), MAX_STEPS
        else:
            is_counted = is_analyzed or address.startswith("/audit/")
            number, limit = count_rows(bed, sql, parameters) if is_counted else 0, MAX_ROWS
        most = max(most, number)
        faults += [f"{who} {address}: {number} rows or steps\n{sql}"] if number > limit else []
    different = len({(sql, str(parameters)) for sql, parameters in statements})
    print(f"{who} {address}: {different} statements, {most} rows or steps")
    faults += [f"{who} {address}: {different} statements"] if different > MAX_STATEMENTS else []
    return faults


def answering(dashboard: DashboardBed, address: str) -> AbstractContextManager[object]:
    """Answer the question that some pages ask an engine."""
    response = next((_ANSWERS[part] for part in _ANSWERS if address.endswith(part)), None)
    return nullcontext() if response is None else dashboard.answering(response, [each.name for each in ENGINES])
