"""The promises of the port `Engine` (ports.py), each stated once, for every engine.

test_engine_kills.py has those about a server that is killed.
"""

import json
import threading
from collections.abc import Callable

import pytest

from tests.contract.engines.bed import SECRET, Ability, EngineBed
from tests.contract.engines.verbs import (
    ids,
    is_at_rest,
    new_run,
    outcome_of,
    redeploy,
    scale,
    snapshot,
    start,
    stop,
    watching,
)
from tests.support.runs import FakeRun
from tests.support.waiting import wait_until
from tutumd.errors import EngineRefusedError, EngineUnavailableError, LeaseLostError
from tutumd.model import ContainerState, EngineInfo, Outcome, ServiceState
from tutumd.ports import Run

pytestmark = pytest.mark.every_engine
SERVER_CAP = 10


# What an engine shows


def test_info_names_the_kind_and_no_error(bed: EngineBed) -> None:
    info = bed.engine().info
    assert info == EngineInfo(name=info.name, kind=bed.kind, creates=Ability.CREATES in bed.abilities)


def test_discover_and_inspect_show_the_service_with_its_containers(bed: EngineBed) -> None:
    bed.create(2)
    engine = bed.engine()
    (shown,) = wait_until(
        lambda: [found for found in engine.discover() if found.running == 2], "both containers are shown"
    )
    assert engine.inspect(bed.service) == shown
    assert (shown.selector, shown.name) == (bed.service.selector, bed.service.name)
    assert (shown.target, shown.stopped, shown.state) == (2, False, ServiceState.RUNNING)
    assert shown.image_name
    assert (shown.image_digest or "sha256:").startswith("sha256:")
    assert shown.deployed is not None
    assert len({container.id for container in shown.containers}) == 2
    assert len({container.name for container in shown.containers}) == 2
    for container in shown.containers:
        assert container.state is ContainerState.RUNNING
        assert (container.image_name, container.image_digest) == (shown.image_name, shown.image_digest)
        assert (container.exit_code, container.stopped) == (None, None)
        assert container.started is not None


def test_a_service_that_was_removed_is_gone(bed: EngineBed) -> None:
    bed.create(1)
    bed.remove()
    engine = bed.engine()
    assert engine.discover() == ()
    assert engine.inspect(bed.service) is None


@pytest.mark.needs(Ability.OUTSIDE)
def test_a_verb_on_a_service_that_is_gone_is_refused_as_its_plan_says(bed: EngineBed) -> None:
    engine, service = bed.engine(), bed.service
    verbs: list[Callable[[Run], Outcome]] = [
        lambda run: engine.redeploy(service, run),
        lambda run: engine.scale(service, 2, run),
        lambda run: engine.start(service, run),
        lambda run: engine.stop(service, run),
    ]
    for verb in verbs:
        with pytest.raises(EngineRefusedError, match="gone") as refused:
            verb(new_run(bed))
        assert engine.plan(service, None).refused == str(refused.value)


def test_a_service_that_is_created_again_has_the_same_selector_and_other_containers(bed: EngineBed) -> None:
    bed.create(1)
    first = snapshot(bed)
    bed.remove()
    bed.create(1)
    second = snapshot(bed)
    assert (second.selector, second.name) == (first.selector, first.name)
    assert {container.id for container in second.containers}.isdisjoint(container.id for container in first.containers)


def test_logs_have_the_last_lines_of_every_container(bed: EngineBed) -> None:
    bed.create(2)
    engine = bed.engine()
    wait_until(lambda: engine.logs(bed.service, 10).count("serving v1") == 2, "both containers have written")
    assert engine.logs(bed.service, 0) == ""


def test_watch_reports_a_change_outside_within_seconds(bed: EngineBed) -> None:
    bed.create(1)
    engine = bed.engine()
    with watching(engine) as changed:
        before = engine.discover()
        wait_until(lambda: is_at_rest(changed), "earlier changes have been reported")
        bed.change_outside()
        assert changed.wait(3)
        wait_until(lambda: engine.discover() != before, "the change is shown")


@pytest.mark.needs(Ability.AWAY)
def test_watch_ends_when_the_connection_breaks(bed: EngineBed) -> None:
    bed.create(1)
    engine, ended = bed.engine(), threading.Event()

    def watch() -> None:
        with pytest.raises(EngineUnavailableError):
            engine.watch(started.set, threading.Event())
        ended.set()

    started = threading.Event()
    thread = threading.Thread(target=watch, name="watch")
    thread.start()
    try:
        assert started.wait(10)
    finally:
        bed.go_away()
        thread.join(timeout=20)
    assert ended.is_set()
    bed.come_back()


