"""The promises of the port `Engine` about a server that is killed in the middle of an action, for every engine."""

from itertools import count

import pytest

from tests.contract.engines.bed import Ability, EngineBed
from tests.contract.engines.verbs import ids, new_run, redeploy, resumed, scale, snapshot, start, stop
from tests.support.waiting import wait_until

pytestmark = pytest.mark.every_engine


def check_runs(bed: EngineBed, versions: list[str], step: int) -> None:
    """Check that these versions run, and no container more is there."""
    assert bed.versions() == versions, step
    wait_until(lambda: len(snapshot(bed).containers) == len(versions), f"no container is left over by step {step}")


def test_a_redeploy_that_is_killed_is_finished_by_the_next_server(bed: EngineBed) -> None:
    bed.create(2)
    old = ids(bed)
    outcome = resumed(bed, redeploy(bed), new_run(bed, **bed.release("v2"), kill_at=4))
    assert outcome is not None
    assert outcome.success, outcome
    assert set(outcome.containers_before) == old
    assert set(outcome.containers_after) == ids(bed)
    assert ids(bed).isdisjoint(old)
    check_runs(bed, ["v2", "v2"], 4)


def test_a_redeploy_that_is_killed_while_it_waits_is_finished_by_the_next_server(bed: EngineBed) -> None:
    bed.create(1)
    outcome = resumed(bed, redeploy(bed), new_run(bed, **bed.release("v2"), kill_in_sleep=True))
    assert outcome is not None
    assert outcome.success, outcome
    check_runs(bed, ["v2"], 0)


@pytest.mark.slow
@pytest.mark.timeout(600)
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
    assert step > 4


@pytest.mark.slow
@pytest.mark.timeout(600)
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


@pytest.mark.slow
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


@pytest.mark.slow
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


def test_an_action_that_has_ended_is_not_done_twice(bed: EngineBed) -> None:
    bed.create(1)
    run = new_run(bed, **bed.release("v2"))
    first = bed.engine().redeploy(bed.service, run)
    after = ids(bed)
    assert first.success
    bed.engine().redeploy(bed.service, run.again())
    assert bed.versions() == ["v2"]
    assert len(ids(bed)) == len(after) == 1
