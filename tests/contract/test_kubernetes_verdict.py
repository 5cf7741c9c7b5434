"""The verdict of a change on Kubernetes comes from its own new pods, whatever the workload's status says."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.contract import kubernetes_support as kube
from tests.contract.kubernetes_support import AGENT, DB, WEB, ClusterAndEngine
from tests.support.kubernetes import kubelets
from tests.support.kubernetes.api import ApiRequest, FakeCluster, running
from tests.support.kubernetes.workloads import container, daemon_set, deployment, probed, stateful_set, template
from tests.support.runs import FakeRun
from tests.support.waiting import wait_until
from tutumd.model import Service

Make = Callable[..., dict[str, Any]]
KINDS = [
    pytest.param(WEB, deployment, id="deployment"),
    pytest.param(DB, stateful_set, id="statefulset"),
    pytest.param(AGENT, daemon_set, id="daemonset"),
]


def create(cluster: FakeCluster, service: Service, make: Make, **options: Any) -> list[str]:
    """Create a workload and return the tags of its pods."""
    kube.create(cluster, make(template=template(container(**options), name=service.name)))
    return kube.ready_tags(cluster, service.name)


@pytest.mark.slow
@pytest.mark.parametrize(("service", "make"), KINDS)
@pytest.mark.parametrize("is_probed", [False, True])
def test_an_image_that_exits_is_a_failure_with_its_code_and_its_output(
    kubernetes: ClusterAndEngine, service: Service, make: Make, is_probed: bool
) -> None:
    cluster, engine = kubernetes
    cluster.controllers.log["app before"] = "2026-01-01T00:00:01Z fatal: no database\n"
    before = create(cluster, service, make, probed=is_probed)
    outcome = engine.redeploy(service, FakeRun(tag=kubelets.EXITING))
    assert (outcome.success, outcome.rolled_back) == (False, True), outcome.reason
    assert outcome.reason.startswith(f"the rollout failed: pod {service.name}-")
    assert "container app: exited with 7" in outcome.reason
    assert outcome.log_tail == "fatal: no database"
    assert kube.ready_tags(cluster, service.name) == before


@pytest.mark.slow
@pytest.mark.parametrize(("service", "make"), KINDS)
@pytest.mark.parametrize("tag", [kubelets.MISSING, kubelets.CRASHING, "v2"])
def test_a_status_that_is_ahead_of_its_pods_is_not_believed(
    kubernetes: ClusterAndEngine, service: Service, make: Make, tag: str
) -> None:
    cluster, engine = kubernetes
    before = create(cluster, service, make, probed=True)
    cluster.controllers.is_hasty = True
    outcome = engine.redeploy(service, FakeRun(tag=tag))
    assert outcome.success is (tag == "v2"), outcome.reason
    if outcome.success:
        assert len(outcome.containers_after) == len(before)
        assert outcome.image_after == kube.DIGESTS["v2"]


def test_a_pull_that_the_registry_refuses_for_a_moment_undoes_nothing(kubernetes: ClusterAndEngine) -> None:
    cluster, engine = kubernetes
    kube.create(cluster, deployment(template=probed()))
    outcome = engine.redeploy(WEB, FakeRun(tag=kubelets.BUSY))
    assert outcome.success, outcome.reason


SURGE = {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0}}


def test_a_redeploy_of_a_daemon_set_that_adds_pods_over_quota_is_told_at_once(kubernetes: ClusterAndEngine) -> None:
    cluster, engine = kubernetes
    kube.create(cluster, daemon_set(template=template(container(probed=True), name="agent"), updateStrategy=SURGE))
    cluster.controllers.quota = 2
    outcome = engine.redeploy(AGENT, FakeRun(tag="v2"))
    assert (outcome.success, outcome.rolled_back) == (False, True)
    assert outcome.reason.startswith('the rollout was not complete (0 of 2 new pods are ready): pods "agent-')
    assert "is forbidden: exceeded quota" in outcome.reason
    assert kube.ready_tags(cluster, "agent") == ["v1", "v1"]


@pytest.mark.slow
def test_a_quota_that_leaves_room_again_undoes_nothing(tmp_path: Path) -> None:
    pods = template(container(probed=True), name="agent")
    with running() as cluster, kube.opened(cluster, tmp_path, timing=replace(kube.TIMING, doubt_s=0.5)) as engine:
        kube.create(cluster, daemon_set(template=pods, updateStrategy=SURGE, minReadySeconds=2))
        cluster.controllers.quota = 2

        def make_room(request: ApiRequest) -> None:
            if request.resource == "events":
                cluster.controllers.quota = None

        cluster.after = make_room
        outcome = engine.redeploy(AGENT, FakeRun(tag="v2"))
    assert outcome.success, outcome.reason


@pytest.mark.slow
@pytest.mark.parametrize(("service", "make"), KINDS[:2])
def test_a_scale_up_over_quota_is_told_at_once(kubernetes: ClusterAndEngine, service: Service, make: Make) -> None:
    cluster, engine = kubernetes
    present = len(create(cluster, service, make, probed=True))
    cluster.controllers.quota = present
    outcome = engine.scale(service, present + 1, FakeRun())
    assert (outcome.success, outcome.rolled_back) == (False, True)
    assert outcome.reason.startswith(f'{present} of {present + 1} pods are ready: pods "{service.name}-')
    assert "is forbidden: exceeded quota" in outcome.reason


@pytest.mark.slow
def test_a_refusal_from_before_the_change_is_not_believed(kubernetes: ClusterAndEngine) -> None:
    cluster, engine = kubernetes
    kube.create(cluster, stateful_set(template=template(container(probed=True), name="db")))
    uid = kube.spec_and_status(cluster, "statefulsets", "db")["metadata"]["uid"]
    event = {"metadata": {"name": "db.1", "namespace": "shop"}, "involvedObject": {"uid": uid}, "type": "Warning"}
    old = {"reason": "FailedCreate", "message": "exceeded quota", "lastTimestamp": "2020-01-01T00:00:00Z"}
    cluster.store.create("events", {**event, **old})
    cluster.controllers.frozen = True
    looks: list[str] = []

    def thaw(request: ApiRequest) -> None:
        looks.extend([request.resource] if request.resource == "events" else [])
        if len(looks) > 10:
            cluster.controllers.frozen = False

    cluster.after = thaw
    outcome = engine.scale(DB, 4, FakeRun())
    assert outcome.success, outcome.reason


def break_template(cluster: FakeCluster) -> None:
    """Roll a broken image out to the StatefulSet as somebody else, and wait until it is stuck."""
    kube.create(cluster, stateful_set(template=template(container(probed=True), name="db")))
    broken = template(container(tag=kubelets.CRASHING, probed=True), name="db")
    cluster.store.change(("statefulsets", "shop", "db"), lambda new: new["spec"].update(template=broken))
    wait_until(lambda: kube.is_described(cluster, "exited with 3"), "db-2 is stuck")


def test_a_stateful_set_that_is_stuck_at_a_broken_pod_is_freed(kubernetes: ClusterAndEngine) -> None:
    cluster, engine = kubernetes
    break_template(cluster)
    plan = engine.plan(DB, "v2")
    assert plan.notes[0] == (
        "the statefulset db waits for pods that cannot run "
        "(pod db-2, container app: exited with 3, restarted 2 times): "
        "the redeploy deletes them; if its account may not delete pods, do so while it runs: "
        "kubectl delete pod db-2 --namespace shop"
    )
    outcome = engine.redeploy(DB, FakeRun(tag="v2"))
    assert outcome.success, outcome.reason
    assert kube.ready_tags(cluster, "db") == ["v2", "v2", "v2"]
