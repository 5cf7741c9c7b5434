"""What pages read where there is much: no table of calls or actions is read as a whole."""

import time
from collections.abc import Callable, Iterator
from datetime import timedelta
from statistics import median

import pytest

from tests.support import large_store
from tests.support.large_store import LargeStore
from tests.support.query_plans import recorded, scans
from tests.support.stores import StoreBed, open_store
from tutumd.model import DeliveryOutcome, ServiceState, User

RUNS = 15
PAGES = 200

Reads = dict[str, Callable[[], object]]


def reads_of(bed: StoreBed, large: LargeStore, viewer: User) -> Reads:
    """Return what each page reads, for a service that all viewers see."""
    store, number = bed.store, 3
    uuid, handler, running = large.services[number], large.handlers[number][2], large.running[1]
    old = store.service_deliveries(viewer, uuid, limit=1)[0].number - 300_000
    recent = store.service_actions(viewer, uuid)[0].uuid
    late = store.service_list(viewer, limit=300).next
    month_ago = bed.clock() - timedelta(days=30)
    return {
        "service_list": lambda: store.service_list(viewer),
        "service_list, searched": lambda: store.service_list(viewer, search="APPLICATION-1"),
        "service_list, filtered": lambda: store.service_list(
            viewer, state=ServiceState.STOPPED, stack="stack-03", engine="engine-0"
        ),
        "service_list, later": lambda: store.service_list(viewer, after=late),
        "service_list, gone": lambda: store.service_list(viewer, gone=True),
        "overview": lambda: store.overview(viewer, unused_before=month_ago),
        "unfinished_actions": lambda: store.unfinished_actions(viewer),
        "action_summary": lambda: store.action_summary(viewer, recent),
        "service_actions": lambda: store.service_actions(viewer, uuid),
        "service_deliveries": lambda: store.service_deliveries(viewer, uuid),
        "service_deliveries, later": lambda: store.service_deliveries(viewer, uuid, before=old),
        "service_deliveries, refused": lambda: store.service_deliveries(viewer, uuid, outcome=DeliveryOutcome.REFUSED),
        "service_deliveries, queued": lambda: store.service_deliveries(viewer, uuid, outcome=DeliveryOutcome.QUEUED),
        "service_deliveries, handler": lambda: store.service_deliveries(viewer, uuid, handler_number=handler),
        "action_deliveries": lambda: store.action_deliveries(viewer, recent),
        "delivery_by_number": lambda: store.delivery_by_number(
            viewer, uuid, handler, store.service_deliveries(viewer, uuid, handler_number=handler, limit=1)[0].number
        ),
        "service_stamps": lambda: store.service_stamps(large.services[:PAGES]),
        "action_stamps": lambda: store.action_stamps([running, *large.recent[:PAGES]]),
        "overview_stamps": lambda: store.overview_stamps([viewer]),
    }


@pytest.fixture
def large_bed(database_url: str) -> Iterator[tuple[StoreBed, LargeStore]]:
    with open_store(database_url) as bed:
        began = time.monotonic()
        large = large_store.fill(bed.database, bed.clock)
        large_store.analyze(bed.database)
        print(f"filled in {time.monotonic() - began:.0f} s")
        yield bed, large


@pytest.mark.nightly
def test_pages_read_no_large_table_as_a_whole(large_bed: tuple[StoreBed, LargeStore]) -> None:
    bed, large = large_bed
    for viewer in (bed.admin, large.members[0]):
        for name, read in reads_of(bed, large, viewer).items():
            with recorded() as statements:
                read()
            for sql, parameters in statements:
                found = scans(bed, sql, parameters)
                assert not found, f"{name} for {viewer.name}: {found}\n{sql}"
            print(f"{name} for {viewer.name}: {measure(read):.1f} ms, {len(statements)} statements")


def measure(read: Callable[[], object]) -> float:
    """Return the median of how many milliseconds a read takes."""
    took = []
    for _ in range(RUNS):
        began = time.perf_counter()
        read()
        took.append(time.perf_counter() - began)
    return 1000 * median(took)
