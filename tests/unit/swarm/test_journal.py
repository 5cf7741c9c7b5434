"""Journals are stored as JSON and read back, also those of earlier versions."""

import json
from dataclasses import replace

import pytest

from tests.unit.swarm.values import NEW, OLD, spec, task, view
from tutumd.engines.rollout.journal import Result, Stage, from_journal, to_journal
from tutumd.engines.swarm import spec as specs
from tutumd.engines.swarm.journal import RedeployJournal, ScaleJournal
from tutumd.engines.swarm.scale import plan_scaling
from tutumd.errors import EngineRefusedError
from tutumd.ports.engine import LOST_JOURNAL

PLAN = RedeployJournal(
    before=specs.stored_parts(spec()),
    image=NEW.image,
    config={"Order": "start-first"},
    platforms=({"Architecture": "amd64", "OS": "linux"},),
    status_before={"State": "completed"},
    running_before=("o1", "o2"),
    image_after="sha256:" + "2" * 64,
    note="said",
)


@pytest.mark.parametrize(
    "plan",
    [
        PLAN,
        replace(PLAN, platforms=None, image_after=None, config=None),
        replace(PLAN, before=specs.stored_parts(spec(), ["SECRET", "NEW"]), order_reason="since"),
        replace(
            PLAN,
            stage=Stage.ROLL_BACK,
            result=Result(success=False, reason="why", log_tail="last", rolled_back=True),
        ),
    ],
    ids=["new", "with nothing known", "with variables", "with a result"],
)
def test_a_redeploy_survives_the_journal(plan: RedeployJournal) -> None:
    assert from_journal(RedeployJournal, json.loads(json.dumps(to_journal(plan)))) == plan
    assert (plan.old, plan.new) == (OLD, NEW)


def test_a_scaling_survives_the_journal() -> None:
    plan = plan_scaling(view(spec(), task("o1"), task("o2", state="failed")), 5, noted=None)
    ended = replace(plan, stage=Stage.FINISH, result=Result(success=False, reason="why"))
    for journal in (plan, ended):
        assert from_journal(ScaleJournal, json.loads(json.dumps(to_journal(journal)))) == journal
    success = replace(plan, stage=Stage.FINISH, result=Result(success=True))
    assert from_journal(ScaleJournal, to_journal(success)) == plan
    assert (plan.before, plan.running_before, plan.tasks_before) == (2, ("o1",), ("o1", "o2"))


@pytest.mark.parametrize(
    "change", [{"result": {"ended": True}}, {"stage": "later"}, {"running_before": None}, {"sent": {}}]
)
def test_an_unreadable_journal_is_refused(change: dict[str, object]) -> None:
    scaling = plan_scaling(view(spec(), task("o1")), 5, noted=None)
    for journal in (PLAN, scaling):
        with pytest.raises(EngineRefusedError, match="another version of tutumd, or a worker with"):
            from_journal(type(journal), {**to_journal(journal), **change})


def test_a_journal_that_cannot_be_trusted_is_refused() -> None:
    with pytest.raises(EngineRefusedError, match="the service was left as it is; check what it runs"):
        from_journal(RedeployJournal, LOST_JOURNAL)


def test_an_empty_journal_is_none() -> None:
    assert from_journal(RedeployJournal, {}) is None


RECORDED_REDEPLOY = """{
    "before": {"TaskTemplate": {
        "ContainerSpec": {"Image": "app:latest@sha256:1", "Env": [["SECRET", null], ["BODY", "BODY=1"]]},
        "ForceUpdate": 3, "Placement": {"Platforms": [{"Architecture": "amd64", "OS": "linux"}]}
    }},
    "image": "app:latest@sha256:2", "config": {"Order": "start-first", "Monitor": 3000000000, "Delay": 0},
    "status_before": {"State": "completed"}, "image_after": "sha256:2", "order_reason": "since", "note": "",
    "running_before": ["t1"], "platforms": [{"Architecture": "amd64", "OS": "linux"}],
    "result": {"success": false, "reason": "why", "log_tail": "last", "rolled_back": false}, "stage": "%s"
}"""
RECORDED_SCALING = """{
    "before": 2, "target": 5, "noted_before": null, "noted": null, "tasks_before": ["t1", "t2"],
    "running_before": ["t1"], "stage": "%s", "result": null
}"""


@pytest.mark.parametrize("stage", list(Stage))
def test_journals_recorded_by_the_first_release_are_read(stage: Stage) -> None:
    assert [stage.value for stage in Stage] == ["trial", "order", "undo", "settle"]
    recorded = json.loads(RECORDED_REDEPLOY % stage.value)
    journal = from_journal(RedeployJournal, recorded)
    assert journal is not None
    assert (journal.stage, journal.old.force, journal.new.image) == (stage, 3, "app:latest@sha256:2")
    assert to_journal(journal) == {**recorded, "stopped": False}
    recorded = json.loads(RECORDED_SCALING % stage.value)
    scaling = from_journal(ScaleJournal, recorded)
    assert scaling is not None
    assert to_journal(scaling) == recorded