# Redeploy


def test_redeploy_replaces_every_container_by_one_of_the_new_image(bed: EngineBed) -> None:
    bed.create(2)
    before, old = snapshot(bed), ids(bed)
    run = new_run(bed, **bed.release("v2"))
    outcome = outcome_of(bed, redeploy(bed), run)
    assert (outcome.success, outcome.rolled_back, outcome.log_tail) == (True, False, ""), outcome
    assert bed.versions() == ["v2", "v2"]
    assert len(old) == 2
    assert set(outcome.containers_before) == old
    assert set(outcome.containers_after) == ids(bed)
    assert ids(bed).isdisjoint(old)
    assert (outcome.image_before, outcome.image_after) == (before.image_digest, snapshot(bed).image_digest)
    assert outcome.image_before != outcome.image_after
    assert (snapshot(bed).target, snapshot(bed).state) == (2, ServiceState.RUNNING)
    assert run.lines


def test_redeploy_of_an_unchanged_image_makes_new_containers(bed: EngineBed) -> None:
    bed.create(1)
    old = ids(bed)
    outcome = outcome_of(bed, redeploy(bed))
    assert outcome.success, outcome
    assert outcome.image_before == outcome.image_after == snapshot(bed).image_digest
    assert bed.versions() == ["v1"]
    assert ids(bed).isdisjoint(old)


def test_a_plan_is_what_the_redeploy_then_does_and_changes_nothing(bed: EngineBed) -> None:
    bed.create(1)
    before = snapshot(bed)
    options = bed.release("v2")
    plan = bed.engine().plan(bed.service, options.get("tag"))
    assert (plan.refused, plan.image_before) == ("", before.image_digest)
    assert plan.order
    assert plan.order_reason
    assert plan.steps
    assert snapshot(bed) == before
    assert bed.versions() == ["v1"]
    outcome = outcome_of(bed, redeploy(bed), new_run(bed, **options))
    assert (outcome.success, outcome.image_before) == (True, plan.image_before)
    assert plan.image_after in (None, outcome.image_after)
    assert snapshot(bed).image_name == plan.image_name


def test_variables_of_a_redeploy_are_set_and_removed_in_its_containers(bed: EngineBed) -> None:
    bed.create(1)
    outcome = outcome_of(bed, redeploy(bed), new_run(bed, variables={"BODY": '{"a": "b=c"}', "SECRET": None}))
    assert outcome.success, outcome
    (environment,) = bed.environments()
    assert (environment["BODY"], environment["KEPT"]) == ('{"a": "b=c"}', SECRET["KEPT"])
    assert "SECRET" not in environment


@pytest.mark.parametrize("version", ["v2", "crashing"])
def test_no_value_of_a_variable_is_in_the_journal_the_log_or_the_plan(bed: EngineBed, version: str) -> None:
    bed.create(1)
    options = dict(bed.release(version))
    variables = {**options.pop("variables", {}), "BODY": "given-value"}
    run = new_run(bed, **options, variables=variables)
    plan = bed.engine().plan(bed.service, run.tag)
    outcome_of(bed, redeploy(bed), run)
    kept = [json.dumps(journal) for journal in run.journals] + run.lines + [str(plan)]
    assert len(run.journals) > 1
    assert [text for text in kept for value in (*SECRET.values(), "given-value") if value in text] == []


@pytest.mark.needs(Ability.TAGS)
def test_redeploy_with_a_tag_changes_the_tag_alone(bed: EngineBed) -> None:
    bed.create(1)
    host, _, name = snapshot(bed).image_name.rpartition("/")
    bed.release_tag("v2")
    outcome = outcome_of(bed, redeploy(bed), new_run(bed, tag="v2"))
    assert outcome.success, outcome
    assert bed.versions() == ["v2"]
    assert snapshot(bed).image_name == f"{host}/{name.partition(':')[0]}:v2"


@pytest.mark.needs(Ability.TAGS)
def test_an_image_that_is_nowhere_leaves_the_service_as_it_was(bed: EngineBed) -> None:
    bed.create(2)
    before = snapshot(bed)
    outcome = outcome_of(bed, redeploy(bed), new_run(bed, **bed.release("missing")))
    assert not outcome.success
    assert outcome.reason
    assert (snapshot(bed).image_name, snapshot(bed).target) == (before.image_name, 2)
    assert ids(bed) == {container.id for container in before.containers}


