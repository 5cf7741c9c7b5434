"""How an update stands, decided from the service and its tasks."""

from dataclasses import replace
from typing import Any

import pytest

from tests.support.runs import FakeRun
from tests.unit.swarm.values import NEW, OLD, nodes, spec, task, view
from tutumd.engines.rollout.journal import RolloutStatus, ScaleJournal
from tutumd.engines.swarm.health import (
    check_job,
    check_scaling,
    check_update,
    describe_failure,
    describe_task,
    find_culprit,
    is_idle,
    is_rolled_back,
    needs_room,
    stalled_tasks,
)
from tutumd.engines.swarm.spec import Version
from tutumd.engines.swarm.view import Task, TaskPhase, read_nodes, read_task

BOTH_NEW = (task("n1", NEW), task("n2", NEW, slot="2"))
BOTH_OLD = (task("o1"), task("o2", slot="2"))
ORDERED, BEFORE = spec(NEW), spec(OLD)
OTHER = spec(Version(image=NEW.image, force=2))
BACK = ("started", "paused", "completed")


EVERYWHERE = spec(NEW, Mode={"Global": {}})
ENDING = (task("o1", desired=False), task("o2", state="failed", desired=False))
UPDATES: dict[str, tuple[dict[str, Any], tuple[Task, ...], tuple[str, ...], RolloutStatus]] = {
    "all new": (ORDERED, BOTH_NEW, ("", "updating", "completed"), RolloutStatus.SUCCEEDED),
    "all new, others end": (ORDERED, (*BOTH_NEW, *ENDING), ("completed",), RolloutStatus.SUCCEEDED),
    "old": (ORDERED, BOTH_OLD, ("completed",), RolloutStatus.IN_PROGRESS),
    "one old": (ORDERED, (BOTH_NEW[0], BOTH_OLD[1]), ("completed",), RolloutStatus.IN_PROGRESS),
    "one missing": (ORDERED, BOTH_NEW[:1], ("completed",), RolloutStatus.IN_PROGRESS),
    "one too many": (ORDERED, (*BOTH_NEW, task("n3", NEW, slot="3")), ("completed",), RolloutStatus.IN_PROGRESS),
    "one starts": (
        ORDERED,
        (BOTH_NEW[0], task("n2", NEW, state="starting")),
        ("completed",),
        RolloutStatus.IN_PROGRESS,
    ),
    "one lost": (ORDERED, (BOTH_NEW[0], task("n2", NEW, node_ready=False)), ("completed",), RolloutStatus.IN_PROGRESS),
    "given up": (ORDERED, BOTH_NEW, ("paused", *(f"rollback_{how}" for how in BACK)), RolloutStatus.FAILED),
    "on the way back": (BEFORE, BOTH_OLD, ("rollback_started",), RolloutStatus.FAILED),
    "back": (BEFORE, BOTH_OLD, ("rollback_completed", "rollback_paused"), RolloutStatus.FAILED),
    "another version": (OTHER, (), ("", "updating", "completed", "rollback_started"), RolloutStatus.SUPERSEDED),
    "the version before": (BEFORE, (), ("", "updating", "completed"), RolloutStatus.SUPERSEDED),
    "scaled to 0": (spec(NEW, replicas=0), (), ("", "updating", "completed"), RolloutStatus.FAILED),
    "global": (EVERYWHERE, BOTH_NEW, ("completed",), RolloutStatus.SUCCEEDED),
    "global without a task": (EVERYWHERE, (), ("completed",), RolloutStatus.IN_PROGRESS),
}


@pytest.mark.parametrize("case", UPDATES)
def test_the_status_of_an_update(case: str) -> None:
    inspected, tasks, states, status = UPDATES[case]
    for state in states:
        assert check_update(view(inspected, *tasks, state=state), NEW, OLD) is status, state


def test_a_service_that_was_stopped_before_its_update_needs_no_task() -> None:
    stopped = view(spec(NEW, replicas=0))
    assert check_update(stopped, NEW, OLD, was_stopped=True) is RolloutStatus.SUCCEEDED
    assert check_update(view(ORDERED), NEW, OLD, was_stopped=True) is RolloutStatus.IN_PROGRESS


