"""What is read from the specification of a service, and the new ones made of it."""

from typing import Any

import pytest

from tests.unit.swarm.values import NEW, OLD, spec
from tutumd.engines.labels import IMAGE_TAGGED, STOPPED_REPLICAS
from tutumd.engines.swarm import spec as specs
from tutumd.engines.swarm.spec import Mode

S = 1_000_000_000
AMD = {"Architecture": "amd64", "OS": "linux"}
ARM = {"Architecture": "arm64", "OS": "linux"}


@pytest.mark.parametrize(
    ("mode", "wanted"),
    [
        ({"Replicated": {"Replicas": 1}}, Mode.REPLICATED),
        ({}, Mode.REPLICATED),
        ({"Global": {}}, Mode.GLOBAL),
        ({"ReplicatedJob": {"TotalCompletions": 1}}, Mode.JOB),
        ({"GlobalJob": {}}, Mode.JOB),
    ],
)
def test_the_mode_is_read(mode: dict[str, Any], wanted: Mode) -> None:
    assert specs.mode_of({"Mode": mode}) is wanted


def test_absent_replicas_mean_one() -> None:
    assert specs.replicas_of({"Mode": {"Replicated": {}}}) == 1
    assert specs.replicas_of(spec(replicas=0)) == 0


@pytest.mark.parametrize(("text", "number"), [("3", 3), ("", 0), ("-1", 0), ("x", 0), ("٣", 0), ("9" * 30, 0)])
def test_a_label_that_is_no_number_counts_as_none(text: str, number: int) -> None:
    assert specs.replicas_before_stop({"Labels": {STOPPED_REPLICAS: text}}) == number


def test_a_redeploy_changes_image_count_platforms_and_update_config_and_nothing_else() -> None:
    config = {"Order": "start-first"}
    made = specs.redeploy_spec(spec(), NEW, config, [ARM], {}, {})
    wanted = spec(NEW, UpdateConfig=config)
    wanted["TaskTemplate"]["Placement"]["Platforms"] = [ARM]
    assert made == wanted


def test_making_a_new_specification_leaves_the_old_one_alone() -> None:
    inspected = spec()
    specs.redeploy_spec(inspected, NEW, {}, [ARM], {}, {})
    specs.with_replicas(inspected, 5, noted="2")
    assert inspected == spec()


def test_a_rollback_restores_the_specification() -> None:
    before = spec(UpdateConfig={"Parallelism": 3})
    config = specs.update_config(before, order="start-first", stable_s=3)
    ordered = specs.redeploy_spec(before, NEW, config, [ARM, AMD], {}, {})
    stored_parts = specs.stored_parts(before)
    undone = specs.rollback_spec(ordered, stored_parts, config)
    assert undone["UpdateConfig"] == {**config, "FailureAction": "continue", "Delay": 0}
    assert specs.with_config_of(undone, stored_parts) == before


def test_a_rollback_restores_an_absent_placement() -> None:
    before = spec()
    del before["TaskTemplate"]["Placement"]
    ordered = specs.redeploy_spec(before, NEW, {}, [ARM], {}, {})
    undone = specs.rollback_spec(ordered, specs.stored_parts(before), {})
    assert specs.with_config_of(undone, specs.stored_parts(before)) == before


def test_a_rollback_keeps_what_others_changed() -> None:
    before = spec()
    ordered = specs.redeploy_spec(before, NEW, {}, None, {}, {})
    ordered["Mode"]["Replicated"]["Replicas"] = 9
    ordered["TaskTemplate"]["ContainerSpec"]["Env"] = ["ADDED=1"]
    undone = specs.rollback_spec(ordered, specs.stored_parts(before), {})
    assert specs.replicas_of(undone) == 9
    assert undone["TaskTemplate"]["ContainerSpec"] == {"Image": OLD.image, "Env": ["ADDED=1"]}


@pytest.mark.parametrize("before", [spec(), spec(Labels={}), spec(Labels={"a": "b", IMAGE_TAGGED: "app:v1"})])
def test_a_label_tells_that_a_call_named_the_tag_until_a_rollback(before: dict[str, Any]) -> None:
    named = specs.redeploy_spec(before, NEW, {}, None, {}, {IMAGE_TAGGED: "app:latest"})
    assert named["Labels"] == {**before.get("Labels", {}), IMAGE_TAGGED: NEW.image.partition("@")[0]}
    kept = specs.stored_parts(before)
    undone = specs.with_config_of(specs.rollback_spec(named, kept, {}), kept)
    assert undone.pop("Labels") == before.get("Labels", {})
    assert undone == {name: value for name, value in before.items() if name != "Labels"}
    assert specs.redeploy_spec(before, NEW, {}, None, {}, {}).get("Labels") == before.get("Labels")


def test_the_environment_is_not_stored() -> None:
    assert "SECRET" not in str(specs.stored_parts(spec()))


