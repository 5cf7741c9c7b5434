"""The promises of the port `Engine` about actions that are cut short, for every engine.

By the deadline, a cancel, a lost lease, an engine that is away, or a server that is killed.
"""

import threading
from collections.abc import Callable
from itertools import count

import pytest

from tests.contract.engines.bed import Ability, EngineBed
from tests.contract.engines.verbs import ids, new_run, outcome_of, redeploy, resumed, scale, snapshot, start, stop
from tests.support.runs import FakeRun, Killed
from tests.support.waiting import wait_until
from tutumd.errors import EngineUnavailableError, LeaseLostError

pytestmark = pytest.mark.every_engine


@pytest.mark.slow
def test_an_action_without_time_changes_nothing(bed: EngineBed) -> None:
    bed.create(1)
    old = ids(bed)
    outcome = outcome_of(bed, redeploy(bed), new_run(bed, **{**bed.release("v2"), "deadline_s": 0}))
    assert not outcome.success
    assert (bed.versions(), ids(bed)) == (["v1"], old)


@pytest.mark.slow
def test_a_redeploy_that_is_canceled_while_it_waits_is_put_back(bed: EngineBed) -> None:
    bed.create(1)
    old = ids(bed)
    # Where a version can be that never ends the wait, it is sure that the cancel comes before the end.
    version = "unhealthy" if Ability.HEALTH in bed.abilities else "v2"
    run: FakeRun = new_run(bed, **bed.release(version), on_sleep=lambda: run.end_now())
    outcome = outcome_of(bed, redeploy(bed), run)
    assert not outcome.success
    assert outcome.reason
    assert (bed.versions(), ids(bed)) == (["v1"], old)
    assert outcome_of(bed, redeploy(bed), new_run(bed, **bed.release("v2"))).success
    assert bed.versions() == ["v2"]


@pytest.mark.slow
@pytest.mark.nightly_on("swarm")
def test_a_worker_that_lost_its_lease_leaves_the_action_to_the_next(bed: EngineBed) -> None:
    bed.create(1)
    old = ids(bed)
    run = new_run(bed, **bed.release("v2"), kill_at=1, error=LeaseLostError)
    with pytest.raises(LeaseLostError):
        bed.engine().redeploy(bed.service, run)
    assert (bed.versions(), ids(bed)) == (["v1"], old)
    assert outcome_of(bed, redeploy(bed), run.again()).success
    assert bed.versions() == ["v2"]


@pytest.mark.slow
@pytest.mark.needs(Ability.AWAY)
@pytest.mark.nightly_on("swarm")
def test_an_engine_that_is_away_is_unavailable_and_found_again(bed: EngineBed) -> None:
    bed.create(1)
    engine, service = bed.engine(), bed.service
    run = new_run(bed, **bed.release("v2"))
    engine.probe()
    bed.go_away()
    calls: list[Callable[[], object]] = [
        engine.probe,
        engine.discover,
        lambda: engine.inspect(service),
        lambda: engine.logs(service, 5),
        lambda: engine.watch(lambda: None, threading.Event()),
        lambda: engine.plan(service, None),
        lambda: engine.redeploy(service, run),
        lambda: engine.scale(service, 2, new_run(bed)),
        lambda: engine.start(service, new_run(bed)),
        lambda: engine.stop(service, new_run(bed)),
    ]
    for call in calls:
        with pytest.raises(EngineUnavailableError):
            call()
    bed.come_back()
    engine.probe()
    assert engine.redeploy(service, run.again()).success
    assert bed.versions() == ["v2"]


def check_runs(bed: EngineBed, versions: list[str], step: int) -> None:
    """Check that these versions run, and no container more is there."""
    assert bed.versions() == versions, step
    wait_until(lambda: len(snapshot(bed).containers) == len(versions), f"no container is left over by step {step}")


