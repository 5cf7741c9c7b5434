"""How long a healthy rollout may take from one step to the next, and whether a node pulls."""

from typing import Any

import pytest

from tests.support.kubernetes.workloads import container, daemon_set, deployment, stateful_set, template
from tests.unit.kubernetes.values import workload
from tutumd.engines.kubernetes.context import limits_of, replacement_s
from tutumd.engines.kubernetes.view import read_pod
from tutumd.model import RunLimits

SLOW = container(
    startupProbe={"initialDelaySeconds": 10, "periodSeconds": 20, "failureThreshold": 30},
    readinessProbe={"initialDelaySeconds": 5, "periodSeconds": 60, "failureThreshold": 2},
)


@pytest.mark.parametrize(
    ("made", "seconds"),
    [
        (deployment(), 600 + 30),
        (deployment(progressDeadlineSeconds=60), 60 + 30),
        (deployment(progressDeadlineSeconds=1200), 1200 + 30),
        (stateful_set(), 600 + 30),
        (daemon_set(), 600 + 30),
        (deployment(template=template(SLOW, container("sidecar"))), 610 + 125 + 30 + 30),
        (
            stateful_set(template=template(SLOW, terminationGracePeriodSeconds=300), minReadySeconds=60),
            610 + 125 + 300 + 60 + 30,
        ),
    ],
)
def test_the_longest_step_follows_from_the_specification(made: dict[str, Any], seconds: int) -> None:
    assert limits_of(workload(made))["least_stall_s"] == seconds


def test_a_rollback_waits_until_a_slow_pod_can_be_there() -> None:
    assert replacement_s(workload(stateful_set())) == 30
    assert replacement_s(workload(stateful_set(template=template(SLOW), minReadySeconds=60))) == 610 + 125 + 60 + 30


def test_annotations_win() -> None:
    server = RunLimits()
    assert server.adapted(**limits_of(workload(deployment()))).stall_s == 630
    assert server.adapted(**limits_of(workload(deployment()), is_pulling=True)).stall_s == 1800
    assert server.adapted(**limits_of(workload(stateful_set()), is_held=True)).stall_s == 120
    slow = stateful_set(template=template(SLOW, terminationGracePeriodSeconds=300))
    assert server.adapted(**limits_of(workload(slow), is_held=True)).stall_s == 610 + 125 + 300 + 30
    annotated = deployment(annotations={"tutum.redeploy.stall": "90", "tutum.redeploy.timeout": "7200"})
    assert server.adapted(**limits_of(workload(annotated))) == RunLimits(timeout_s=7200, stall_s=90)
    assert server.adapted(**limits_of(workload(annotated), is_pulling=True)).stall_s == 1800, "a pull is not shortened"


@pytest.mark.parametrize(
    ("sandbox", "reason", "pulling"),
    [
        ("True", "ContainerCreating", True),
        ("True", "PodInitializing", True),
        ("False", "ContainerCreating", False),
        ("True", "CrashLoopBackOff", False),
    ],
)
def test_a_node_pulls_once_the_sandbox_is_ready_and_the_container_is_not(
    sandbox: str, reason: str, pulling: bool
) -> None:
    condition = {"type": "PodReadyToStartContainers", "status": sandbox}
    waiting = {"name": "app", "image": "a", "state": {"waiting": {"reason": reason}}}
    read = read_pod(
        {
            "metadata": {"uid": "u", "namespace": "shop", "name": "web-1"},
            "spec": {"containers": [container()]},
            "status": {"phase": "Pending", "conditions": [condition], "containerStatuses": [waiting]},
        }
    )
    assert read.pulling is pulling
    assert read.started == 0
