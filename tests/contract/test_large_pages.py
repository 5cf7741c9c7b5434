"""Pages where there is much: how many statements each executes, and that none reads a large table as a whole."""

import time
from collections.abc import Iterator
from pathlib import Path
from statistics import median

import pytest

from tests.support import large_store
from tests.support.dashboard_bed import DashboardBed, serve_dashboard
from tests.support.large_store import LargeStore
from tests.support.pages import Visitor
from tests.support.query_plans import recorded, scans
from tests.support.stores import open_store
from tutumd.application import accounts

RUNS = 9
MAX_STATEMENTS = 40
"""Most pages need 15; the server's own ones of the same moment are counted, too."""


@pytest.fixture
def large(tmp_path: Path) -> Iterator[tuple[DashboardBed, LargeStore]]:
    with open_store(f"sqlite:///{tmp_path / 'large.db'}") as bed:
        filled = large_store.fill(bed.database, bed.clock)
        with serve_dashboard(bed) as dashboard:
            yield dashboard, filled


@pytest.mark.slow
def test_pages_execute_few_statements_and_read_no_large_table(large: tuple[DashboardBed, LargeStore]) -> None:
    dashboard, filled = large
    for user in (dashboard.bed.admin, filled.members[0]):
        visitor = Visitor(dashboard.url)
        visitor.sign_in(user.name, accounts.add_key(dashboard.bed.store, user.name))
        for address in addresses(filled, visitor):
            with recorded() as statements:
                page = visitor.get(address)
            assert page.status == 200, (address, page.text)
            took, used = measure(visitor, address)
            print(f"{user.name} {address}: {took:.0f} ms, {used:.0f} ms CPU, {len(statements)} statements")
            for sql, parameters in statements:
                found = scans(dashboard.bed, sql, parameters)
                assert not found, f"{address} for {user.name}: {found}\n{sql}"
            assert len(statements) <= MAX_STATEMENTS, (address, [sql for sql, _ in statements])


def addresses(filled: LargeStore, visitor: Visitor) -> list[str]:
    """Return the addresses of pages of each kind, of a service that all of the visitors see."""
    number = 3
    service = f"/service/{filled.services[number]}/"
    handler = f"{service}handler/{filled.handlers[number][2]}/"
    listed = visitor.get(f"{handler}deliveries/")
    delivery = next(link for each in listed.find("a") if "/delivery/" in (link := each.attributes.get("href", "")))
    services = ("/services/", "/services/?search=APPLICATION-1", "/services/?state=Stopped&stack=stack-03")
    of_handler = ("", "deliveries/", "deliveries/?outcome=refused", "connect/", "try/", "edit/")
    return [
        *("/", "/running/", *services, "/connect/", "/audit/", "/account/"),
        *(service, f"{service}connect/", f"{service}handler/new/"),
        *(f"{handler}{below}" for below in of_handler),
        *(delivery, f"/action/{filled.recent[number]}/", f"/action/{filled.recent[number]}/log/"),
    ]


def measure(visitor: Visitor, address: str) -> tuple[float, float]:
    """Return the medians of how many milliseconds a page takes, and of the CPU; the visitor's own are among them."""
    took, used = [], []
    for _ in range(RUNS):
        began, began_cpu = time.perf_counter(), time.process_time()
        visitor.send("GET", address)
        took.append(time.perf_counter() - began)
        used.append(time.process_time() - began_cpu)
    return 1000 * median(took), 1000 * median(used)
