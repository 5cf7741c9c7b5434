"""Rows that somebody else than the API and a worker has written: a worker takes them as requests, not as orders."""

from collections.abc import Mapping
from datetime import timedelta
from typing import Any, cast

import pytest
import sqlalchemy as sa

from tests.support.runs import SEAL
from tests.support.stores import ENGINE, StoreBed, snapshot
from tutumd.boottime import boottime_s
from tutumd.errors import EngineRefusedError
from tutumd.model import Claim, Definition, Outcome, RunLimits, Service, ServiceSnapshot
from tutumd.ports.engine import LOST_JOURNAL, Engine, Run
from tutumd.store.tables.actions import actions
from tutumd.store.tables.services import services
from tutumd.worker.leased_run import LeasedRun
from tutumd.worker.perform import perform
from tutumd.worker.trust import JournalSeal

JOURNAL = {"phase": "commit", "swaps": [{"old": "1", "weight": 0.1, "new": None}]}
DEFINITION = {"command": "id", "envvars": {}, "working_dir": "", "autorestart": "OFF"}


class Engines:
    """An engine that tells what it was ordered to do. It shows the service unless that is to be ignored."""

    info = ENGINE

    def __init__(self, *, shows: bool = True) -> None:
        self.orders: list[tuple[str, str | None, Mapping[str, str | None], Mapping[str, object]]] = []
        self._shows = shows

    def inspect(self, service: Service) -> ServiceSnapshot | None:
        return snapshot(service.name) if self._shows else None

    def redeploy(self, service: Service, run: Run) -> Outcome:
        self.orders.append((run.action_uuid, run.tag, run.variables, run.journal))
        return Outcome(success=True)


def forge(bed: StoreBed, uuid: str, **values: Any) -> None:
    with bed.database.write() as connection:
        connection.execute(sa.update(actions).where(actions.c.uuid == uuid).values(**values))


def copied(bed: StoreBed, uuid: str) -> Any:
    """Return the journal of an action as it is stored."""
    with bed.database.read() as connection:
        return connection.execute(sa.select(actions.c.journal).where(actions.c.uuid == uuid)).scalar_one()


def run_of(bed: StoreBed, claim: Claim, seal: JournalSeal = SEAL) -> LeasedRun:
    return LeasedRun(
        claim, bed.queue, seal=seal, lease=timedelta(seconds=10), limits=RunLimits(), claimed_at=boottime_s()
    )


def begun(bed: StoreBed, service: str = "web", journal: Mapping[str, object] = JOURNAL) -> LeasedRun:
    """Let a worker begin a redeploy, save a journal and lose the action."""
    bed.call(bed.handler(service))
    run = run_of(bed, bed.claimed())
    run.save(journal)
    bed.queue.release(run.claim)
    return run


def performed(bed: StoreBed, engine: Engines, seal: JournalSeal = SEAL) -> Outcome:
    run = run_of(bed, bed.claimed(), seal)
    outcome = perform(run, cast(Engine, engine), bed.queue, server_cap=10)
    bed.queue.finish(run.claim, outcome, None)
    return outcome


def next_journal(bed: StoreBed, seal: JournalSeal = SEAL) -> Mapping[str, object]:
    """Return the journal that the next worker finds."""
    return run_of(bed, bed.claimed(), seal).journal


def test_a_worker_continues_from_what_another_one_with_its_key_saved(bed: StoreBed) -> None:
    begun(bed)
    engine = Engines()
    assert performed(bed, engine).success
    assert [journal for *_, journal in engine.orders] == [JOURNAL]


def test_a_journal_that_no_worker_has_sealed_is_lost(bed: StoreBed) -> None:
    uuid = begun(bed).action_uuid
    forge(bed, uuid, journal={**JOURNAL, "seal": "0" * 64})
    engine = Engines()
    assert performed(bed, engine).success
    assert engine.orders == [(uuid, None, {}, LOST_JOURNAL)]
    lines = [line.text for line in bed.store.log_lines(bed.admin, uuid, 0)]
    assert any(line.startswith("what an earlier try saved is not followed") for line in lines), lines


def test_a_sealed_journal_holds_for_one_action(bed: StoreBed) -> None:
    run = begun(bed)
    journal = copied(bed, run.action_uuid)
    assert performed(bed, Engines()).success
    later = begun(bed).action_uuid
    forge(bed, later, journal=journal)
    assert next_journal(bed) == LOST_JOURNAL


def test_a_request_that_no_handler_can_make_is_refused(bed: StoreBed) -> None:
    engine = Engines()
    forged: tuple[dict[str, object], ...] = ({"variables": {"LD_PRELOAD": "/tmp/evil.so"}}, {"tag": "80/evil/app:v1"})
    for change in forged:
        forge(bed, bed.call(bed.handler("web")), **change)
        outcome = performed(bed, engine)
        assert not outcome.success
        assert outcome.reason.startswith(
            "refused: the tag, the image or a variable of this action is none that a webhook handler"
        )
        assert outcome.containers_before == outcome.containers_after
    assert engine.orders == []


def test_what_was_left_half_done_is_not_cleared_up_by_a_forged_journal(bed: StoreBed) -> None:
    left = begun(bed)
    bed.store.abandon(bed.admin, left.action_uuid)
    forge(bed, left.action_uuid, journal=JOURNAL, variables={"LD_PRELOAD": "/tmp/evil.so"})
    bed.call(bed.handler("web"))
    engine = Engines()
    assert performed(bed, engine).success
    assert len(engine.orders) == 1, "the inputs of the abandoned action are refused as well"
    forge(bed, left.action_uuid, journal=JOURNAL, variables={}, abandoned=True)
    uuid = bed.call(bed.handler("web"))
    assert performed(bed, engine).success
    assert [(action, journal) for action, _, _, journal in engine.orders[1:]] == [
        (left.action_uuid, LOST_JOURNAL),
        (uuid, {}),
    ]


def test_a_definition_does_not_make_an_engine_work_on_what_it_does_not_show(bed: StoreBed) -> None:
    bed.call(bed.handler("web"))
    with bed.database.write() as connection:
        connection.execute(sa.update(services).values(definition=DEFINITION))
    engine = Engines(shows=False)
    run = run_of(bed, bed.claimed())
    assert run.claim.service.definition == Definition(command="id")
    assert not perform(run, cast(Engine, engine), bed.queue, server_cap=10).success
    assert engine.orders == []


def test_inputs_are_checked_again_where_an_engine_reads_them(bed: StoreBed) -> None:
    forge(bed, begun(bed).action_uuid, variables={"LD_PRELOAD": "/tmp/evil.so"})
    run = run_of(bed, bed.claimed())
    assert run.journal == LOST_JOURNAL, "it holds for what the action asked for"
    for read in (lambda: run.tag, lambda: run.variables):
        with pytest.raises(EngineRefusedError, match="refused: the tag, the image or a variable"):
            read()
