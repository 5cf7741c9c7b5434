"""The promises of the port `Engine` (tutumd.ports) about what it shows and about a redeploy, for every engine.

Each promise is stated once: here, in test_engine_scale.py, or in test_engine_interrupted.py. Tests of one engine are
about what is particular to it.
"""

import json
import re
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
from tests.support.waiting import wait_until
from tutumd.errors import EngineRefusedError, EngineUnavailableError
from tutumd.model import SINCE, ContainerState, EngineInfo, Outcome, Phase, ServiceState
from tutumd.ports.engine import Run

pytestmark = pytest.mark.every_engine


# What an engine shows


def test_info_names_the_kind_and_no_error(bed: EngineBed) -> None:
    info = bed.engine().info
    creates = Ability.CREATES in bed.abilities
    assert info == EngineInfo(name=info.name, kind=bed.kind, can_create=creates, is_shared=not creates, hint=info.hint)
    assert info.hint.startswith(f"On {bed.kind}, ")


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
        with pytest.raises(EngineRefusedError, match=f"^{re.escape(str(refused.value))}$"):
            engine.plan(service, None)


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
    wait_until(lambda: engine.logs(bed.service, 10).text.count("serving v1") == 2, "both containers have written")
    names = {container.name for found in engine.discover() for container in found.containers}
    assert {line.partition(" | ")[0] for line in engine.logs(bed.service, 10).text.splitlines()} == names
    assert engine.logs(bed.service, 0).text == ""


def test_logs_continue_where_an_earlier_read_ended(bed: EngineBed) -> None:
    bed.create(1)
    engine = bed.engine()
    wait_until(lambda: "serving v1" in engine.logs(bed.service, 10).text, "it has written")
    position = engine.logs(bed.service, 10).position
    assert engine.logs(bed.service, 10, position).text == ""
    assert outcome_of(bed, scale(bed, 2)).success
    engine = bed.engine()
    wait_until(lambda: engine.logs(bed.service, 10, position).text, "the new container has written")
    read = engine.logs(bed.service, 10, position)
    assert read.text.count("serving v1") == 1
    assert engine.logs(bed.service, 10, read.position).text == ""
    if not engine.info.can_create:
        assert engine.logs(bed.service, 10, {SINCE: "2099-01-01T00:00:00Z"}).text == ""
        assert engine.logs(bed.service, 10, {SINCE: "2015-01-01T00:00:00Z"}).text.count("serving v1") == 2


@pytest.mark.slow
def test_watch_reports_a_change_outside_within_seconds(bed: EngineBed) -> None:
    bed.create(1)
    engine = bed.engine()
    with watching(engine) as changed:
        before = engine.discover()
        wait_until(lambda: is_at_rest(changed), "earlier changes have been reported")
        bed.change_outside()
        assert changed.wait(60)
        wait_until(lambda: engine.discover() != before, "the change is shown")


@pytest.mark.slow
@pytest.mark.needs(Ability.AWAY)
@pytest.mark.nightly_on("swarm")
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
    # An engine that polls reports nothing when it starts.
    started.wait(2)
    bed.go_away()
    thread.join(timeout=120)
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


@pytest.mark.slow
def test_a_redeploy_says_in_which_phase_it_is(bed: EngineBed) -> None:
    bed.create(1)
    bed.release("v2")
    run = new_run(bed)
    assert outcome_of(bed, redeploy(bed), run).success
    expected = {
        "docker": [Phase.PULLING, Phase.CREATING, Phase.STARTING],
        "podman": [Phase.PULLING, Phase.CREATING, Phase.STARTING],
        "local": [Phase.STARTING, Phase.CHECKING, Phase.REMOVING],
    }.get(bed.kind, [Phase.UPDATING])
    assert [phase for phase in run.phases if phase in expected] == expected, run.lines
    assert Phase.RESTORING not in run.phases


@pytest.mark.slow
def test_redeploy_of_an_unchanged_image_makes_new_containers(bed: EngineBed) -> None:
    bed.create(1)
    old = ids(bed)
    outcome = outcome_of(bed, redeploy(bed))
    assert outcome.success, outcome
    assert outcome.image_before == outcome.image_after == snapshot(bed).image_digest
    assert bed.versions() == ["v1"]
    assert ids(bed).isdisjoint(old)


@pytest.mark.slow
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


@pytest.mark.slow
def test_variables_of_a_redeploy_are_set_and_removed_in_its_containers(bed: EngineBed) -> None:
    bed.create(1)
    outcome = outcome_of(bed, redeploy(bed), new_run(bed, variables={"BODY": '{"a": "b=c"}', "SECRET": None}))
    assert outcome.success, outcome
    (environment,) = bed.environments()
    assert (environment["BODY"], environment["KEPT"]) == ('{"a": "b=c"}', SECRET["KEPT"])
    assert "SECRET" not in environment


