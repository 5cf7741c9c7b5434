"""How a rollout stands, from every kind of status and pod."""

from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest

from tests.support.kubernetes.workloads import container, daemon_set, deployment, probed, stateful_set, template
from tests.support.runs import FakeRun
from tests.unit.kubernetes.values import AT, SINCE, pod, view, workload
from tutumd.engines.kubernetes.health import (
    PodWatch,
    describe_failure,
    is_finished,
    is_rolled_back,
    window_s,
)
from tutumd.engines.kubernetes.plan import plan_redeploy
from tutumd.engines.kubernetes.redeploy import Redeploy
from tutumd.engines.kubernetes.view import Pod, PodContainer, describe_pod, find_culprit
from tutumd.engines.kubernetes.workloads import Workload, find_unprobed, fingerprint
from tutumd.engines.rollout.journal import RolloutStatus
from tutumd.engines.rollout.timing import Timing

DONE = {"replicas": 2, "updatedReplicas": 2, "readyReplicas": 2, "availableReplicas": 2}
GIVEN_UP = [{"type": "Progressing", "status": "False", "reason": "ProgressDeadlineExceeded"}]
LATE = "there was no progress for 630 s"
STUCK = PodContainer(name="app", image="app:v2", waiting="ImagePullBackOff", message="manifest unknown")
ENDED = PodContainer(name="app", image="app:v2", exit_code=7, ended="Error")
RESTARTED = PodContainer(name="app", image="app:v2", started=SINCE, restarts=1)

ROLLED = {"readyReplicas": 3, "updatedReplicas": 3, "currentRevision": "b", "updateRevision": "b"}
ONE_ROLLED = {**ROLLED, "updatedReplicas": 1, "currentRevision": "a"}
ON_NODES = {"desiredNumberScheduled": 2, "updatedNumberScheduled": 2, "numberAvailable": 2}


def partitioned(partition: int) -> dict[str, Any]:
    return stateful_set(updateStrategy={"type": "RollingUpdate", "rollingUpdate": {"partition": partition}})


@pytest.mark.parametrize(
    ("made", "status", "wanted"),
    [
        (deployment(), DONE, True),
        (deployment(), {**DONE, "observedGeneration": 2}, False),
        (deployment(), {**DONE, "updatedReplicas": 1}, False),
        (deployment(), {**DONE, "replicas": 3}, False),
        (deployment(), {**DONE, "availableReplicas": 1}, False),
        (deployment(), {**DONE, "conditions": GIVEN_UP}, False),
        (deployment(), {}, False),
        (stateful_set(), ROLLED, True),
        (stateful_set(), {**ROLLED, "currentRevision": "a"}, False),
        (stateful_set(), {**ROLLED, "readyReplicas": 2}, False),
        (stateful_set(), {**ROLLED, "availableReplicas": 2}, False),
        (partitioned(2), ONE_ROLLED, True),
        (partitioned(1), ONE_ROLLED, False),
        (daemon_set(), ON_NODES, True),
        (daemon_set(), {**ON_NODES, "updatedNumberScheduled": 1}, False),
        (daemon_set(), {**ON_NODES, "numberAvailable": 1}, False),
    ],
)
def test_a_workload_is_finished(made: dict[str, Any], status: dict[str, Any], wanted: bool) -> None:
    assert is_finished(workload(made, **status)) is wanted


def status_of(subject: Workload, *pods: Any, ordered: str = "") -> RolloutStatus:
    context: Any = SimpleNamespace(run=FakeRun(), timing=Timing(), restart_s=lambda view: 0.0)
    redeploy = Redeploy(context)
    planned = plan_redeploy(view(subject), None, {}, context.timing)
    redeploy.journal = replace(planned, restarted_at=AT, ordered=ordered or fingerprint(subject.template))
    return redeploy.judge(view(subject, *pods)).status


def test_the_status_of_a_rollout_comes_from_its_new_pods() -> None:
    whole = [pod("a", at=AT), pod("b", at=AT)]
    done = workload(deployment(), **DONE)
    assert status_of(done, *whole) is RolloutStatus.SUCCEEDED
    assert status_of(done) is RolloutStatus.IN_PROGRESS
    assert status_of(done, whole[0], pod("old")) is RolloutStatus.IN_PROGRESS
    assert status_of(done, whole[0], pod("c", at=AT, ready=False, container=STUCK)) is RolloutStatus.IN_PROGRESS
    assert status_of(done, *whole, ordered="another") is RolloutStatus.SUPERSEDED
    for exited in (ENDED, replace(ENDED, exit_code=0), replace(ENDED, started=SINCE), RESTARTED):
        assert status_of(done, *whole, pod("c", at=AT, container=exited)) is RolloutStatus.FAILED
        assert status_of(done, *whole, pod("old", container=exited)) is RolloutStatus.SUCCEEDED
    assert status_of(workload(deployment(), conditions=GIVEN_UP)) is RolloutStatus.FAILED
    stale = workload(deployment(), conditions=GIVEN_UP, observedGeneration=2)
    assert status_of(stale) is RolloutStatus.IN_PROGRESS