def test_a_redeploy_that_is_killed_is_finished_by_the_next_server(bed: EngineBed) -> None:
    bed.create(2)
    old = ids(bed)
    outcome = resumed(bed, redeploy(bed), new_run(bed, **bed.release("v2"), kill_at=3))
    assert outcome is not None
    assert outcome.success, outcome
    assert set(outcome.containers_before) == old
    assert set(outcome.containers_after) == ids(bed)
    assert ids(bed).isdisjoint(old)
    check_runs(bed, ["v2", "v2"], 3)


@pytest.mark.slow
@pytest.mark.nightly_on("swarm")
def test_a_redeploy_that_is_killed_while_it_waits_is_finished_by_the_next_server(bed: EngineBed) -> None:
    bed.create(1)
    outcome = resumed(bed, redeploy(bed), new_run(bed, **bed.release("v2"), kill_in_sleep=True))
    assert outcome is not None
    assert outcome.success, outcome
    check_runs(bed, ["v2"], 0)


@pytest.mark.every_step
def test_a_redeploy_killed_at_any_step_is_finished_by_the_next_server(bed: EngineBed) -> None:
    bed.create(1)
    for step in count(1):
        version = ("v1", "v2")[step % 2]
        old = ids(bed)
        outcome = resumed(bed, redeploy(bed), new_run(bed, **bed.release(version), kill_at=step))
        check_runs(bed, [version], step)
        assert ids(bed).isdisjoint(old), step
        if outcome is None:
            break
        assert outcome.success, (step, outcome)
        assert set(outcome.containers_before) == old, step
        assert set(outcome.containers_after) == ids(bed), step
    assert step > 3


@pytest.mark.every_step
@pytest.mark.needs(Ability.ENDS)
def test_a_redeploy_whose_new_containers_end_while_no_server_runs_is_no_success(bed: EngineBed) -> None:
    bed.create(1)
    clean: FakeRun = new_run(bed, **bed.release("v2"))
    assert outcome_of(bed, redeploy(bed), clean).success
    assert outcome_of(bed, redeploy(bed), new_run(bed, **bed.release("v1"))).success
    ended = []
    # The last steps: what was watched before them may have ended since.
    for step in range(max(1, clean.steps - 5), clean.steps + 1):
        old = ids(bed)
        run = new_run(bed, **bed.release("v2"), kill_at=step)
        try:
            bed.engine().redeploy(bed.service, run)
        except Killed:
            pass
        else:
            break
        count_ended = bed.end("v2", removed=step % 2 == 0)
        outcome = outcome_of(bed, redeploy(bed), run.again())
        ended.append(count_ended)
        assert outcome.success is (count_ended == 0), (step, outcome)
        assert outcome.reason or outcome.success, step
        if outcome.success:
            check_runs(bed, ["v2"], step)
        elif outcome.rolled_back or bed.versions() == ["v1"]:
            check_runs(bed, ["v1"], step)
            assert ids(bed) == old, (step, outcome)
        else:
            assert bed.versions() == [], (step, outcome)
            bed.remove()
            bed.release("v1")
            bed.create(1)
            continue
        assert outcome_of(bed, redeploy(bed), new_run(bed, **bed.release("v1"))).success, step
    assert any(ended)


@pytest.mark.slow
@pytest.mark.nightly_on("swarm")
def test_what_an_abandoned_redeploy_left_half_done_is_undone_before_the_next(bed: EngineBed) -> None:
    bed.create(1)
    old = ids(bed)
    # Where a version can be that never ends the wait, it is sure that the abandoned run was not done yet.
    version = "unhealthy" if Ability.HEALTH in bed.abilities else "v2"
    abandoned = new_run(bed, **bed.release(version), kill_in_sleep=True)
    with pytest.raises(Killed):
        bed.engine().redeploy(bed.service, abandoned)
    assert abandoned.journal
    undo = abandoned.again()
    undo.end_now()
    assert not outcome_of(bed, redeploy(bed), undo).success
    check_runs(bed, ["v1"], 0)
    assert ids(bed) == old
    assert outcome_of(bed, redeploy(bed), new_run(bed, **bed.release("v2"))).success
    check_runs(bed, ["v2"], 0)


