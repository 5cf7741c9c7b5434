"""A rollout on Kubernetes that replaces no pod any more, and a controller that does not react."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.contract import kubernetes_support as kube
from tests.contract.kubernetes_support import AGENT, DB, WEB, ClusterAndEngine
from tests.support.kubernetes import kubelets
from tests.support.kubernetes.api import FakeCluster
from tests.support.kubernetes.workloads import container, daemon_set, deployment, probed, quick, stateful_set, template
from tests.support.runs import FakeRun, once_at
from tutumd.errors import EngineRefusedError
from tutumd.model import Service

Make = Callable[..., dict[str, Any]]
STATEFUL = template(container(probed=True), name="db")


def change(cluster: FakeCluster, resource: str, name: str, **spec: Any) -> None:
    """Change a workload as somebody else."""
    cluster.store.change((resource, "shop", name), lambda new: new["spec"].update(spec))


def tag_of(cluster: FakeCluster, resource: str, name: str) -> str:
    """Return the tag in the pod template of a workload."""
    template = kube.spec_and_status(cluster, resource, name)["spec"]["template"]
    return str(template["spec"]["containers"][0]["image"].rpartition(":")[2])


@pytest.mark.slow
@pytest.mark.parametrize(
    ("service", "made", "tag"),
    [
        pytest.param(WEB, deployment(template=probed()), kubelets.EXITING, id="exits"),
        pytest.param(WEB, deployment(template=probed()), "v2", id="works"),
        pytest.param(DB, stateful_set(template=STATEFUL), kubelets.MISSING, id="statefulset"),
    ],
)
def test_a_service_that_somebody_scales_to_0_in_the_middle_of_a_rollout_is_rolled_back(
    kubernetes: ClusterAndEngine, service: Service, made: dict[str, Any], tag: str
) -> None:
    cluster, engine = kubernetes
    resource = f"{service.selector.partition('/')[0]}s"
    kube.create(cluster, made)
    run = FakeRun(tag=tag, on_log=once_at("restarting", lambda: change(cluster, resource, service.name, replicas=0)))
    outcome = engine.redeploy(service, run)
    assert (outcome.success, outcome.rolled_back) == (False, True), outcome.reason
    assert "so nothing shows that the new version runs" in outcome.reason
    assert f"somebody else scaled the {service.selector.partition('/')[0]} {service.name} to 0" in outcome.reason
    assert tag_of(cluster, resource, service.name) == "v1"
    assert kube.spec_and_status(cluster, resource, service.name)["spec"]["replicas"] == 0


def test_a_service_that_is_scaled_to_0_and_up_again_is_followed(kubernetes: ClusterAndEngine, tmp_path: Path) -> None:
    cluster, _ = kubernetes
    kube.create(cluster, deployment(template=probed()))

    def come_back() -> None:
        if not kube.pods(cluster, "web"):
            change(cluster, "deployments", "web", replicas=2)

    run = FakeRun(
        tag="v2",
        on_log=once_at("restarting", lambda: change(cluster, "deployments", "web", replicas=0)),
        on_sleep=come_back,
    )
    with kube.opened(cluster, tmp_path, timing=replace(kube.TIMING, doubt_s=30.0)) as engine:
        outcome = engine.redeploy(WEB, run)
    assert outcome.success, outcome.reason
    assert kube.ready_tags(cluster, "web") == ["v2", "v2"]


@pytest.mark.slow
def test_a_partition_that_is_raised_above_all_pods_is_no_success(impatient: ClusterAndEngine) -> None:
    cluster, engine = impatient
    kube.create(cluster, stateful_set(template=quick("db")))
    kept = {"type": "RollingUpdate", "rollingUpdate": {"partition": 3}}
    raised = once_at("restarting", lambda: change(cluster, "statefulsets", "db", updateStrategy=kept))
    outcome = engine.redeploy(DB, FakeRun(tag="v2", on_log=raised))
    assert (outcome.success, outcome.rolled_back) == (False, True), outcome.reason
    assert "the partition of the statefulset db now keeps all its pods as they are" in outcome.reason


def test_a_daemon_set_that_fits_no_node_is_no_success(kubernetes: ClusterAndEngine) -> None:
    cluster, engine = kubernetes
    kube.create(cluster, daemon_set(template=template(container(probed=True), name="agent")))

    def leave() -> None:
        cluster.controllers.fitting = ()

    outcome = engine.redeploy(AGENT, FakeRun(tag="v2", on_log=once_at("restarting", leave)))
    assert (outcome.success, outcome.rolled_back) == (False, True), outcome.reason
    assert "no node fits the daemonset agent any more" in outcome.reason
    for use in (lambda: engine.redeploy(AGENT, FakeRun(tag="v2")), lambda: engine.plan(AGENT, "v2")):
        with pytest.raises(EngineRefusedError, match="no node fits the daemonset agent"):
            use()


@pytest.mark.slow
def test_a_controller_that_does_not_react_is_named(impatient: ClusterAndEngine) -> None:
    cluster, engine = impatient
    kube.create(cluster, deployment(template=quick()))
    cluster.controllers.frozen = True
    run: FakeRun = FakeRun(tag="v2", on_sleep=lambda: run.skip(1e6))
    outcome = engine.redeploy(WEB, run)
    assert (outcome.success, outcome.rolled_back) == (False, True)
    words = "kube-controller-manager does not react to the change of the deployment web (observedGeneration is 1, "
    assert outcome.reason == (
        f"the action did not end within 300 s (0 of 2 new pods are ready): {words}wanted is 2): check that it runs"
        f"; after the rollback {words}wanted is 3): check that it runs"
    )
    again: FakeRun = FakeRun(on_sleep=lambda: again.skip(1e6))
    outcome = engine.scale(WEB, 3, again)
    assert (outcome.success, outcome.rolled_back) == (False, True)
    assert "the action did not end within 300 s: kube-controller-manager does not react" in outcome.reason