@pytest.mark.parametrize("state", ["", "updating", "completed"])
@pytest.mark.parametrize("ended", ["failed", "complete"])
def test_a_new_task_that_exits_fails_the_update_whatever_replaces_it(state: str, ended: str) -> None:
    gone = task("n0", NEW, state=ended, desired=False)
    for later in (BOTH_NEW, (BOTH_NEW[1], task("n3", NEW, state="ready")), ()):
        assert check_update(view(ORDERED, gone, *later, state=state), NEW, OLD) is RolloutStatus.FAILED
        assert check_update(view(ORDERED, gone, *later, state=state), NEW, OLD, {"n0"}) is not RolloutStatus.FAILED
    told_to_stop = task("n0", NEW, state="shutdown", desired=False)
    assert check_update(view(ORDERED, told_to_stop, *BOTH_NEW, state=state), NEW, OLD) is RolloutStatus.SUCCEEDED


def test_a_task_that_one_node_rejects_and_another_runs_is_no_failure() -> None:
    def status_of(*tasks: Task) -> RolloutStatus:
        return check_update(view(ORDERED, *tasks), NEW, OLD)

    first, second = (task(f"r{number}", NEW, state="rejected", desired=False) for number in (1, 2))
    coming = task("n1", NEW, state="preparing")
    assert status_of(first, coming, BOTH_NEW[1]) is RolloutStatus.IN_PROGRESS
    assert status_of(first, second, *BOTH_NEW) is RolloutStatus.SUCCEEDED
    assert status_of(first, second, coming) is RolloutStatus.FAILED
    assert status_of(first, BOTH_NEW[1]) is RolloutStatus.FAILED


def test_room_is_needed_when_all_starting_tasks_wait_for_it() -> None:
    full = [
        task(f"n{number}", NEW, state="pending", error=f"no suitable node ({reason} on 1 node)")
        for number, reason in enumerate(("insufficient resources", "host-mode port already in use"))
    ]
    assert needs_room(view(ORDERED, *BOTH_OLD, *full), NEW)
    assert not needs_room(view(ORDERED, *BOTH_OLD, *full), OLD)
    kept = replace(BOTH_OLD[0], node_open=False)  # no new task could take its place
    assert not needs_room(view(ORDERED, kept, BOTH_OLD[1], *full), NEW)
    assert not needs_room(view(ORDERED, *BOTH_NEW), NEW)
    assert not needs_room(view(ORDERED, *full, task("n9", NEW, state="preparing")), NEW)
    nowhere = task(
        "n9", NEW, state="pending", error="no suitable node (scheduling constraints not satisfied on 1 node)"
    )
    assert not needs_room(view(ORDERED, nowhere), NEW)


def test_a_service_is_rolled_back_when_it_runs_as_before() -> None:
    assert is_rolled_back(view(BEFORE, *BOTH_OLD, state="rollback_completed"), OLD, 2)
    assert not is_rolled_back(view(BEFORE, *BOTH_OLD, state="rollback_started"), OLD, 2)
    assert not is_rolled_back(view(BEFORE, BOTH_OLD[0]), OLD, 2)
    assert is_rolled_back(view(BEFORE, BOTH_OLD[0]), OLD, 1)
    assert not is_rolled_back(view(BEFORE, BOTH_OLD[0], BOTH_NEW[1]), OLD, 1)


def test_a_service_is_not_idle_before_its_update_begins() -> None:
    assert not is_idle(view(ORDERED, *BOTH_OLD))
    assert not is_idle(view(ORDERED, *BOTH_NEW, state="updating"))
    assert is_idle(view(ORDERED, *BOTH_NEW))
    assert is_idle(view(ORDERED, *BOTH_OLD, state="paused"))


def test_the_task_that_the_engine_names_is_to_blame() -> None:
    tasks = (task("n1", NEW, state="failed"), task("n2", NEW, state="failed"), task("o1", state="failed"))
    assert find_culprit(tasks, NEW, "failure of task n1") == tasks[0]
    assert find_culprit(tasks, NEW) == tasks[1]


def test_a_task_that_waits_with_a_reason_is_to_blame_before_one_without() -> None:
    waits = task("n1", NEW, state="pending", error="no suitable node")
    starts = task("n2", NEW, state="starting")
    assert find_culprit((waits, starts), NEW) == waits
    assert find_culprit((starts,), NEW) == starts
    assert find_culprit(BOTH_NEW, NEW) is None