@pytest.mark.every_step
def test_a_redeploy_abandoned_at_any_step_leaves_one_version_and_lets_the_next_run(bed: EngineBed) -> None:
    bed.create(1)
    for step in count(1):
        before, version = bed.versions(), ("v1", "v2")[step % 2]
        run = new_run(bed, **bed.release(version), kill_at=step)
        try:
            bed.engine().redeploy(bed.service, run)
            break
        except Killed:
            undo = run.again()
        undo.end_now()
        if run.journal:
            outcome = outcome_of(bed, redeploy(bed), undo)
            # A node that pulls a tag that was moved gets the new image for the old pod template, too.
            is_new = outcome.success or (
                outcome.rolled_back and bed.kind == "kubernetes" and bed.versions() == [version]
            )
            assert bed.versions() == ([version] if is_new else before), (step, outcome)
        check_runs(bed, list(bed.versions()), step)
        assert outcome_of(bed, redeploy(bed), new_run(bed, **bed.release(version))).success, step
        check_runs(bed, [version], step)
    assert step > 3


@pytest.mark.every_step
def test_a_change_of_the_number_that_was_abandoned_is_undone_or_done(bed: EngineBed) -> None:
    bed.create(1)
    for step in count(1):
        run = new_run(bed, kill_at=step)
        try:
            bed.engine().scale(bed.service, 3, run)
            break
        except Killed:
            undo = run.again()
        undo.end_now()
        if run.journal:
            outcome = outcome_of(bed, scale(bed, 3), undo)
            number = 3 if outcome.success else 1
            wait_until(lambda n=number: len(bed.versions()) == n, f"step {step}, {outcome}: {number} run")  # type: ignore[misc] # early binding
        assert outcome_of(bed, scale(bed, 1)).success, step
        check_runs(bed, ["v1"], step)
    assert step > 1


@pytest.mark.every_step
def test_a_failing_redeploy_killed_at_any_step_is_undone_by_the_next_server(bed: EngineBed) -> None:
    bed.create(1)
    old = ids(bed)
    options = bed.release("crashing")
    for step in count(1):
        outcome = resumed(bed, redeploy(bed), new_run(bed, **options, kill_at=step))
        check_runs(bed, ["v1"], step)
        assert ids(bed) == old, step
        if outcome is None:
            break
        assert not outcome.success, (step, outcome)
        assert "cannot start" in outcome.log_tail, (step, outcome)
    assert step > 3


@pytest.mark.every_step
def test_a_change_of_the_number_killed_at_any_step_is_finished_by_the_next_server(bed: EngineBed) -> None:
    bed.create(2)
    for step in count(1):
        ended = []
        for verb, number in ((scale(bed, 3), 3), (scale(bed, 2), 2), (stop(bed), 0), (start(bed), 2)):
            outcome = resumed(bed, verb, new_run(bed, kill_at=step))
            assert outcome is None or outcome.success, (step, number, outcome)
            assert bed.versions() == ["v1"] * number, (step, number)
            ended.append(outcome is None)
        if all(ended):
            break
    assert step > 2


@pytest.mark.every_step
@pytest.mark.needs(Ability.CREATES)
def test_a_termination_killed_at_any_step_is_finished_by_the_next_server(bed: EngineBed) -> None:
    for step in count(1):
        bed.create(2)
        outcome = resumed(bed, lambda engine, run: engine.terminate(bed.service, run), new_run(bed, kill_at=step))
        assert (bed.versions(), bed.engine().discover()) == ([], ()), step
        if outcome is None:
            break
        assert outcome.success, (step, outcome)
    assert step > 1


@pytest.mark.slow
@pytest.mark.nightly_on("swarm")
def test_an_action_that_has_ended_is_not_done_twice(bed: EngineBed) -> None:
    bed.create(1)
    run = new_run(bed, **bed.release("v2"))
    first = bed.engine().redeploy(bed.service, run)
    after = ids(bed)
    assert first.success
    bed.engine().redeploy(bed.service, run.again())
    assert bed.versions() == ["v2"]
    assert len(ids(bed)) == len(after) == 1
