"""Changes on Kubernetes that make no progress: pods that do not stop, nodes that do not respond, limits."""

from collections.abc import Callable
from typing import Any

import pytest

from tests.contract import kubernetes_support as kube
from tests.contract.kubernetes_support import AGENT, DB, WEB, ClusterAndEngine
from tests.support.kubernetes import kubelets
from tests.support.kubernetes.api import FakeCluster
from tests.support.kubernetes.workloads import container, daemon_set, deployment, probed, quick, stateful_set, template
from tests.support.runs import FakeRun
from tutumd.model import RunLimits, Service

HOLD = "example.com/hold"
LATE = "should have stopped by now"


def hold(cluster: FakeCluster, name: str, *finalizers: str) -> None:
    """Set the finalizers of the pods of a workload."""
    for pod in cluster.store.list("pods"):
        if pod["metadata"]["labels"]["app"] == name:
            cluster.store.change(
                ("pods", "shop", pod["metadata"]["name"]), lambda new: new["metadata"].update(finalizers=[*finalizers])
            )


def limited(on_sleep: Callable[[FakeRun], object], **options: Any) -> FakeRun:
    """Return a run under the server's limits that acts at each wait."""
    limits = RunLimits()
    run: FakeRun = FakeRun(
        deadline_s=limits.timeout_s, stall_s=limits.stall_s, on_sleep=lambda: on_sleep(run), **options
    )
    return run


def run_until_late(act: Callable[[FakeRun], object], **options: Any) -> FakeRun:
    """Return a run that acts at each wait once it has told that a pod is late."""
    return limited(lambda run: act(run) if LATE in run.lines[-1] else None, **options)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("service", "make"),
    [
        pytest.param(DB, stateful_set, id="statefulset"),
        pytest.param(AGENT, daemon_set, id="daemonset"),
        pytest.param(WEB, deployment, id="deployment"),
    ],
)
def test_a_pod_that_its_finalizers_hold_is_named_long_before_the_time_of_a_pull(
    impatient: ClusterAndEngine, service: Service, make: Callable[..., dict[str, Any]]
) -> None:
    cluster, engine = impatient
    recreate = {"strategy": {"type": "Recreate"}} if make is deployment else {}
    kube.create(cluster, make(template=quick(service.name), **recreate))
    hold(cluster, service.name, HOLD)
    outcome = engine.redeploy(service, run_until_late(lambda run: run.skip(20), tag="v2"))
    assert (outcome.success, outcome.rolled_back) == (False, True), outcome.reason
    assert outcome.reason.startswith("there was no progress for 120 s (0 of ")
    assert f"; pod {service.name}-" in outcome.reason
    assert f"its containers have ended, but nobody has removed its finalizers: {HOLD}" in outcome.reason


def test_a_pod_that_stops_late_undoes_nothing(kubernetes: ClusterAndEngine) -> None:
    cluster, engine = kubernetes
    kube.create(cluster, stateful_set(template=quick("db")))
    hold(cluster, "db", HOLD)

    def recover(run: FakeRun) -> None:
        run.skip(100)
        hold(cluster, "db")

    run = run_until_late(recover, tag="v2")
    outcome = engine.redeploy(DB, run)
    assert (outcome.success, outcome.reason) == (True, "")
    assert any(line.endswith(f"; pod db-2 {LATE}") for line in run.lines)


@pytest.mark.slow
def test_a_pod_on_a_node_that_no_longer_responds_is_named_with_its_node(impatient: ClusterAndEngine) -> None:
    cluster, engine = impatient
    kube.create(cluster, stateful_set(template=quick("db", tag=kubelets.SLOW)))

    def lose_node(_: object) -> None:
        if kube.is_stopping(cluster):
            cluster.controllers.kubelets.dead.add("node-a")

    cluster.after = lose_node
    run = run_until_late(lambda run: run.skip(20))
    outcome = engine.redeploy(DB, run)
    assert (outcome.success, outcome.rolled_back) == (False, True), outcome.reason
    assert outcome.reason.startswith("there was no progress for 120 s (0 of 3 new pods are ready)")
    assert "pod db-2 has been terminating for " in outcome.reason
    assert "its node node-a does not respond (kubectl describe node node-a)" in outcome.reason


@pytest.mark.slow
def test_new_pods_on_a_node_that_no_longer_responds_are_no_success(impatient: ClusterAndEngine) -> None:
    cluster, engine = impatient
    kube.create(cluster, deployment(template=template(container(), terminationGracePeriodSeconds=1)))

    def lose_node(line: str) -> None:
        if line.startswith("2 of 2 new pods are ready"):
            cluster.controllers.kubelets.dead.add("node-a")

    run: FakeRun = FakeRun(
        tag="v2", on_log=lose_node, on_sleep=lambda: run.skip(100 if cluster.controllers.kubelets.dead else 0)
    )
    outcome = engine.redeploy(WEB, run)
    assert (outcome.success, outcome.rolled_back) == (False, True), outcome.reason
    assert "is not ready: its node node-a does not respond" in outcome.reason


def test_a_stop_names_the_pod_that_does_not_stop(impatient: ClusterAndEngine) -> None:
    cluster, engine = impatient
    kube.create(cluster, deployment(replicas=1, template=quick("web")))
    hold(cluster, "web", HOLD)
    run: FakeRun = FakeRun(stall_s=120, on_sleep=lambda: run.skip(20 if run.limits.stall_s == 120 else 0))
    outcome = engine.stop(WEB, run)
    assert (outcome.success, outcome.rolled_back) == (False, False)
    assert outcome.reason.startswith("1 pods have not stopped yet, and there was no progress for 120 s; pod web-")
    assert f"nobody has removed its finalizers: {HOLD}" in outcome.reason


@pytest.mark.slow
def test_a_rollout_that_the_cluster_allows_600_s_is_not_undone_before(kubernetes: ClusterAndEngine) -> None:
    cluster, engine = kubernetes
    kube.create(cluster, deployment(template=probed(), progressDeadlineSeconds=600))
    outcome = engine.redeploy(WEB, limited(lambda run: None, tag="v2", on_progress=lambda run: run.skip(400)))
    assert outcome.success, outcome
    outcome = engine.redeploy(WEB, limited(lambda run: run.skip(100), tag=kubelets.HANGING))
    assert (outcome.success, outcome.rolled_back) == (False, True)
    assert outcome.reason.startswith("there was no progress for 630 s (0 of 2 new pods are ready): pod web-")
    assert kube.ready_tags(cluster, "web") == ["v2", "v2"]