@pytest.mark.parametrize(
    ("state", "desired", "node_ready", "phase"),
    [
        ("pending", True, True, TaskPhase.STARTING),
        ("pending", False, True, TaskPhase.ENDED),
        ("starting", True, True, TaskPhase.STARTING),
        ("starting", False, True, TaskPhase.STOPPING),
        ("starting", False, False, TaskPhase.ENDED),
        ("running", True, True, TaskPhase.RUNNING),
        ("running", True, False, TaskPhase.LOST),
        ("running", False, True, TaskPhase.STOPPING),
        ("running", False, False, TaskPhase.ENDED),
        ("failed", True, True, TaskPhase.ENDED),
        ("complete", True, True, TaskPhase.ENDED),
    ],
)
def test_a_task_is_in_one_phase(state: str, desired: bool, node_ready: bool, phase: TaskPhase) -> None:
    assert task("t", state=state, desired=desired, node_ready=node_ready).phase is phase


@pytest.mark.parametrize(
    ("node", "ready", "slot"), [("id-a", True, "a"), ("id-b", False, "b"), ("gone", False, "gone")]
)
def test_a_global_task_is_placed_by_the_name_of_its_node(node: str, ready: bool, slot: str) -> None:
    raw = {"ID": "t", "NodeID": node, "DesiredState": "running", "Status": {"State": "running"}, "Spec": {}}
    found = read_task(raw, nodes("ready", "down"))
    assert (found.node_ready, found.slot) == (ready, slot)


def test_nodes_of_the_same_name_get_the_start_of_their_id() -> None:
    row = {"Status": {"State": "ready"}, "Description": {"Hostname": "vm"}}
    found = read_nodes([{"ID": "0123456789abcdef", **row}, {"ID": "1123456789abcdef", **row}])
    assert (found.host("0123456789abcdef"), found.host("1123456789abcdef")) == ("vm-0123456789ab", "vm-1123456789ab")


def test_scaling_succeeds_at_the_target() -> None:
    def status_of(target: int, before: int, *tasks: Task) -> RolloutStatus:
        journal = ScaleJournal(before=before, target=target, present_before=("o1", "o2"), running_before=())
        return check_scaling(view(spec(replicas=2), *tasks), journal)

    assert status_of(2, 1, *BOTH_OLD) is RolloutStatus.SUCCEEDED
    assert status_of(2, 1, BOTH_OLD[0]) is RolloutStatus.IN_PROGRESS
    assert status_of(3, 1, *BOTH_OLD) is RolloutStatus.SUPERSEDED
    assert status_of(2, 3, *BOTH_OLD) is RolloutStatus.SUCCEEDED
    assert status_of(2, 3, *BOTH_OLD, task("o3", slot="3", desired=False)) is RolloutStatus.IN_PROGRESS
    assert status_of(2, 3, *BOTH_OLD, task("o3", slot="3")) is RolloutStatus.IN_PROGRESS


def test_scaling_fails_when_a_new_replica_exits_or_is_rejected_twice() -> None:
    def status_of(*tasks: Task) -> RolloutStatus:
        journal = ScaleJournal(before=1, target=3, present_before=("o1",), running_before=())
        return check_scaling(view(spec(replicas=3), *tasks), journal)

    once = (task("o1"), task("x1", state="rejected", slot="2"), task("x2", state="preparing", slot="2"))
    assert status_of(*once) is RolloutStatus.IN_PROGRESS
    assert status_of(*once, task("x3", state="rejected", slot="2")) is RolloutStatus.FAILED
    assert status_of(*once, task("x3", state="failed", slot="3")) is RolloutStatus.FAILED
    assert status_of(task("o1", state="failed"), once[2]) is RolloutStatus.IN_PROGRESS


def test_a_failure_is_described_with_its_cause() -> None:
    blamed = task("n1", NEW, state="failed", error="task: non-zero exit (3)")
    reason = describe_failure(view(BEFORE, state="rollback_started"), blamed, FakeRun())
    assert reason == "the engine rolled the update back: container 1 exited with 3"
    by_hand = view(BEFORE, state="rollback_started", message="manually requested rollback")
    assert describe_failure(by_hand, None, FakeRun()) == "somebody else rolled the update back"
    hangs = view(ORDERED, BOTH_NEW[0], state="updating")
    assert describe_failure(hangs, task("n2", NEW, state="starting", slot="2"), FakeRun(stall_s=0)) == (
        "the update is not complete (1 of 2 new containers run, the engine says: updating), "
        "and there was no progress for 0 s: container 2 is starting"
    )