INIT = replace(ENDED, name="migrate", is_lasting=False)


@pytest.mark.parametrize(
    ("container", "is_failing", "has_exited"),
    [
        (ENDED, True, True),
        (replace(ENDED, waiting="CrashLoopBackOff"), True, True),
        (replace(ENDED, started=SINCE, restarts=1), False, True),
        (RESTARTED, False, True),
        (STUCK, True, False),
        (replace(STUCK, waiting="ContainerCreating"), False, False),
        (INIT, False, False),
        (replace(INIT, exit_code=0), False, False),
        (replace(INIT, restarts=1), True, False),
        (replace(INIT, restarts=1, exit_code=0), False, False),
        (replace(INIT, restarts=1, started=SINCE), False, False),
        (replace(INIT, restarts=1, waiting="CrashLoopBackOff"), True, False),
    ],
)
def test_a_container_is_judged_by_its_exits(container: PodContainer, is_failing: bool, has_exited: bool) -> None:
    assert (container.is_failing, container.has_exited) == (is_failing, has_exited)


def failures(looks: list[tuple[float, Pod]]) -> list[Pod | None]:
    """Return the pod that is believed to have failed at each look, by the second and the pod that is seen."""
    now = [0.0]
    context: Any = SimpleNamespace(timing=Timing(clock=lambda: now[0]), refusal=lambda view: "")
    watch, failed = PodWatch(context), []
    for now[0], seen in looks:
        watch.status(view(workload(deployment())), [pod("fine", at=AT), seen], is_whole=False)
        failed.append(watch.failed)
    return failed


@pytest.mark.parametrize(
    ("container", "lasts_s"),
    [
        (ENDED, 0),
        (replace(STUCK, waiting="CreateContainerConfigError"), 4),
        (STUCK, 4),
        (replace(STUCK, message="429 Too Many Requests: toomanyrequests"), 20),
        (replace(STUCK, message='Back-off pulling image "app:v2"'), 20),
        (replace(INIT, restarts=1), 4),
        (replace(STUCK, waiting="ContainerCreating"), None),
    ],
)
def test_a_failure_that_may_pass_is_believed_once_it_has_lasted(container: PodContainer, lasts_s: int | None) -> None:
    subject = pod("x", at=AT, ready=False, container=container)
    failed = failures([(float(second), subject) for second in range(30)])
    believed = [second for second, found in enumerate(failed) if found == subject]
    assert believed == ([] if lasts_s is None else list(range(lasts_s, 30)))


def test_a_failure_that_passes_in_between_begins_anew() -> None:
    stuck = pod("x", at=AT, ready=False, container=STUCK)
    looks = [(0.0, stuck), (3.0, pod("x", at=AT)), (3.5, stuck), (7.0, stuck), (7.5, stuck)]
    assert failures(looks) == [None, None, None, None, stuck]


def test_a_stuck_pod_that_recovers_in_between_is_deleted_only_after_it_has_failed_again_for_a_while() -> None:
    now = [0.0]
    deleted: list[Pod] = []
    timing = Timing(clock=lambda: now[0])
    context: Any = SimpleNamespace(timing=timing, delete=lambda pod, version: deleted.append(pod))
    watch, stuck = PodWatch(context), pod("0", ready=False, container=STUCK)
    for now[0], seen in ((0.0, stuck), (3.0, pod("0")), (100.0, stuck), (103.0, stuck)):
        watch.free_stuck(view(workload(stateful_set()), seen), AT)
        assert not deleted
    now[0] = 104.0
    watch.free_stuck(view(workload(stateful_set()), stuck), AT)
    assert deleted == [stuck]


def test_new_pods_without_a_probe_have_to_run_for_a_while() -> None:
    timing = Timing(stable_s=10.0, poll_s=0.5)
    assert window_s(view(workload(deployment())), timing) == 10.0
    assert window_s(view(workload(deployment(annotations={"tutum.redeploy.stable": "2"}))), timing) == 2.0
    assert window_s(view(workload(deployment(template=probed()))), timing) == 0.5
    assert window_s(view(workload(deployment(replicas=0))), timing) == 0.5