def test_an_image_that_crashes_fails_with_the_reason_and_the_old_containers_run(bed: EngineBed) -> None:
    bed.create(2)
    old = ids(bed)
    outcome = outcome_of(bed, redeploy(bed), new_run(bed, **bed.release("crashing")))
    assert not outcome.success
    assert "3" in outcome.reason, "the exit code"
    assert "cannot start" in outcome.log_tail
    assert outcome.image_after == outcome.image_before == snapshot(bed).image_digest
    assert set(outcome.containers_after) == set(outcome.containers_before) == ids(bed) == old
    assert bed.versions() == ["v1", "v1"]


@pytest.mark.needs(Ability.HEALTH)
def test_an_image_that_is_never_healthy_fails_and_the_old_containers_run(bed: EngineBed) -> None:
    bed.create(1)
    old = ids(bed)
    outcome = outcome_of(bed, redeploy(bed), new_run(bed, **bed.release("unhealthy")))
    assert not outcome.success
    assert outcome.reason
    assert set(outcome.containers_after) == ids(bed) == old
    assert bed.versions() == ["v1"]


def test_a_stopped_service_is_replaced_and_stays_stopped(bed: EngineBed) -> None:
    bed.create(1)
    assert outcome_of(bed, stop(bed)).success
    outcome = outcome_of(bed, redeploy(bed), new_run(bed, **bed.release("v2")))
    assert outcome.success, outcome
    assert "stopped" in outcome.reason
    assert (bed.versions(), snapshot(bed).state) == ([], ServiceState.STOPPED)
    assert outcome_of(bed, start(bed)).success
    assert bed.versions() == ["v2"]


# Number of containers


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


def test_scale_down_keeps_the_rest(bed: EngineBed) -> None:
    bed.create(3)
    old = ids(bed)
    outcome = outcome_of(bed, scale(bed, 1))
    assert outcome.success, outcome
    assert bed.versions() == ["v1"]
    assert set(outcome.containers_before) == old
    assert set(outcome.containers_after) == ids(bed) < old
    assert snapshot(bed).target == 1


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


def test_a_stopped_service_is_not_scaled(bed: EngineBed) -> None:
    bed.create(1)
    assert outcome_of(bed, stop(bed)).success
    with pytest.raises(EngineRefusedError, match="stopped"):
        bed.engine().scale(bed.service, 2, new_run(bed))
    assert bed.versions() == []


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


# What ends an action


def test_an_action_without_time_changes_nothing(bed: EngineBed) -> None:
    bed.create(1)
    old = ids(bed)
    outcome = outcome_of(bed, redeploy(bed), new_run(bed, **{**bed.release("v2"), "deadline_s": 0}))
    assert not outcome.success
    assert (bed.versions(), ids(bed)) == (["v1"], old)


def test_a_redeploy_that_is_canceled_while_it_waits_is_put_back(bed: EngineBed) -> None:
    bed.create(1)
    old = ids(bed)
    # Where a version can be that never ends the wait, it is sure that the cancel comes before the end.
    version = "unhealthy" if Ability.HEALTH in bed.abilities else "v2"
    run: FakeRun = new_run(bed, **bed.release(version), on_sleep=lambda: run.allow(0))
    outcome = outcome_of(bed, redeploy(bed), run)
    assert not outcome.success
    assert outcome.reason
    assert (bed.versions(), ids(bed)) == (["v1"], old)
    assert outcome_of(bed, redeploy(bed), new_run(bed, **bed.release("v2"))).success
    assert bed.versions() == ["v2"]


def test_a_worker_that_lost_its_lease_leaves_the_action_to_the_next(bed: EngineBed) -> None:
    bed.create(1)
    old = ids(bed)
    run = new_run(bed, **bed.release("v2"), kill_at=1, error=LeaseLostError)
    with pytest.raises(LeaseLostError):
        bed.engine().redeploy(bed.service, run)
    assert (bed.versions(), ids(bed)) == (["v1"], old)
    assert outcome_of(bed, redeploy(bed), run.again()).success
    assert bed.versions() == ["v2"]


@pytest.mark.needs(Ability.AWAY)
def test_an_engine_that_is_away_is_unavailable_and_found_again(bed: EngineBed) -> None:
    bed.create(1)
    engine, service = bed.engine(), bed.service
    run = new_run(bed, **bed.release("v2"))
    bed.go_away()
    calls: list[Callable[[], object]] = [
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
    assert engine.redeploy(service, run.again()).success
    assert bed.versions() == ["v2"]