def test_an_exit_is_described_with_its_code_and_the_restarts() -> None:
    first, *later = (
        task(f"n{number}", NEW, state="failed", error="task: non-zero exit (7): dockerexec: unhealthy container")
        for number in range(4)
    )
    others = (task("n5", NEW, state="failed", slot="2"), task("o1", state="failed"), BOTH_NEW[0])
    text = "container 1 exited with 7: dockerexec: unhealthy container"
    assert describe_task(first, (first, *others)) == text
    assert describe_task(later[0], (first, later[0], *others)) == text.replace("7", "7, restarted once")
    assert describe_task(later[2], (first, *later, *others)) == text.replace("7", "7, restarted 3 times")
    ended = task("n1", state="complete")
    assert describe_task(ended, (ended,)) == "container 1 exited with 0, by itself or because it was unhealthy"
    for error in ("No such image: app", "starting container failed: no space left"):
        assert describe_task(task("n1", state="rejected", error=error), ()) == f"container 1 was rejected: {error}"


JOB: dict[str, Any] = {"Mode": {"ReplicatedJob": {"TotalCompletions": 2}}}
ENDED = [task("n1", NEW, slot="1", state="complete"), task("n2", NEW, slot="2", state="complete")]


@pytest.mark.parametrize(
    ("mode", "tasks", "status"),
    [
        (JOB, [], RolloutStatus.IN_PROGRESS),
        (
            JOB,
            [task("o1", OLD, state="complete"), task("o2", OLD, slot="2", state="complete")],
            RolloutStatus.IN_PROGRESS,
        ),
        (JOB, [task("n1", NEW)], RolloutStatus.IN_PROGRESS),
        (JOB, ENDED[:1], RolloutStatus.FAILED),
        (JOB, [*ENDED[:1], task("n2", NEW, slot="2")], RolloutStatus.IN_PROGRESS),
        (JOB, ENDED, RolloutStatus.SUCCEEDED),
        (JOB, [*ENDED, task("n3", NEW, slot="2", state="failed")], RolloutStatus.SUCCEEDED),
        (JOB, [task("n1", NEW, state="failed")], RolloutStatus.FAILED),
        ({"Mode": {"GlobalJob": {}}}, ENDED, RolloutStatus.SUCCEEDED),
        ({"Mode": {"GlobalJob": {}}}, [*ENDED, task("n3", NEW, slot="3", state="failed")], RolloutStatus.FAILED),
    ],
)
def test_a_job_succeeds_when_enough_tasks_completed(
    mode: dict[str, Any], tasks: list[Task], status: RolloutStatus
) -> None:
    assert check_job(view(spec(NEW, **mode), *tasks), NEW) is status
    assert check_job(view(spec(OLD, **mode), *tasks), NEW) is RolloutStatus.SUPERSEDED


LOST = task("n1", NEW, state="assigned", desired=False, node_ready=False)


@pytest.mark.parametrize(
    ("tasks", "found"),
    [
        ([LOST, task("n2", NEW), task("o1", OLD)], {"n1"}),
        ([LOST, task("o1", OLD)], set()),
        ([LOST, task("n2", NEW), task("n3", NEW, slot="2", state="starting")], set()),
        ([task("n1", NEW, state="assigned", desired=False), task("n2", NEW)], set()),
        ([task("n1", NEW, state="running", desired=False, node_ready=False), task("n2", NEW)], set()),
    ],
    ids=["its place is taken", "nothing runs there", "another is on its way", "its node is there", "it ran"],
)
def test_a_task_lost_before_it_ran_stalls_the_updater(tasks: list[Task], found: set[str]) -> None:
    assert stalled_tasks(view(spec(NEW), *tasks, state="updating"), NEW) == found
    assert stalled_tasks(view(spec(NEW), *tasks, state="completed"), NEW) == set()


@pytest.mark.parametrize(
    ("tasks", "found"),
    [
        ([task("n1", NEW), task("n2", NEW), task("n3", NEW, slot="2")], {"n1", "n2"}),
        ([task("n1", NEW), task("n2", NEW, state="starting")], set()),
        ([task("n1", NEW), task("n2", NEW, desired=False)], set()),
        ([task("n1", NEW), task("o1", OLD)], set()),
    ],
    ids=["both run", "one is on its way", "one is stopping", "one is old"],
)
def test_two_new_tasks_in_one_place_are_left_by_an_updater_that_ended(tasks: list[Task], found: set[str]) -> None:
    assert stalled_tasks(view(spec(NEW), *tasks, state="completed"), NEW) == found
    for state in ("", "updating", "paused", "rollback_paused"):
        assert stalled_tasks(view(spec(NEW), *tasks, state=state), NEW) == set(), state