SIDECAR = {"name": "proxy", "image": "proxy:1", "restartPolicy": "Always"}
MIGRATION = {"name": "migrate", "image": "app:v2"}
STARTED: dict[str, Any] = {"startupProbe": {"exec": {}}, "livenessProbe": {"exec": {}}}


@pytest.mark.parametrize(
    ("pods", "name"),
    [
        (template(container(probed=True)), ""),
        (template(container()), "app"),
        (template(container(**STARTED)), "app"),
        (template(container(probed=True), container("log")), "log"),
        (template(container(probed=True), container("log", probed=True)), ""),
        (template(container(probed=True), initContainers=[SIDECAR]), "proxy"),
        (template(container(probed=True), initContainers=[{**SIDECAR, "readinessProbe": {"exec": {}}}]), ""),
        (template(container(probed=True), initContainers=[MIGRATION]), ""),
    ],
)
def test_every_container_that_lasts_needs_a_readiness_probe(pods: dict[str, Any], name: str) -> None:
    assert find_unprobed(pods["spec"]) == name
    plan = plan_redeploy(view(workload(deployment(template=pods))), None, {}, Timing(stable_s=10.0))
    assert plan.min_ready == (10 if name else None)


def test_a_container_that_only_the_pods_have_needs_a_readiness_probe_too() -> None:
    subject = workload(deployment(template=probed()))
    assert view(subject, pod("a"), pod("b", unprobed="injected")).unprobed == "injected"
    assert view(subject, pod("a"), pod("b", unprobed="injected", due=SINCE)).unprobed == ""


def test_a_workload_is_rolled_back_when_as_many_pods_are_ready_as_before() -> None:
    rolling_back = workload(deployment(), replicas=2, updatedReplicas=2, availableReplicas=1)
    assert not is_rolled_back(view(rolling_back, pod("a"), pod("b", ready=False)), AT, 2)
    assert is_rolled_back(view(rolling_back, pod("a"), pod("b", ready=False)), AT, 1)
    assert not is_rolled_back(view(rolling_back, pod("a"), pod("new", at=AT)), AT, 1)
    assert is_rolled_back(view(workload(deployment(), **DONE), pod("a"), pod("b")), AT, 3)
    assert not is_rolled_back(view(workload(deployment(), **DONE), pod("a")), AT, 3)


def test_the_culprit_is_a_pod_with_a_failing_container() -> None:
    slow, stuck = pod("slow", ready=False, at=AT), pod("stuck", ready=False, at=AT, container=STUCK)
    assert find_culprit([pod("fine"), slow, stuck]) == stuck
    assert find_culprit([pod("fine"), slow]) == slow
    assert find_culprit([pod("fine")]) is None
    reason, actual = describe_failure(view(workload(deployment()), slow, stuck), AT, stuck, "", "")
    assert actual == stuck
    assert reason == "the rollout failed: pod web-stuck, container app: ImagePullBackOff: manifest unknown"


def test_the_failure_of_a_paused_rollout_says_so() -> None:
    reason, _ = describe_failure(
        view(workload(deployment(paused=True)), pod("slow", ready=False, at=AT)), AT, None, "", LATE
    )
    assert reason == (
        "there was no progress for 630 s (0 of 2 new pods are ready); the deployment web was paused "
        "in the meantime: pod web-slow runs but is not ready"
    )


def test_the_failure_names_an_exceeded_quota() -> None:
    seen = view(workload(deployment()), pod("old", ready=False))
    reason, actual = describe_failure(seen, AT, None, "exceeded quota: pods", "")
    assert actual is None
    assert reason == "the rollout was not complete (0 of 2 new pods are ready): exceeded quota: pods"


@pytest.mark.parametrize(
    ("container", "words"),
    [
        (replace(ENDED, restarts=3), "pod web-x, container app: exited with 7, restarted 3 times"),
        (replace(RESTARTED, exit_code=7), "container app: exited with 7, restarted once"),
        (RESTARTED, "container app: ended, restarted once"),
        (replace(ENDED, exit_code=137, ended="OOMKilled"), "exited with 137 (OOMKilled)"),
        (replace(ENDED, exit_code=128, ended="StartError", message="no such file"), "(StartError): no such file"),
        (replace(STUCK, waiting="InvalidImageName", message=""), "container app: InvalidImageName"),
        (PodContainer(name="app", image="a", waiting="ContainerCreating"), "pod web-x is pending"),
    ],
)
def test_a_pod_is_described_by_its_problem(container: PodContainer, words: str) -> None:
    assert describe_pod(pod("x", ready=False, phase="Pending", container=container)).endswith(words)
