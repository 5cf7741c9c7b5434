"""A short run of the fault rounds, with chosen faults; `script/faults` draws them at random, as many as are wanted."""

from collections.abc import Iterator

import pytest

from tests.faults.bed import Bed
from tests.faults.faults import FAULTS, possible
from tests.faults.rounds import Rounds
from tests.support.guards import lacking
from tests.support.postgres_bed import missing_postgres

pytestmark = [pytest.mark.nightly, pytest.mark.timeout(1800)]

SEED = 2015
CHOSEN = {
    "sqlite": ("kill server", "kill edge", "kill child", "fill disk", "stop engine"),
    "postgresql": ("kill worker", "kill edge", "restart postgresql", "kill web", "drop connections"),
}


@pytest.fixture(params=CHOSEN)
def bed(request: pytest.FixtureRequest) -> Iterator[Bed]:
    if request.param == "postgresql" and (missing := missing_postgres()):
        lacking(missing)
    made = Bed(request.param, SEED)
    try:
        made.start()
        yield made
    finally:
        made.close()


def test_every_promise_holds_while_things_break(bed: Bed) -> None:
    rounds = Rounds(bed, SEED)
    chosen = [fault for fault in FAULTS if fault.name in CHOSEN[bed.kind]]
    for number, fault in enumerate(chosen, 1):
        if fault in possible(bed):
            report = rounds.play(number, fault)
            print(report.text())
            assert not report.violations, f"{report.text()}\nlogs: {bed.keep_evidence()}"
    if impossible := [fault.name for fault in chosen if fault not in possible(bed)]:
        lacking(f"the faults {impossible} need root, to mount a small disk")
