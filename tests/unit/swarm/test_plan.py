"""What a redeploy will do, decided from what was inspected: plans as exact values."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest

from tests.unit.swarm.values import NEW, OLD, nodes, spec, task, view
from tutumd.engines.labels import Order
from tutumd.engines.rollout.journal import Result, Stage
from tutumd.engines.swarm import spec as specs
from tutumd.engines.swarm.engine import take_snapshot
from tutumd.engines.swarm.images import ResolvedImage
from tutumd.engines.swarm.new_tasks import choose_order, probe_name, probe_spec
from tutumd.engines.swarm.plan import RedeployJournal, describe_plan, plan_redeploy
from tutumd.engines.swarm.spec import Version
from tutumd.engines.swarm.view import ServiceView
from tutumd.errors import EngineRefusedError
from tutumd.model import Plan as DryRunPlan
from tutumd.model import RunLimits

S = 1_000_000_000
AMD = {"Architecture": "amd64", "OS": "linux"}
ARM = {"Architecture": "arm64", "OS": "linux"}
DIGEST = NEW.image.partition("@")[2]
NEWEST = ResolvedImage(image=NEW.image, digest=DIGEST, platforms=(AMD,))
LIMITS = RunLimits()
RUNNING = (task("t1", slot="1"), task("t2", slot="2"))
SIDE_BY_SIDE = "nothing forbids that old and new tasks run side by side"
BY_LABEL = "the label tutum.redeploy.order requests it"


def labelled(**labels: str) -> dict[str, Any]:
    names = {f"tutum.{name.replace('__', '.').replace('_', '-')}": value for name, value in labels.items()}
    return spec(Labels=names)


def narrow(*, replicas: int) -> dict[str, Any]:
    made = spec(replicas=replicas)
    made["TaskTemplate"]["Placement"]["MaxReplicas"] = 1
    return made


def mounted(*mounts: dict[str, Any], **others: Any) -> dict[str, Any]:
    made = spec(**others)
    made["TaskTemplate"]["ContainerSpec"]["Mounts"] = list(mounts)
    return made


def test_a_redeploy_says_that_it_keeps_the_tag_of_an_earlier_call() -> None:
    named = spec(Labels={"tutum.image.tagged": OLD.image.partition("@")[0]})
    stays = f"without a tag, it stays at {OLD.image.partition('@')[0]}, which the tag of an earlier call chose"
    assert plan_redeploy(view(named), NEWEST, {}, stable_s=3).note == stays
    assert take_snapshot(view(named)).left_tags == (stays,)
    assert plan_redeploy(view(named), NEWEST, {}, "v2", stable_s=3).note == ""
    for other in (spec(), spec(Labels={"tutum.image.tagged": "app:v9"})):
        assert plan_redeploy(view(other), NEWEST, {}, stable_s=3).note == ""
        assert take_snapshot(view(other)).left_tags == ()


def test_a_redeploy_after_a_rollback_does_not_take_the_failed_tasks_for_its_own() -> None:
    failed = task("t0", NEW, state="failed", desired=False)
    plan = plan_redeploy(view(spec(), *RUNNING, failed), NEWEST, {}, stable_s=3)
    assert (plan.old, plan.new) == (OLD, Version(image=NEW.image, force=NEW.force + 1))


def test_a_redeploy_is_planned_whole() -> None:
    seen = view(spec(), *RUNNING, state="completed")
    plan = plan_redeploy(seen, NEWEST, {}, stable_s=3)
    assert plan == RedeployJournal(
        before={**specs.stored_parts(spec()), "HighestForce": 0},
        image=NEW.image,
        config={
            "Parallelism": 1,
            "Delay": S,
            "FailureAction": "rollback",
            "Monitor": 3 * S,
            "MaxFailureRatio": 0,
            "Order": "start-first",
        },
        platforms=(AMD,),
        status_before={"State": "completed", "Message": ""},
        running_before=("t1", "t2"),
        image_after=DIGEST,
        labels={"tutum.image.rolled-back": None},
        order_reason=SIDE_BY_SIDE,
        stage=Stage.PROBE,
    )
    assert describe_plan(plan, seen, LIMITS) == DryRunPlan(
        order="start-first",
        order_reason=SIDE_BY_SIDE,
        image_name="app:latest",
        image_before=OLD.image.partition("@")[2],
        image_after=DIGEST,
        steps=(
            "start one task of the new image beside the service, without traffic, and wait until it has run for 3 s",
            f"update the service to {NEW.image}, 1 task at a time and 1 s apart, "
            "with a rollback if one does not run for 3 s",
            "follow it until every task is new and runs on a node that is ready",
            "restore the service's own update settings, which restarts nothing",
        ),
        notes=(str(LIMITS),),
    )


HOST_PORT = {"Ports": [{"TargetPort": 80, "PublishedPort": 8080, "PublishMode": "host"}]}
TAKEN = "port 8080 is published in host mode, and only one task of a node can have it"
VOLUME = {"Type": "volume", "Target": "/data"}
READ_ONLY = {"Type": "bind", "Target": "/etc/x", "ReadOnly": True}
BY_SETTINGS = "the service's own update settings request it"
AUTO, FIRST, LATER = Order.AUTO, Order.START_FIRST, Order.STOP_FIRST
GLOBAL = "the service is global: with start-first a rollback could lose the good task"
FULL = "at most 1 of its tasks may be on a node, and no node has room for one more"
WHATEVER = ", whatever the label tutum.redeploy.order requests"


@pytest.mark.parametrize(
    ("inspected", "asked", "order", "reason"),
    [
        (spec(), AUTO, FIRST, SIDE_BY_SIDE),
        (spec(), LATER, LATER, BY_LABEL),
        (spec(), FIRST, FIRST, BY_LABEL),
        (spec(UpdateConfig={"Order": "stop-first"}), AUTO, FIRST, SIDE_BY_SIDE),
        (spec(EndpointSpec={"Ports": [{"TargetPort": 80, "PublishMode": "ingress"}]}), AUTO, FIRST, SIDE_BY_SIDE),
        (spec(EndpointSpec=HOST_PORT), AUTO, LATER, TAKEN),
        (spec(EndpointSpec=HOST_PORT), FIRST, LATER, TAKEN + WHATEVER),
        (narrow(replicas=2), AUTO, LATER, FULL),
        (narrow(replicas=2), FIRST, LATER, FULL + WHATEVER),
        (narrow(replicas=1), AUTO, FIRST, SIDE_BY_SIDE),
        (spec(Mode={"Global": {}}), AUTO, LATER, GLOBAL),
        (spec(Mode={"Global": {}}), FIRST, LATER, GLOBAL + WHATEVER),
        (mounted(VOLUME), AUTO, LATER, "two tasks at once would write to the mount /data"),
        (mounted(VOLUME), FIRST, FIRST, BY_LABEL),
        (mounted(VOLUME, UpdateConfig={"Order": "start-first"}), AUTO, FIRST, BY_SETTINGS),
        (mounted(READ_ONLY, {"Type": "tmpfs", "Target": "/tmp"}), AUTO, FIRST, SIDE_BY_SIDE),
    ],
)
def test_new_tasks_start_first_unless_something_forbids_it(
    inspected: dict[str, Any], asked: Order, order: Order, reason: str
) -> None:
    assert choose_order(inspected, nodes("ready", "ready", "down"), asked, host_network=False) == (order, reason)


def test_tasks_on_the_network_of_their_node_do_not_overlap() -> None:
    plan = plan_redeploy(view(spec(replicas=1)), NEWEST, {}, stable_s=3, host_network=True)
    assert plan.config is not None
    assert (plan.config["Order"], plan.stage) == ("stop-first", Stage.APPLY)
    assert plan.order_reason == "its tasks use the network of their node, where two would want the same ports"


def test_labels_set_order_and_stable_time() -> None:
    inspected = labelled(redeploy__order="stop-first", redeploy__stable="12.5", redeploy__timeout="400")
    plan = plan_redeploy(view(inspected, *RUNNING), NEWEST, {}, stable_s=3)
    assert plan.config is not None
    assert (plan.config["Order"], plan.config["Monitor"], plan.stable_s) == ("stop-first", 12.5 * S, 12.5)
    assert plan.order_reason == BY_LABEL


def test_labels_of_the_service_win_over_those_of_its_containers() -> None:
    inspected = labelled(scale__max="7", stopped__replicas="2", redeploy__typo="1")
    inspected["TaskTemplate"]["ContainerSpec"]["Labels"] = {"tutum.scale.max": "3", "tutum.redeploy.timeout": "soon"}
    labels = specs.read_labels(inspected)
    assert (labels.service_cap, labels.timeout_s) == (7, None)
    assert labels.problems == (
        "the label tutum.redeploy.timeout must be seconds, 1 to 99999, got 'soon': it is not used",
        "the label tutum.redeploy.typo is unknown and not used",
    )


SAME = ResolvedImage(image=OLD.image, digest=OLD.image.partition("@")[2])
SKIPPED = f"Skipped: {str(SAME.digest)[:19]} is already running"
LABELLED = labelled(redeploy__skip_unchanged="true")


@pytest.mark.parametrize(("inspected", "wish"), [(LABELLED, None), (spec(), True)])
def test_an_unchanged_image_is_skipped_if_a_label_or_the_calls_say_so(
    inspected: dict[str, Any], wish: bool | None
) -> None:
    plan = plan_redeploy(view(inspected, *RUNNING), SAME, {}, stable_s=3, skip_unchanged=wish)
    assert (plan.stage, plan.result) == (Stage.FINISH, Result(success=True, reason=SKIPPED))
    assert describe_plan(plan, view(inspected, *RUNNING), LIMITS).steps == (SKIPPED,)


@pytest.mark.parametrize(
    ("inspected", "newest", "tasks", "wish"),
    [
        (spec(), SAME, RUNNING, None),
        (LABELLED, NEWEST, RUNNING, None),
        (LABELLED, SAME, RUNNING[:1], True),
        (LABELLED, SAME, RUNNING, False),
    ],
    ids=["no label", "another image", "a task is missing", "a call wants a redeploy"],
)
def test_a_redeploy_is_not_skipped(
    inspected: dict[str, Any], newest: ResolvedImage, tasks: tuple[Any, ...], wish: bool | None
) -> None:
    plan = plan_redeploy(view(inspected, *tasks), newest, {}, stable_s=3, skip_unchanged=wish)
    assert (plan.stage, plan.result) == (Stage.PROBE, None)


def test_an_image_for_other_machines_is_refused_before_anything_is_touched() -> None:
    newest = replace(NEWEST, platforms=(ARM, {"Architecture": "", "OS": "windows"}))
    with pytest.raises(EngineRefusedError, match=r"built for linux/arm64, windows/, and the nodes .* are linux/amd64"):
        plan_redeploy(view(spec()), newest, {}, stable_s=3)
    there = ServiceView(service=view(spec()).service, tasks=(), nodes=nodes("ready", architecture="aarch64"))
    assert plan_redeploy(there, newest, {}, stable_s=3).platforms == newest.platforms
    anything = replace(NEWEST, platforms=({"Architecture": "", "OS": "linux"},))
    assert plan_redeploy(view(spec()), anything, {}, stable_s=3).platforms == anything.platforms


def test_a_redeploy_is_refused_if_no_node_accepts_tasks() -> None:
    # Its old tasks run on, on a paused node; stopped first, neither they nor new ones could start again.
    closed = nodes("ready", availability="pause")
    with pytest.raises(EngineRefusedError, match="no node of the swarm takes new containers"):
        plan_redeploy(ServiceView(service=view(spec()).service, tasks=(), nodes=closed), NEWEST, {}, stable_s=3)
    stopped = spec(Mode={"Replicated": {"Replicas": 0}})
    assert plan_redeploy(
        ServiceView(service=view(stopped).service, tasks=(), nodes=closed), NEWEST, {}, stable_s=3
    ).image


def test_a_job_runs_once_more_and_has_no_update_settings() -> None:
    job = spec(Mode={"ReplicatedJob": {"TotalCompletions": 3}})
    plan = plan_redeploy(view(job), NEWEST, {}, stable_s=3)
    assert (plan.config, plan.is_job, plan.order_reason) == (None, True, "")
    assert "UpdateConfig" not in specs.redeploy_spec(job, plan.new, plan.config, plan.platforms, {}, {})
    assert describe_plan(plan, view(job), LIMITS).steps == (
        f"update the service to {NEW.image}",
        "follow the job until enough of its tasks have completed",
    )


def test_a_stopped_service_is_only_updated() -> None:
    seen = view(spec(replicas=0))
    plan = describe_plan(plan_redeploy(seen, NEWEST, {}, stable_s=3), seen, LIMITS)
    assert plan.steps == (f"update the service to {NEW.image}",)
    assert plan.notes[0] == "the service is stopped and stays stopped: its next start runs the new image"


def test_the_plan_has_notes() -> None:
    seen = view(labelled(redeploy__order="sideways"), *RUNNING, state="updating")
    assert describe_plan(plan_redeploy(seen, replace(NEWEST, note="said"), {}, stable_s=3), seen, LIMITS).notes == (
        "said",
        "an update of the service is under way: a redeploy would wait for its end",
        "the label tutum.redeploy.order must be start-first, stop-first or auto, got 'sideways': it is not used",
        str(LIMITS),
    )


def checked(*, test: Sequence[str] = ("CMD", "true")) -> dict[str, Any]:
    made = spec(replicas=1)
    made["TaskTemplate"]["ContainerSpec"]["Healthcheck"] = {"Test": list(test)}
    return made


@pytest.mark.parametrize(
    ("inspected", "image_is_checked", "stage"),
    [
        (spec(replicas=1), False, Stage.PROBE),
        (spec(replicas=4), False, Stage.PROBE),
        (spec(replicas=0), False, Stage.APPLY),
        (checked(), False, Stage.APPLY),
        (checked(test=("NONE",)), True, Stage.PROBE),
        (spec(replicas=1), True, Stage.APPLY),
        (spec(Mode={"Global": {}}), False, Stage.APPLY),
        (mounted(VOLUME, replicas=1, UpdateConfig={"Order": "start-first"}), False, Stage.APPLY),
        (spec(replicas=1, Labels={"tutum.redeploy.order": "stop-first"}), False, Stage.APPLY),
        (spec(replicas=1, Labels={"tutum.redeploy.stable": "0"}), False, Stage.APPLY),
    ],
)
def test_an_image_without_a_health_check_is_probed(
    inspected: dict[str, Any], image_is_checked: bool, stage: Stage
) -> None:
    plan = plan_redeploy(view(inspected), NEWEST, {}, stable_s=3, image_is_checked=image_is_checked)
    assert plan.stage is stage
    tried = "start one task of the new image beside the service, without traffic, and wait until it has run for 3 s"
    assert (describe_plan(plan, view(inspected), LIMITS).steps[0] == tried) == (stage is Stage.PROBE)


def test_a_probe_gets_no_traffic() -> None:
    ordered = spec(NEW, replicas=1, Labels={"router": "on"}, EndpointSpec={"Ports": [{"TargetPort": 80}]})
    ordered["TaskTemplate"]["ContainerSpec"]["Labels"] = {"router": "on"}
    ordered["TaskTemplate"]["Networks"] = [{"Target": "n1", "Aliases": ["web"]}]
    action = "0a1b2c3d-0000-4000-8000-000000000001"
    assert probe_spec(ordered, probe_name("web", action), action) == {
        "Name": "web-trial-0a1b2c3d",
        "Labels": {"tutum.ignore": "true", "tutum.action": action},
        "TaskTemplate": {
            "ContainerSpec": {"Image": NEW.image, "Env": ["SECRET=1"]},
            "ForceUpdate": 1,
            "Placement": {"Platforms": [AMD]},
            "Networks": [{"Target": "n1"}],
            "RestartPolicy": {"Condition": "on-failure", "MaxAttempts": 1, "Delay": S},
        },
        "Mode": {"Replicated": {"Replicas": 1}},
        "EndpointSpec": {"Mode": "dnsrr"},
    }
    assert ordered["TaskTemplate"]["Networks"] == [{"Target": "n1", "Aliases": ["web"]}]
    assert len(probe_name("w" * 63, action)) == 63
