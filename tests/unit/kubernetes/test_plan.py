"""Plans, patches and journals of a redeploy as exact values, and what it refuses."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

import pytest

from tests.support.kubernetes.patches import json_patch
from tests.support.kubernetes.workloads import container, daemon_set, deployment, stateful_set, template
from tests.unit.kubernetes.values import AT, DIGEST, SINCE, pod, workload
from tutumd.engines.kubernetes.discover import take_snapshot
from tutumd.engines.kubernetes.patches import RedeployJournal, is_restarted, restart_patch, rollback_patch
from tutumd.engines.kubernetes.plan import (
    describe_plan,
    new_image,
    order_of,
    plan_redeploy,
    pull_note,
    refuse_impossible,
)
from tutumd.engines.kubernetes.view import WorkloadView
from tutumd.engines.kubernetes.workloads import RESTARTED_AT, Workload, fingerprint
from tutumd.engines.rollout.journal import Stage
from tutumd.engines.rollout.timing import Timing
from tutumd.errors import EngineRefusedError
from tutumd.model import Plan, RunLimits

TAGGED = "tutum.image.tagged"
ROLLED_BACK = "tutum.image.rolled-back"
COPY = (
    "nodes that have registry.test/app:v1 already use their copy (imagePullPolicy: IfNotPresent), also if the tag was "
    "moved in the registry; set imagePullPolicy: Always to pull it"
)


def planned(
    subject: Workload,
    variables: Mapping[str, str | None] | None = None,
    *,
    tag: str | None = None,
    stable_s: float = 3.0,
) -> RedeployJournal:
    seen = WorkloadView(workload=subject, pods=(pod("a"), pod("b", ready=False)))
    timing = Timing(now=lambda: datetime.fromisoformat(AT), stable_s=stable_s)
    return plan_redeploy(seen, tag, variables or {}, timing)


def patched(subject: Workload, plan: RedeployJournal, variables: Mapping[str, str | None] | None = None) -> Workload:
    """The workload after the patch."""
    return Workload(subject.kind, json_patch(subject.json, restart_patch(subject, plan, variables or {})))


def test_a_plain_restart() -> None:
    subject = workload(deployment(template=template(container(probed=True))))
    plan = planned(subject)
    assert plan == RedeployJournal(
        before={"restarted_at": "", "main": "app", "annotations": {TAGGED: None, ROLLED_BACK: None}},
        old=fingerprint(subject.template),
        image="registry.test/app:v1",
        restarted_at=AT,
        min_ready_before=None,
        min_ready=None,
        running_before=("a",),
        image_before=DIGEST,
        annotations={ROLLED_BACK: None},
        pull_note=COPY,
    )
    restarted = {**subject.template, "metadata": {**subject.template["metadata"], "annotations": {RESTARTED_AT: AT}}}
    for made, wanted in (
        (restart_patch(subject, plan, {}), restarted),
        (rollback_patch(patched(subject, plan), plan, ()), subject.template),
    ):
        assert made == [
            {"op": "replace", "path": "/metadata/resourceVersion", "value": "7"},
            {"op": "add", "path": "/spec/template", "value": wanted},
        ]


def test_without_a_probe_minreadyseconds_is_raised_for_the_rollout() -> None:
    subject = workload(deployment(minReadySeconds=1))
    plan = planned(subject, stable_s=2.5)
    assert (plan.min_ready_before, plan.min_ready, patched(subject, plan).spec["minReadySeconds"]) == (1, 3, 3)


@pytest.mark.parametrize(
    "spec",
    [
        {"minReadySeconds": 3},
        {"minReadySeconds": 2, "progressDeadlineSeconds": 3},
        {"replicas": 0},
        {"template": template(container(readinessProbe={"exec": {}}))},
    ],
    ids=["long enough", "as long as the deadline lets it", "stopped", "with a probe"],
)
def test_minreadyseconds_is_left_alone(spec: dict[str, Any]) -> None:
    assert planned(workload(deployment(**spec))).min_ready is None


@pytest.mark.parametrize(
    ("replicas", "surge", "raised"),
    [
        (1, "25%", None),
        (2, "25%", 2),
        (8, "25%", 8),
        (30, "25%", 10),
        (40, "25%", None),
        (8, 1, None),
        (8, "50%", None),
    ],
)
def test_a_default_surge_is_raised_so_that_all_windows_are_one(
    replicas: int, surge: int | str, raised: int | None
) -> None:
    strategy = {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": surge, "maxUnavailable": "25%"}}
    subject = workload(deployment(replicas=replicas, strategy=strategy))
    plan = planned(subject)
    assert (plan.surge, plan.surge_before) == (raised, None if raised is None else "25%")
    assert patched(subject, plan).rolling["maxSurge"] == (surge if raised is None else raised)
    assert planned(workload(deployment(template=template(container(readinessProbe={"exec": {}}))))).surge is None


def test_minreadyseconds_stays_below_the_deadline_of_a_deployment() -> None:
    subject = workload(deployment(progressDeadlineSeconds=3))
    plan = planned(subject)
    assert (plan.min_ready, patched(subject, plan).spec["minReadySeconds"]) == (2, 2)
    assert plan.notes == (
        "a new pod has to run for 2 s, not for 3 s: minReadySeconds has to be below progressDeadlineSeconds, "
        "which is 3",
    )
    assert planned(workload(deployment()), stable_s=700).min_ready == 599
    for other in (stateful_set(), daemon_set()):
        plan = planned(workload(other, desiredNumberScheduled=2), stable_s=700)
        assert (plan.min_ready, plan.notes) == (700, ())


def test_the_main_container_is_changed_with_those_of_the_same_image() -> None:
    pods = template(
        {"name": "proxy", "image": "registry.test/proxy:1"},
        container("main"),
        {"name": "cron", "image": "registry.test/app:v1"},
        {"name": "old", "image": "registry.test/app:v0"},
        initContainers=[{"name": "migrate", "image": "registry.test/app:v1"}],
    )
    pods["metadata"]["annotations"] = {"kubectl.kubernetes.io/default-container": "main"}
    subject = workload(deployment(template=pods))
    plan = planned(subject, {"BODY": "x"}, tag="v2")
    after = patched(subject, plan, {"BODY": "x"}).template["spec"]
    assert after["initContainers"] == [{"name": "migrate", "image": "registry.test/app:v2"}]
    assert after["containers"] == [
        {"name": "proxy", "image": "registry.test/proxy:1"},
        {**container("main"), "image": "registry.test/app:v2", "env": [{"name": "BODY", "value": "x"}]},
        {"name": "cron", "image": "registry.test/app:v2"},
        {"name": "old", "image": "registry.test/app:v0"},
    ]


@pytest.mark.parametrize(
    ("image", "tag", "wanted"),
    [
        ("registry.test:5000/app", "v2", "registry.test:5000/app:v2"),
        (f"nginx:1@{DIGEST}", "2", "nginx:2"),
        (f"nginx@{DIGEST}", None, f"nginx@{DIGEST}"),
        ("postgres:16", "17", "postgres:17"),
    ],
)
def test_a_tag_replaces_tag_and_digest(image: str, tag: str | None, wanted: str) -> None:
    assert new_image(image, tag) == wanted


@pytest.mark.parametrize(
    ("policy", "image", "words"),
    [
        ("Always", "app:v1", ""),
        ("IfNotPresent", f"app@{DIGEST}", ""),
        ("IfNotPresent", "app:v1", "nodes that have app:v1 already use their copy"),
        ("Never", "app:v1", "the nodes never pull app:v1"),
    ],
)
def test_the_pull_policy_is_noted(policy: str, image: str, words: str) -> None:
    subject = workload(deployment(template=template({"name": "app", "image": image, "imagePullPolicy": policy})))
    note = pull_note(subject, image)
    assert note.startswith(words)
    assert bool(note) == bool(words)


def rolling(**values: Any) -> dict[str, Any]:
    return {"strategy": {"type": "RollingUpdate", "rollingUpdate": values}}


@pytest.mark.parametrize(
    ("made", "order", "words"),
    [
        (deployment(replicas=1), "start-first", "allows no gap"),
        (deployment(replicas=3), "start-first", "allows no gap"),
        (deployment(replicas=10), "rolling", "lets 2 of 10 pods be missing"),
        (deployment(replicas=4, **rolling(maxSurge=0, maxUnavailable=2)), "stop-first", "maxSurge is 0: 2 old pods"),
        (deployment(replicas=2, **rolling(maxSurge="0%", maxUnavailable="25%")), "stop-first", "1 old pods stop"),
        (deployment(strategy={"type": "Recreate"}), "recreate", "all old pods stop"),
        (stateful_set(), "stop-first", "one pod after the other"),
        (daemon_set(), "stop-first", "maxSurge is 0"),
        (daemon_set(updateStrategy={"rollingUpdate": {"maxSurge": 1}}), "start-first", "maxSurge is 1"),
    ],
)
def test_the_order_is_the_workloads_own(made: dict[str, Any], order: str, words: str) -> None:
    actual, reason = order_of(workload(made))
    assert actual == order
    assert words in reason


def test_a_dry_run_plan() -> None:
    subject = workload(stateful_set(replicas=3, updateStrategy={"rollingUpdate": {"partition": 1}}))
    assert describe_plan(WorkloadView(workload=subject, pods=()), planned(subject, tag="v2"), RunLimits()) == Plan(
        order="stop-first",
        order_reason="a StatefulSet replaces one pod after the other, the one with the highest number first",
        image_name="registry.test/app:v2",
        image_before=DIGEST,
        steps=(
            "restart: write kubectl.kubernetes.io/restartedAt into the pod template of the statefulset db",
            "change the image of the container app to registry.test/app:v2",
            "set minReadySeconds to 3 during the rollout, because the container app has no readiness probe",
            "wait until 2 new pods are ready",
            "restore the pod template if that fails",
        ),
        notes=("the partition 1 keeps 1 of 3 pods as they are", COPY.replace(":v1", ":v2"), str(RunLimits())),
    )


@pytest.mark.parametrize(
    ("spec", "refused"),
    [
        ({"partition": 2}, False),
        ({"partition": 3}, True),
        ({"partition": 6, "start": 5}, False),
        ({"partition": 8, "start": 5}, True),
    ],
)
def test_a_partition_that_leaves_nothing_to_move_is_refused(spec: dict[str, int], refused: bool) -> None:
    strategy = {"type": "RollingUpdate", "rollingUpdate": {"partition": spec["partition"]}}
    subject = workload(stateful_set(updateStrategy=strategy, ordinals={"start": spec.get("start", 0)}))
    if refused:
        with pytest.raises(EngineRefusedError, match="would replace none of them"):
            refuse_impossible(subject, {})
    else:
        refuse_impossible(subject, {})


def test_a_daemon_set_that_fits_no_node_is_refused() -> None:
    with pytest.raises(EngineRefusedError, match="no node fits the daemonset agent, or the nodes that fit are not rea"):
        planned(workload(daemon_set(), desiredNumberScheduled=0))
    # The API shows 0 also before the controller has counted.
    assert not planned(workload(daemon_set(), desiredNumberScheduled=0, observedGeneration=2)).stopped


def test_a_workload_that_is_being_deleted_is_refused() -> None:
    made = deployment()
    made["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z"
    subject = workload(made)
    with pytest.raises(EngineRefusedError, match="the deployment web is being deleted"):
        refuse_impossible(subject, {})


SECRETS = [
    {"name": "KEPT", "value": "a-secret"},
    {"name": "FROM", "valueFrom": {"secretKeyRef": {"name": "s", "key": "k"}}},
    {"name": "OLD", "value": "gone"},
    {"name": "EMPTY"},
    {"name": "LAST", "value": "1"},
]
ASKED: dict[str, str | None] = {"FROM": "body", "OLD": None, "ABSENT": None, "EMPTY": "", "ADDED": ""}


def full() -> Workload:
    """A workload with everything that a redeploy may change."""
    same = [{"name": "migrate", "image": "registry.test/app:v1"}, {"name": "wait", "image": "registry.test/wait:v1"}]
    pods = template(container(env=SECRETS), container("cron"), container("proxy", "v0"), initContainers=same)
    pods["metadata"]["annotations"] = {"a": "b", RESTARTED_AT: "2025-01-01T00:00:00Z"}
    return workload(deployment(template=pods))


@pytest.mark.parametrize("tag", [None, "v2"])
@pytest.mark.parametrize("variables", [{}, ASKED], ids=["no variables", "variables"])
def test_a_rollback_restores_the_template_exactly(tag: str | None, variables: dict[str, str | None]) -> None:
    for subject in (full(), workload(deployment())):
        plan = planned(subject, variables, tag=tag)
        after = patched(subject, plan, variables)
        assert after.template != subject.template
        assert is_restarted(after, plan, variables)
        back = Workload(subject.kind, json_patch(after.json, rollback_patch(after, plan, tuple(variables))))
        assert (back.template, back.annotations) == (subject.template, subject.annotations)


@pytest.mark.parametrize("tagged", [None, "registry.test/app:v0"])
def test_an_annotation_tells_that_a_call_named_the_tag_until_a_rollback(tagged: str | None) -> None:
    made = deployment()
    made["metadata"]["annotations"] = {"a": "b", **({TAGGED: tagged} if tagged else {})}
    subject = workload(made)
    plan = planned(subject, tag="v2")
    after = patched(subject, plan)
    assert after.annotations == {"a": "b", TAGGED: "registry.test/app:v2"}
    assert (
        Workload(after.kind, json_patch(after.json, rollback_patch(after, plan, ()))).annotations == subject.annotations
    )
    stays = "without a tag, it stays at registry.test/app:v2, which the tag of an earlier call chose"
    assert (planned(after).notes[0], take_snapshot(after, ()).left_tags) == (stays, (stays,))
    for other in (planned(after, tag="v3"), planned(subject)):
        assert "earlier call" not in str(other.notes)


def test_a_variable_that_is_set_twice_is_refused() -> None:
    env = [{"name": "BODY", "value": "1"}, {"name": "BODY", "value": "2"}]
    subject = workload(deployment(template=template(container(env=env))))
    with pytest.raises(EngineRefusedError, match="sets the variable BODY more than once"):
        planned(subject, {"BODY": "3"})
    assert planned(subject, {"OTHER": "3"}).old


def test_a_view_knows_its_living_pods() -> None:
    seen = WorkloadView(workload=workload(deployment()), pods=(pod("a"), pod("b", due=SINCE), pod("c", phase="Failed")))
    assert [subject.uid for subject in seen.alive] == ["a"]
    assert seen.stopping == 1


@pytest.mark.parametrize(
    ("policy", "annotation", "wish", "tag", "said"),
    [
        ("IfNotPresent", "", True, None, "Skipped: sha256:"),
        ("IfNotPresent", "true", None, "v1", "Skipped: sha256:"),
        ("IfNotPresent", "true", False, None, ""),
        ("IfNotPresent", "", None, None, ""),
        ("IfNotPresent", "", True, "v2", ""),
        (
            "Always",
            "",
            True,
            None,
            "not skipped: only a pull by the nodes shows whether registry.test/app:v1 has changed",
        ),
    ],
)
def test_a_redeploy_is_skipped_if_the_nodes_would_start_what_runs(
    policy: str, annotation: str, wish: bool | None, tag: str | None, said: str
) -> None:
    annotations = {"tutum.redeploy.skip-unchanged": annotation} if annotation else {}
    made = deployment(annotations=annotations, template=template(container(imagePullPolicy=policy)))
    subject = workload(made, replicas=2, updatedReplicas=2, availableReplicas=2)
    seen = WorkloadView(workload=subject, pods=(pod("a"),))
    plan = plan_redeploy(seen, tag, {}, Timing(), wish)
    shown = plan.result.reason if plan.result else next(iter(plan.notes), "")
    assert shown.startswith(said) and (plan.stage is Stage.FINISH) is said.startswith("Skipped")
    assert not plan_redeploy(seen, tag, {"TUTUM_X": "y"}, Timing(), wish).result
    unfinished = WorkloadView(
        workload=workload(made, replicas=2, updatedReplicas=2, availableReplicas=1), pods=seen.pods
    )
    assert not plan_redeploy(unfinished, tag, {}, Timing(), wish).result