@pytest.mark.slow
@pytest.mark.parametrize("version", ["v2", "crashing"])
@pytest.mark.nightly_on("swarm")
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


@pytest.mark.slow
@pytest.mark.needs(Ability.TAGS)
def test_redeploy_with_a_tag_changes_the_tag_alone(bed: EngineBed) -> None:
    bed.create(1)
    host, slash, name = snapshot(bed).image_name.rpartition("/")
    tag = bed.release("v2", tag="v2").get("tag", "v2")  # the images of a real cluster have tags of their own
    outcome = outcome_of(bed, redeploy(bed), new_run(bed, tag=tag))
    assert outcome.success, outcome
    assert bed.versions() == ["v2"]
    assert snapshot(bed).image_name == f"{host}{slash}{name.partition(':')[0]}:{tag}"


@pytest.mark.slow
@pytest.mark.needs(Ability.TAGS)
def test_a_redeploy_without_a_tag_says_what_becomes_of_an_earlier_one(bed: EngineBed) -> None:
    bed.create(1)
    own = snapshot(bed).image_name
    tag = bed.release("v2", tag="v2").get("tag", "v2")
    assert outcome_of(bed, redeploy(bed), new_run(bed, tag=tag)).success
    tagged = snapshot(bed)
    assert (tagged.image_name == own, len(tagged.left_tags)) == (False, 1)
    planned = bed.engine().plan(bed.service, None)
    outcome = outcome_of(bed, redeploy(bed))
    assert outcome.success, outcome
    # Containers of docker have no definition of their own that a tag would change.
    after = own if bed.kind == "docker" else tagged.image_name
    assert snapshot(bed).image_name == planned.image_name == after
    for texts in (tagged.left_tags, planned.notes, (outcome.reason,)):
        assert [text for text in texts if "the tag of an earlier call chose" in text and after in text], texts
    assert bool(snapshot(bed).left_tags) == (bed.kind != "docker")
    assert snapshot(bed).warnings == ()


@pytest.mark.slow
@pytest.mark.needs(Ability.TAGS)
def test_an_image_that_is_nowhere_leaves_the_service_as_it_was(bed: EngineBed) -> None:
    bed.create(2)
    before = snapshot(bed)
    outcome = outcome_of(bed, redeploy(bed), new_run(bed, **bed.release("missing")))
    assert (outcome.success, outcome.reason_code) == (False, "image-not-found"), outcome
    assert (snapshot(bed).image_name, snapshot(bed).target) == (before.image_name, 2)
    assert ids(bed) == {container.id for container in before.containers}


def test_an_image_that_crashes_fails_with_the_reason_and_the_old_containers_run(bed: EngineBed) -> None:
    bed.create(2)
    old = ids(bed)
    outcome = outcome_of(bed, redeploy(bed), new_run(bed, **bed.release("crashing")))
    assert (outcome.success, outcome.reason_code) == (False, "exited"), outcome
    # Docker forgets the exit code of a container once its restart policy has started it again.
    assert "3" in outcome.reason or "it exited and was restarted, " in outcome.reason
    assert "cannot start" in outcome.log_tail
    assert outcome.image_after == outcome.image_before == snapshot(bed).image_digest
    if bed.kind in ("docker", "podman", "swarm"):
        assert outcome.image_tried not in (None, outcome.image_before)
    assert set(outcome.containers_after) == set(outcome.containers_before) == ids(bed) == old
    assert bed.versions() == ["v1", "v1"]


@pytest.mark.slow
@pytest.mark.needs(Ability.HEALTH)
def test_an_image_that_is_never_healthy_fails_and_the_old_containers_run(bed: EngineBed) -> None:
    bed.create(1)
    old = ids(bed)
    outcome = outcome_of(bed, redeploy(bed), new_run(bed, **bed.release("unhealthy")))
    assert not outcome.success
    # Swarm does not tell why a container without an error ended.
    assert outcome.reason_code in ("unhealthy", "exited" if bed.kind == "swarm" else ""), outcome
    assert set(outcome.containers_after) == ids(bed) == old
    assert bed.versions() == ["v1"]


@pytest.mark.slow
def test_a_stopped_service_is_replaced_and_stays_stopped(bed: EngineBed) -> None:
    bed.create(1)
    assert outcome_of(bed, stop(bed)).success
    outcome = outcome_of(bed, redeploy(bed), new_run(bed, **bed.release("v2")))
    assert outcome.success, outcome
    assert "stopped" in outcome.reason
    assert (bed.versions(), snapshot(bed).state) == ([], ServiceState.STOPPED)
    assert outcome_of(bed, start(bed)).success
    assert bed.versions() == ["v2"]
