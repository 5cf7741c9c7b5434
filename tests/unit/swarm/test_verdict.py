"""How an update stands, decided from the service and its tasks."""

from dataclasses import replace
from typing import Any

import pytest

from tests.unit.swarm.values import NEW, OLD, nodes, spec, task, view
from tutumd.engines.swarm.tasks import Phase, Task, read_nodes, read_task
from tutumd.engines.swarm.verdict import (
    Finding,
    calm,
    culprit,
    judge,
    judge_job,
    judge_scaling,
    lacks_room,
    restored,
    waited_for_in_vain,
)
from tutumd.engines.swarm.version import Version
from tutumd.engines.swarm.words import failure, trouble_of

BOTH_NEW = (task("n1", NEW), task("n2", NEW, place="2"))
BOTH_OLD = (task("o1"), task("o2", place="2"))
ORDERED, BEFORE = spec(NEW), spec(OLD)


@pytest.mark.parametrize("state", ["", "completed"])
def test_an_update_has_arrived_when_every_task_is_new_and_runs(state: str) -> None:
    assert judge(view(ORDERED, *BOTH_NEW, state=state), NEW, OLD) is Finding.ARRIVED
    assert judge(view(ORDERED, *BOTH_NEW, state="updating"), NEW, OLD) is Finding.WAIT


@pytest.mark.parametrize(
    "tasks",
    [
        BOTH_OLD,
        (BOTH_NEW[0], BOTH_OLD[1]),
        BOTH_NEW[:1],
        (*BOTH_NEW, task("n3", NEW, place="3")),
        (BOTH_NEW[0], task("n2", NEW, state="starting")),
        (BOTH_NEW[0], task("n2", NEW, node_ready=False)),
    ],
    ids=["old", "one old", "one missing", "one too many", "one starts", "one on a lost node"],
)
def test_an_update_has_not_arrived_while_a_task_is_wrong(tasks: tuple[Task, ...]) -> None:
    assert judge(view(ORDERED, *tasks, state="completed"), NEW, OLD) is Finding.WAIT


def test_a_copy_that_falls_over_again_fails_where_the_engine_has_stopped_watching() -> None:
    fallen = [task(f"n{number}", NEW, state="failed", wanted=False) for number in (1, 2)]
    coming = task("n3", NEW, state="ready")
    other = task("n4", NEW, state="failed", place="2", wanted=False)
    for state in ("", "completed"):
        assert judge(view(ORDERED, *fallen, coming, state=state), NEW, OLD) is Finding.FAILED
        assert judge(view(ORDERED, fallen[0], other, coming, state=state), NEW, OLD) is Finding.WAIT
        assert judge(view(ORDERED, *fallen, *BOTH_NEW, state=state), NEW, OLD) is Finding.ARRIVED
    assert judge(view(ORDERED, *fallen, coming, state="updating"), NEW, OLD) is Finding.WAIT


def test_new_tasks_lack_room_where_all_that_come_wait_for_the_places_of_others() -> None:
    full = [
        task(f"n{number}", NEW, state="pending", error=f"no suitable node ({reason} on 1 node)")
        for number, reason in enumerate(("insufficient resources", "host-mode port already in use"))
    ]
    assert lacks_room(view(ORDERED, *BOTH_OLD, *full), NEW)
    assert not lacks_room(view(ORDERED, *BOTH_OLD, *full), OLD)
    kept = replace(BOTH_OLD[0], node_open=False)  # no new task could take its place
    assert not lacks_room(view(ORDERED, kept, BOTH_OLD[1], *full), NEW)
    assert not lacks_room(view(ORDERED, *BOTH_NEW), NEW)
    assert not lacks_room(view(ORDERED, *full, task("n9", NEW, state="preparing")), NEW)
    nowhere = task(
        "n9", NEW, state="pending", error="no suitable node (scheduling constraints not satisfied on 1 node)"
    )
    assert not lacks_room(view(ORDERED, nowhere), NEW)


def test_tasks_that_stop_or_have_ended_are_no_hindrance() -> None:
    leaving = task("o1", wanted=False)
    dead = task("o2", state="failed", wanted=False)
    assert judge(view(ORDERED, *BOTH_NEW, leaving, dead, state="completed"), NEW, OLD) is Finding.ARRIVED


@pytest.mark.parametrize("state", ["paused", "rollback_started", "rollback_paused", "rollback_completed"])
def test_any_other_end_with_our_version_in_place_is_a_failure(state: str) -> None:
    assert judge(view(ORDERED, *BOTH_NEW, state=state), NEW, OLD) is Finding.FAILED


