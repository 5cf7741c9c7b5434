"""How a rollout stands, from every kind of status and pod."""

from typing import Any

import pytest

from tests.support.kubernetes.workloads import daemon_set, deployment, stateful_set
from tests.unit.kubernetes.values import AT, pod, view, workload
from tutumd.engines.kubernetes.health import check_rollout, describe_failure, is_finished, is_rolled_back
from tutumd.engines.kubernetes.view import PodContainer, describe_pod, find_culprit
from tutumd.engines.kubernetes.workloads import Workload, fingerprint
from tutumd.engines.rollout.outcome import RolloutStatus

DONE = {"replicas": 2, "updatedReplicas": 2, "readyReplicas": 2, "availableReplicas": 2}
GIVEN_UP = [{"type": "Progressing", "status": "False", "reason": "ProgressDeadlineExceeded"}]
LATE = "there was no progress for 630 s"
STUCK = PodContainer(name="app", image="app:v2", waiting="ImagePullBackOff", message="manifest unknown")


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
    return check_rollout(view(subject, *pods), ordered or fingerprint(subject.template), AT)


def test_the_status_of_a_rollout() -> None:
    rolling = workload(deployment(), replicas=3, updatedReplicas=1)
    assert status_of(rolling, pod("old"), pod("new", at=AT, ready=False)) is RolloutStatus.IN_PROGRESS
    assert status_of(workload(deployment(), **DONE), pod("new", at=AT)) is RolloutStatus.SUCCEEDED
    assert status_of(rolling, pod("new", at=AT, ready=False, container=STUCK)) is RolloutStatus.FAILED
    assert status_of(rolling, pod("old", ready=False, container=STUCK)) is RolloutStatus.IN_PROGRESS
    assert (
        status_of(rolling, pod("new", at=AT, ready=False, container=STUCK, deleting=True)) is RolloutStatus.IN_PROGRESS
    )
    assert status_of(workload(deployment(), conditions=GIVEN_UP)) is RolloutStatus.FAILED
    stale = workload(deployment(), conditions=GIVEN_UP, observedGeneration=2)
    assert status_of(stale) is RolloutStatus.IN_PROGRESS
    assert status_of(workload(deployment(), **DONE), ordered="another") is RolloutStatus.SUPERSEDED


def test_a_workload_is_rolled_back_when_as_many_pods_are_ready_as_before() -> None:
    rolling_back = workload(deployment(), replicas=2, updatedReplicas=2, availableReplicas=1)
    assert not is_rolled_back(view(rolling_back, pod("a"), pod("b", ready=False)), AT, 2)
    assert is_rolled_back(view(rolling_back, pod("a"), pod("b", ready=False)), AT, 1)
    assert not is_rolled_back(view(rolling_back, pod("a"), pod("new", at=AT)), AT, 1)
    assert is_rolled_back(view(workload(deployment(), **DONE), pod("a")), AT, 2)


def test_the_culprit_is_a_pod_with_a_failing_container() -> None:
    slow, stuck = pod("slow", ready=False, at=AT), pod("stuck", ready=False, at=AT, container=STUCK)
    assert find_culprit([pod("fine"), slow, stuck]) == stuck
    assert find_culprit([pod("fine"), slow]) == slow
    assert find_culprit([pod("fine")]) is None
    reason, actual = describe_failure(view(workload(deployment()), slow, stuck), AT, "")
    assert actual == stuck
    assert reason == "the rollout failed: pod web-stuck, container app: ImagePullBackOff: manifest unknown"


def test_the_failure_of_a_paused_rollout_says_so() -> None:
    reason, _ = describe_failure(view(workload(deployment(paused=True)), pod("slow", ready=False, at=AT)), AT, LATE)
    assert reason == (
        "there was no progress for 630 s (0 of 2 new pods are ready); the deployment web was paused "
        "in the meantime: pod web-slow runs but is not ready"
    )


def test_the_failure_names_an_exceeded_quota() -> None:
    conditions = [{"type": "ReplicaFailure", "status": "True", "message": "exceeded quota: pods"}]
    reason, actual = describe_failure(view(workload(deployment(), conditions=conditions)), AT, "")
    assert actual is None
    assert reason == ("the rollout was not complete (0 of 2 new pods are ready): exceeded quota: pods")


@pytest.mark.parametrize(
    ("container", "words"),
    [
        (
            PodContainer(name="app", image="a", waiting="CrashLoopBackOff", exit_code=137, ended="OOMKilled"),
            "137 (OOMKilled)",
        ),
        (PodContainer(name="app", image="a", waiting="CrashLoopBackOff", exit_code=3, ended="Error"), "exited with 3"),
        (PodContainer(name="app", image="a", waiting="InvalidImageName"), "container app: InvalidImageName"),
        (PodContainer(name="app", image="a", waiting="ContainerCreating"), "pod web-x is pending"),
    ],
)
def test_a_pod_is_described_by_its_problem(container: PodContainer, words: str) -> None:
    assert describe_pod(pod("x", ready=False, phase="Pending", container=container)).endswith(words)
