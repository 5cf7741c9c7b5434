"""The promises of the port `Engine` about the number of containers, start, stop and terminate, for every engine."""

import pytest

from tests.contract.engines.bed import SECRET, Ability, EngineBed
from tests.contract.engines.verbs import ids, new_run, outcome_of, scale, snapshot, start, stop
from tutumd.errors import EngineRefusedError
from tutumd.model import ServiceState

pytestmark = pytest.mark.every_engine
SERVER_CAP = 10


@pytest.mark.slow
def test_scale_up_keeps_what_runs_and_adds_the_same(bed: EngineBed) -> None:
    bed.create(1)
    old = ids(bed)
    outcome = outcome_of(bed, scale(bed, 3))
    assert outcome.success, outcome
    assert bed.versions() == ["v1"] * 3
    assert set(outcome.containers_before) == old
    assert set(outcome.containers_after) == ids(bed) > old
    assert snapshot(bed).target == 3
    assert all(SECRET.items() <= environment.items() for environment in bed.environments())


@pytest.mark.slow
def test_scale_down_keeps_the_rest(bed: EngineBed) -> None:
    bed.create(3)
    old = ids(bed)
    outcome = outcome_of(bed, scale(bed, 1))
    assert outcome.success, outcome
    assert bed.versions() == ["v1"]
    assert set(outcome.containers_before) == old
    assert set(outcome.containers_after) == ids(bed) < old
    assert snapshot(bed).target == 1


@pytest.mark.slow
def test_scale_to_the_number_that_runs_succeeds_and_changes_nothing(bed: EngineBed) -> None:
    bed.create(2)
    old = ids(bed)
    outcome = outcome_of(bed, scale(bed, 2))
    assert outcome.success, outcome
    assert set(outcome.containers_after) == set(outcome.containers_before) == ids(bed) == old


@pytest.mark.needs(Ability.ZERO)
def test_a_service_that_is_scaled_to_zero_can_be_scaled_up_again(bed: EngineBed) -> None:
    bed.create(2)
    assert outcome_of(bed, scale(bed, 0)).success
    assert (bed.versions(), snapshot(bed).state) == ([], ServiceState.NOT_RUNNING)
    assert outcome_of(bed, scale(bed, 2)).success
    assert bed.versions() == ["v1", "v1"]


def test_scale_beyond_the_servers_cap_is_refused(bed: EngineBed) -> None:
    bed.create(1)
    old = ids(bed)
    with pytest.raises(EngineRefusedError, match=str(SERVER_CAP)):
        bed.engine().scale(bed.service, SERVER_CAP + 1, new_run(bed))
    assert ids(bed) == old


@pytest.mark.slow
def test_a_stopped_service_is_not_scaled(bed: EngineBed) -> None:
    bed.create(1)
    assert outcome_of(bed, stop(bed)).success
    with pytest.raises(EngineRefusedError, match="stopped"):
        bed.engine().scale(bed.service, 2, new_run(bed))
    assert bed.versions() == []


@pytest.mark.slow
def test_stop_lasts_start_brings_all_back_and_both_succeed_twice(bed: EngineBed) -> None:
    bed.create(2)
    for _ in range(2):
        assert outcome_of(bed, stop(bed)).success
        assert bed.versions() == []
        assert (snapshot(bed).state, snapshot(bed).target, snapshot(bed).stopped) == (ServiceState.STOPPED, 2, True)
    assert outcome_of(bed, start(bed)).success
    started = ids(bed)
    assert outcome_of(bed, start(bed)).success
    assert (bed.versions(), ids(bed)) == (["v1", "v1"], started)
    assert snapshot(bed).state is ServiceState.RUNNING


@pytest.mark.needs(Ability.CREATES)
def test_terminate_removes_a_service_and_succeeds_twice(bed: EngineBed) -> None:
    bed.create(2)
    old = ids(bed)
    outcome = bed.engine().terminate(bed.service, new_run(bed))
    assert (outcome.success, set(outcome.containers_before), outcome.containers_after) == (True, old, ())
    assert (bed.versions(), bed.engine().discover()) == ([], ())
    assert bed.engine().terminate(bed.service, new_run(bed)).success


@pytest.mark.lacks(Ability.CREATES)
def test_a_service_that_another_tool_created_is_not_terminated(bed: EngineBed) -> None:
    bed.create(1)
    old = ids(bed)
    with pytest.raises(EngineRefusedError):
        bed.engine().terminate(bed.service, new_run(bed))
    assert ids(bed) == old