def test_stopping_adds_the_label_and_starting_removes_it() -> None:
    stopped = specs.with_replicas(spec(replicas=4), 0, noted="4")
    assert stopped["Labels"] == {STOPPED_REPLICAS: "4"}
    assert specs.is_stopped(stopped)
    assert specs.with_replicas(stopped, 4) == spec(replicas=4)


def test_configs_are_compared_as_the_engine_stores_them() -> None:
    assert specs.has_config({"UpdateConfig": {"Order": "x"}}, {"Order": "x", "Delay": 0})
    assert specs.has_config({}, None)
    assert not specs.has_config({"UpdateConfig": {}}, None)


@pytest.mark.parametrize(
    ("replicas", "given", "parallelism", "delay_s"),
    [
        (0, None, 1, 0),
        (1, None, 1, 0),
        (2, None, 1, 3),
        (4, None, 1, 3),
        (10, None, 3, 3),
        (100, None, 25, 3),
        (3, {"Parallelism": 1}, 1, 3),
        (100, {"Parallelism": 1}, 1, 0),
        (4, {"Parallelism": 2, "Delay": 5 * S}, 2, 5),
        (3, {"Parallelism": 1, "Delay": 600 * S}, 1, 450),
        (5, {"Parallelism": 0}, 0, 0),
    ],
)
def test_the_steps_of_an_update_fit_the_deadline(
    replicas: int, given: dict[str, Any] | None, parallelism: int, delay_s: int
) -> None:
    inspected = spec(replicas=replicas) if given is None else spec(replicas=replicas, UpdateConfig=given)
    assert specs.update_config(inspected, order="start-first", stable_s=3) == {
        "Parallelism": parallelism,
        "Delay": delay_s * S,
        "FailureAction": "rollback",
        "Monitor": 3 * S,
        "MaxFailureRatio": 0,
        "Order": "start-first",
    }


def test_steps_of_a_probed_image_follow_each_other_sooner() -> None:
    config = specs.update_config(spec(replicas=2), order="start-first", stable_s=3, is_probed=True)
    assert (config["Delay"], config["Monitor"]) == (S, 3 * S)


def test_a_time_limit_bounds_the_delays() -> None:
    slow = spec(replicas=3, UpdateConfig={"Parallelism": 1, "Delay": 60 * S})
    config = specs.update_config(slow, order="stop-first", stable_s=30, timeout_s=480)
    assert (config["Order"], config["Delay"], config["Monitor"]) == ("stop-first", 60 * S, 30 * S)


def test_the_time_to_stop_is_read_in_seconds() -> None:
    given = spec()
    assert specs.grace_s(given) == 10
    given["TaskTemplate"]["ContainerSpec"]["StopGracePeriod"] = 1_500_000_000
    assert specs.grace_s(given) == 1.5


VARIABLES = {"NEW": "a=b", "SECRET": "2", "GONE": None}


def test_variables_are_set_in_place_added_and_removed() -> None:
    before = spec()
    before["TaskTemplate"]["ContainerSpec"]["Env"] = ["GONE=1", "A=1", "SECRET=1", "SECRET=0", "B"]
    made = specs.redeploy_spec(before, NEW, None, None, VARIABLES, {})
    assert made["TaskTemplate"]["ContainerSpec"]["Env"] == ["A=1", "SECRET=2", "B", "NEW=a=b"]
    assert "UpdateConfig" not in made


@pytest.mark.parametrize("env", [None, ["GONE=1"], ["X=1", "GONE=1", "SECRET=1", "B", "SECRET=0", "Y="]])
def test_a_rollback_restores_variables_in_their_order(env: list[str] | None) -> None:
    before = spec()
    del before["TaskTemplate"]["ContainerSpec"]["Env"]
    if env is not None:
        before["TaskTemplate"]["ContainerSpec"]["Env"] = env
    ordered = specs.redeploy_spec(before, NEW, {}, None, VARIABLES, {})
    kept = specs.stored_parts(before, VARIABLES)
    assert "X=1" not in str(kept)
    assert specs.with_config_of(specs.rollback_spec(ordered, kept, {}, VARIABLES), kept) == before
    if env is not None:
        ordered["TaskTemplate"]["ContainerSpec"]["Env"].append("BY_OTHERS=1")
        undone = specs.rollback_spec(ordered, kept, {}, VARIABLES)
        assert undone["TaskTemplate"]["ContainerSpec"]["Env"] == [*env, "BY_OTHERS=1"]


@pytest.mark.parametrize(
    ("mode", "total"),
    [
        ({"ReplicatedJob": {"TotalCompletions": 5, "MaxConcurrent": 2}}, 5),
        ({"ReplicatedJob": {"MaxConcurrent": 2}}, 2),
        ({"ReplicatedJob": {}}, 1),
        ({"GlobalJob": {}}, None),
    ],
)
def test_a_job_ends_after_so_many_completions(mode: dict[str, Any], total: int | None) -> None:
    assert specs.completions_of({"Mode": mode}) == total