def test_a_rollback_by_the_engine_is_seen() -> None:
    assert judge(view(BEFORE, *BOTH_OLD, state="rollback_started"), NEW, OLD) is Finding.ROLLING_BACK
    assert judge(view(BEFORE, *BOTH_OLD, state="rollback_completed"), NEW, OLD) is Finding.ROLLED_BACK
    assert judge(view(BEFORE, *BOTH_OLD, state="rollback_paused"), NEW, OLD) is Finding.ROLLED_BACK


@pytest.mark.parametrize("state", ["", "updating", "completed", "rollback_started"])
def test_a_version_that_is_neither_is_somebody_elses(state: str) -> None:
    other = Version(image=NEW.image, force=2)
    assert judge(view(spec(other), state=state), NEW, OLD) is Finding.SUPERSEDED
    if not state.startswith("rollback"):
        assert judge(view(BEFORE, state=state), NEW, OLD) is Finding.SUPERSEDED


def test_no_tasks_of_a_stopped_service_have_arrived() -> None:
    assert judge(view(spec(NEW, replicas=0)), NEW, OLD) is Finding.ARRIVED


def test_a_global_service_arrives_with_at_least_one_task() -> None:
    everywhere = spec(NEW, Mode={"Global": {}})
    assert judge(view(everywhere, state="completed"), NEW, OLD) is Finding.WAIT
    assert judge(view(everywhere, *BOTH_NEW, state="completed"), NEW, OLD) is Finding.ARRIVED


def test_a_service_is_restored_when_it_runs_as_far_as_it_did() -> None:
    assert restored(view(BEFORE, *BOTH_OLD, state="rollback_completed"), OLD, 2)
    assert not restored(view(BEFORE, *BOTH_OLD, state="rollback_started"), OLD, 2)
    assert not restored(view(BEFORE, BOTH_OLD[0]), OLD, 2)
    assert restored(view(BEFORE, BOTH_OLD[0]), OLD, 1)
    assert not restored(view(BEFORE, BOTH_OLD[0], BOTH_NEW[1]), OLD, 1)


def test_an_update_that_is_about_to_begin_is_no_calm() -> None:
    assert not calm(view(ORDERED, *BOTH_OLD))
    assert not calm(view(ORDERED, *BOTH_NEW, state="updating"))
    assert calm(view(ORDERED, *BOTH_NEW))
    assert calm(view(ORDERED, *BOTH_OLD, state="paused"))


def test_the_task_that_the_engine_names_is_to_blame() -> None:
    tasks = (task("n1", NEW, state="failed"), task("n2", NEW, state="failed"), task("o1", state="failed"))
    assert culprit(tasks, NEW, "failure of task n1") == tasks[0]
    assert culprit(tasks, NEW) == tasks[1]


def test_a_task_that_waits_with_a_reason_is_to_blame_before_one_without() -> None:
    waits = task("n1", NEW, state="pending", error="no suitable node")
    starts = task("n2", NEW, state="starting")
    assert culprit((waits, starts), NEW) == waits
    assert culprit((starts,), NEW) == starts
    assert culprit(BOTH_NEW, NEW) is None


@pytest.mark.parametrize(
    ("state", "wanted", "node_ready", "phase"),
    [
        ("pending", True, True, Phase.COMING),
        ("pending", False, True, Phase.ENDED),
        ("starting", True, True, Phase.COMING),
        ("starting", False, True, Phase.LEAVING),
        ("starting", False, False, Phase.ENDED),
        ("running", True, True, Phase.RUNNING),
        ("running", True, False, Phase.LOST),
        ("running", False, True, Phase.LEAVING),
        ("running", False, False, Phase.ENDED),
        ("failed", True, True, Phase.ENDED),
        ("complete", True, True, Phase.ENDED),
    ],
)
def test_a_task_is_in_one_phase(state: str, wanted: bool, node_ready: bool, phase: Phase) -> None:
    assert task("t", state=state, wanted=wanted, node_ready=node_ready).phase is phase


@pytest.mark.parametrize(
    ("node", "ready", "place"), [("id-a", True, "a"), ("id-b", False, "b"), ("gone", False, "gone")]
)
def test_a_global_task_is_placed_by_the_name_of_its_node(node: str, ready: bool, place: str) -> None:
    raw = {"ID": "t", "NodeID": node, "DesiredState": "running", "Status": {"State": "running"}, "Spec": {}}
    found = read_task(raw, nodes("ready", "down"))
    assert (found.node_ready, found.place) == (ready, place)


def test_nodes_of_one_name_are_told_apart() -> None:
    row = {"Status": {"State": "ready"}, "Description": {"Hostname": "vm"}}
    found = read_nodes([{"ID": "0123456789abcdef", **row}, {"ID": "1123456789abcdef", **row}])
    assert (found.host("0123456789abcdef"), found.host("1123456789abcdef")) == ("vm-0123456789ab", "vm-1123456789ab")


