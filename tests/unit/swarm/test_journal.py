"""Plans survive the journal, which is JSON; output and images are taken apart as the engine sends them."""

import json
from dataclasses import replace

import pytest

from tests.unit.swarm.values import NEW, OLD, spec, task, view
from tutumd.engines.images.reference import parse_reference
from tutumd.engines.swarm import output
from tutumd.engines.swarm import spec as specs
from tutumd.engines.swarm.api import read_platforms
from tutumd.engines.swarm.newest import built_here
from tutumd.engines.swarm.plan import Plan, Result, Stage, read_plan
from tutumd.engines.swarm.scaling import plan_scaling, read_scale_plan, refuse_impossible
from tutumd.errors import EngineRefusedError

PLAN = Plan(
    before=specs.remembered(spec()),
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
        replace(PLAN, before=specs.remembered(spec(), ["SECRET", "NEW"]), order_reason="since"),
        PLAN.at(Stage.UNDO, Result(success=False, reason="why", log_tail="last", rolled_back=True)),
    ],
    ids=["new", "with nothing known", "with variables", "with a result"],
)
def test_a_plan_survives_the_journal(plan: Plan) -> None:
    assert read_plan(json.loads(json.dumps(plan.to_journal()))) == plan
    assert (plan.old, plan.new) == (OLD, NEW)


def test_a_plan_of_scaling_survives_the_journal() -> None:
    plan = plan_scaling(view(spec(), task("o1"), task("o2", state="failed")), 5, noted=None)
    ended = replace(plan, stage=Stage.SETTLE, result=Result(success=True))
    for one in (plan, ended):
        assert read_scale_plan(json.loads(json.dumps(one.to_journal()))) == one
    assert (plan.before, plan.running_before, plan.tasks_before) == (2, ("o1",), ("o1", "o2"))


@pytest.mark.parametrize("change", [{"result": {"ended": True}}, {"stage": "later"}, {"running_before": None}])
def test_a_journal_of_another_version_is_refused_in_words(change: dict[str, object]) -> None:
    scaling = plan_scaling(view(spec(), task("o1")), 5, noted=None)
    for read, journal in ((read_plan, PLAN.to_journal()), (read_scale_plan, scaling.to_journal())):
        with pytest.raises(EngineRefusedError, match="another version of tutumd began this action"):
            read({**journal, **change})


def test_an_empty_journal_has_no_plan() -> None:
    assert read_plan({}) is None
    assert read_scale_plan({}) is None


def test_room_for_replicas_counts_the_nodes_that_take_any() -> None:
    narrow = spec(replicas=1)
    narrow["TaskTemplate"]["Placement"]["MaxReplicas"] = 2
    refuse_impossible(view(narrow), 2, 100)
    with pytest.raises(EngineRefusedError, match="3 have no room"):
        refuse_impossible(view(narrow), 3, 100)
    narrow["Mode"]["Replicated"]["Replicas"] = 5
    refuse_impossible(view(narrow), 4, 100)


def frame(text: str, stream: int = 1) -> bytes:
    data = text.encode()
    return bytes([stream, 0, 0, 0]) + len(data).to_bytes(4, "big") + data


def test_output_of_several_tasks_is_put_in_order_of_time() -> None:
    raw = frame("2026-01-01T00:00:02Z third\n") + frame("2026-01-01T00:00:01Z first\n2026-01-01T00:00:01Z second\n", 2)
    assert output.in_order(raw, tty=False, lines=10) == "first\nsecond\nthird"
    assert output.in_order(raw, tty=False, lines=2) == "second\nthird"
    assert output.in_order(raw, tty=False, lines=0) == ""
    assert output.in_order(b"2026-01-01T00:00:01Z from a terminal\r\n", tty=True, lines=10) == "from a terminal"


def test_complaints_of_the_engine_are_no_output_of_the_container() -> None:
    assert output.unframed(frame("Error grabbing logs", 3) + frame("real"), tty=False) == b"real"


def test_a_frame_that_was_cut_off_is_read_as_far_as_it_goes() -> None:
    assert output.unframed(frame("whole\n") + frame("cut off")[:11], tty=False) == b"whole\ncut"


@pytest.mark.parametrize(
    ("digests", "built"),
    [
        (None, True),
        ([], True),
        (["host:5000/app@sha256:" + "9" * 64], False),
        (["host:5000/other@sha256:" + "9" * 64], True),
        (["host:5000/app@sha256:" + "a" * 64], True),
    ],
)
def test_an_image_that_a_registry_knows_was_not_built_here(digests: list[str] | None, built: bool) -> None:
    image = {"Id": "sha256:" + "a" * 64, "RepoDigests": digests}
    assert built_here(image, parse_reference("host:5000/app:latest")) is built


def test_the_architecture_is_left_open_for_arm() -> None:
    told = [{"architecture": "arm", "os": "linux", "variant": "v7"}, {"architecture": "amd64", "os": "linux"}]
    assert read_platforms(told) == (
        {"Architecture": "", "OS": "linux"},
        {"Architecture": "amd64", "OS": "linux"},
    )
