"""Journals are stored as JSON and read back."""

import json
from dataclasses import asdict, replace
from typing import Any

import pytest

from tests.unit.swarm.values import NEW, OLD, PLAN, spec
from tutumd.engines.kubernetes.patches import RedeployJournal
from tutumd.engines.rollout.journal import Result, ScaleJournal, Stage, from_journal
from tutumd.engines.swarm import spec as specs
from tutumd.errors import EngineRefusedError
from tutumd.ports.engine import LOST_JOURNAL

CLUSTER = RedeployJournal(
    before={"restarted_at": "", "main": "app", "containers": [["containers", "app"]]},
    old="f",
    image="app:v2",
    restarted_at="2026",
    min_ready_before=None,
    min_ready=10,
    running_before=("p1", "p2"),
    image_before=None,
    notes=("said",),
)
SCALING = ScaleJournal(before=2, target=5, present_before=("o1", "o2"), running_before=("o1",), noted="2")
FAILURE = Result(success=False, reason="why", log_tail="last", rolled_back=True)


@pytest.mark.parametrize("end", [(Stage.APPLY, None), (Stage.ROLL_BACK, FAILURE)])
@pytest.mark.parametrize(
    "journal",
    [
        PLAN,
        replace(PLAN, platforms=None, image_after=None, config=None),
        replace(PLAN, before=specs.stored_parts(spec(), ["SECRET", "NEW"]), order_reason="since"),
        CLUSTER,
        SCALING,
    ],
    ids=["swarm", "with nothing known", "with variables", "kubernetes", "scaling"],
)
def test_a_journal_is_stored_and_read(journal: Any, end: tuple[Stage, Result | None]) -> None:
    subject = replace(journal, stage=end[0], result=end[1])
    assert from_journal(type(subject), json.loads(json.dumps(asdict(subject)))) == subject
    assert from_journal(type(subject), {}) is None


def test_a_journal_of_swarm_knows_both_versions() -> None:
    assert (PLAN.old, PLAN.new) == (OLD, NEW)


@pytest.mark.parametrize("change", [{"result": {"ended": True}}, {"stage": "later"}, {"sent": {}}])
@pytest.mark.parametrize("journal", [PLAN, CLUSTER, SCALING], ids=["swarm", "kubernetes", "scaling"])
def test_an_unreadable_or_lost_journal_is_refused(journal: Any, change: dict[str, object]) -> None:
    for stored in ({**asdict(journal), **change}, LOST_JOURNAL):
        with pytest.raises(EngineRefusedError, match="another version of tutumd, or a worker with"):
            from_journal(type(journal), stored)