def test_scaling_arrives_with_the_number_wanted() -> None:
    def stands(target: int, before: int, *tasks: Task) -> Finding:
        return judge_scaling(view(spec(replicas=2), *tasks), target=target, before=before, tasks_before=("o1", "o2"))

    assert stands(2, 1, *BOTH_OLD) is Finding.ARRIVED
    assert stands(2, 1, BOTH_OLD[0]) is Finding.WAIT
    assert stands(3, 1, *BOTH_OLD) is Finding.SUPERSEDED
    assert stands(2, 3, *BOTH_OLD) is Finding.ARRIVED
    assert stands(2, 3, *BOTH_OLD, task("o3", place="3", wanted=False)) is Finding.WAIT
    assert stands(2, 3, *BOTH_OLD, task("o3", place="3")) is Finding.WAIT


def test_scaling_fails_when_a_new_copy_ends_twice() -> None:
    def stands(*tasks: Task) -> Finding:
        return judge_scaling(view(spec(replicas=3), *tasks), target=3, before=1, tasks_before=("o1",))

    once = (task("o1"), task("x1", state="failed", place="2"), task("x2", state="failed", place="3"))
    assert stands(*once) is Finding.WAIT
    assert stands(*once, task("x3", state="rejected", place="2")) is Finding.FAILED


def test_failures_are_told_with_their_cause() -> None:
    blamed = task("n1", NEW, state="failed", error="task: non-zero exit (3)")
    told = failure(view(BEFORE, state="rollback_started"), blamed, overdue=False)
    assert told == "the engine rolled the update back: container 1 failed: task: non-zero exit (3)"
    by_hand = view(BEFORE, state="rollback_started", message="manually requested rollback")
    assert failure(by_hand, None, overdue=False) == "somebody else rolled the update back"
    hangs = view(ORDERED, BOTH_NEW[0], state="updating")
    assert failure(hangs, task("n2", NEW, state="starting", place="2"), overdue=True) == (
        "the update did not end before the deadline "
        "(1 of 2 new containers run, the engine says: updating): container 2 is starting"
    )
    assert trouble_of(task("n1", state="complete")).endswith("by itself or since it was unhealthy")


JOB: dict[str, Any] = {"Mode": {"ReplicatedJob": {"TotalCompletions": 2}}}
ENDED = [task("n1", NEW, place="1", state="complete"), task("n2", NEW, place="2", state="complete")]


@pytest.mark.parametrize(
    ("mode", "tasks", "finding"),
    [
        (JOB, [], Finding.WAIT),
        (JOB, [task("o1", OLD, state="complete"), task("o2", OLD, place="2", state="complete")], Finding.WAIT),
        (JOB, [task("n1", NEW)], Finding.WAIT),
        (JOB, ENDED[:1], Finding.FAILED),
        (JOB, [*ENDED[:1], task("n2", NEW, place="2")], Finding.WAIT),
        (JOB, ENDED, Finding.ARRIVED),
        (JOB, [*ENDED, task("n3", NEW, place="2", state="failed")], Finding.ARRIVED),
        (JOB, [task("n1", NEW, state="failed")], Finding.FAILED),
        ({"Mode": {"GlobalJob": {}}}, ENDED, Finding.ARRIVED),
        ({"Mode": {"GlobalJob": {}}}, [*ENDED, task("n3", NEW, place="3", state="failed")], Finding.FAILED),
    ],
)
def test_a_job_is_done_when_as_many_tasks_as_wanted_ended_well(
    mode: dict[str, Any], tasks: list[Task], finding: Finding
) -> None:
    assert judge_job(view(spec(NEW, **mode), *tasks), NEW) is finding
    assert judge_job(view(spec(OLD, **mode), *tasks), NEW) is Finding.SUPERSEDED


LOST = task("n1", NEW, state="assigned", wanted=False, node_ready=False)


@pytest.mark.parametrize(
    ("tasks", "found"),
    [
        ([LOST, task("n2", NEW), task("o1", OLD)], {"n1"}),
        ([LOST, task("o1", OLD)], set()),
        ([LOST, task("n2", NEW), task("n3", NEW, place="2", state="starting")], set()),
        ([task("n1", NEW, state="assigned", wanted=False), task("n2", NEW)], set()),
        ([task("n1", NEW, state="running", wanted=False, node_ready=False), task("n2", NEW)], set()),
    ],
    ids=["its place is taken", "nothing runs there", "another is on its way", "its node is there", "it ran"],
)
def test_a_task_that_was_lost_before_it_ran_is_waited_for_in_vain(tasks: list[Task], found: set[str]) -> None:
    assert waited_for_in_vain(view(spec(NEW), *tasks, state="updating"), NEW) == found
    assert waited_for_in_vain(view(spec(NEW), *tasks, state="completed"), NEW) == set()
