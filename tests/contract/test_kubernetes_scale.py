"""Scale, start and stop on Kubernetes: the scale subresource, conflicts and autoscalers."""

from typing import Any

import pytest

from tests.contract import kubernetes_support as kube
from tests.contract.kubernetes_support import AGENT, DB, WEB, ClusterAndEngine
from tests.support.kubernetes import kubelets
from tests.support.kubernetes.api import ApiRequest, FakeCluster
from tests.support.kubernetes.workloads import autoscaler, container, daemon_set, deployment, stateful_set, template
from tests.support.runs import FakeRun, Killed, late_when
from tutumd.errors import EngineRefusedError

PROBED = container(probed=True)
RAISE_MIN = {"tutum.scale.hpa": "raise-min"}


def replicas(cluster: FakeCluster, name: str = "web", resource: str = "deployments") -> int:
    return int(kube.spec_and_status(cluster, resource, name)["spec"]["replicas"])


def spoil(cluster: FakeCluster, tag: str) -> None:
    """Give another image to every pod that is created from now on, without a rollout."""
    cluster.controllers.image_of = lambda pod, image: f"registry.test/app:{tag}"


@pytest.mark.slow
def test_a_conflict_is_retried_and_a_new_number_by_another_client_stays(kubernetes: ClusterAndEngine) -> None:
    cluster, engine = kubernetes
    kube.create(cluster, deployment(template=template(PROBED)))
    key = ("deployments", "shop", "web")

    def touch(request: ApiRequest) -> None:
        if request.verb == "update" and len(cluster.changes()) < 3:
            cluster.store.change(key, lambda new: new["metadata"].update(labels={"n": str(len(cluster.changes()))}))

    cluster.before = touch
    run = FakeRun()
    assert engine.scale(WEB, 3, run).success
    assert len(cluster.changes()) == 3
    # Controllers change the status at any time: a conflict does not mean that somebody else changed the service.
    assert not any("somebody else" in line for line in run.lines)

    def rival(request: ApiRequest) -> None:
        if request.verb == "update" and replicas(cluster) == 3:
            cluster.store.change(key, lambda new: new["spec"].update(replicas=7))

    cluster.before = rival
    outcome = engine.scale(WEB, 4, FakeRun())
    assert (outcome.success, outcome.rolled_back) == (False, False)
    assert outcome.reason == "superseded: somebody else set the service to 7 pods"
    assert replicas(cluster) == 7


def test_a_pod_without_a_probe_that_dies_a_moment_later_is_not_kept(kubernetes: ClusterAndEngine) -> None:
    cluster, engine = kubernetes
    kube.create(cluster, deployment())
    spoil(cluster, kubelets.SHORT_LIVED)
    outcome = engine.scale(WEB, 3, FakeRun())
    assert (outcome.success, outcome.rolled_back) == (False, True)
    assert "container app: exited with 3" in outcome.reason
    assert replicas(cluster) == 2


def test_partial_success_keeps_what_came_up_and_says_so(kubernetes: ClusterAndEngine) -> None:
    cluster, engine = kubernetes
    kube.create(cluster, stateful_set(replicas=1, template=template(PROBED, name="db")))
    full = f"registry.test/app:{kubelets.HOMELESS}"
    cluster.controllers.image_of = lambda pod, image: full if pod == "db-3" else image
    outcome = engine.scale(DB, 5, late_when(lambda: kube.is_described(cluster, "has no node")))
    assert (outcome.success, outcome.rolled_back) == (False, False)
    assert outcome.reason == (
        "3 of 5 pods are ready, and the action did not end within 300 s: pod db-3 has no node: 0/2 nodes are "
        "available: 2 Insufficient cpu.; the service was set to 3, as many as became ready"
    )
    assert replicas(cluster, "db", "statefulsets") == len(outcome.containers_after) == 3


@pytest.mark.slow
@pytest.mark.parametrize(("least", "later", "wanted"), [(3, None, 3), (1, 4, 4), (1, None, 2)])
def test_a_start_brings_up_as_many_as_the_autoscaler_wants(
    kubernetes: ClusterAndEngine, least: int, later: int | None, wanted: int
) -> None:
    cluster, engine = kubernetes
    stopped = {"tutum.stopped.replicas": "2"}
    kube.create(cluster, deployment(replicas=0, annotations=stopped, template=template(PROBED)))
    cluster.store.create("horizontalpodautoscalers", autoscaler(least=least))

    def busy(request: ApiRequest) -> None:
        if request.verb == "update" and later is not None:
            key = ("horizontalpodautoscalers", "shop", "web-hpa")
            cluster.store.change(key, lambda new: new["spec"].update(minReplicas=later))

    cluster.after = busy
    outcome = engine.start(kube.service(WEB.selector, target=0), FakeRun())
    assert (outcome.success, outcome.reason) == (True, "")
    assert replicas(cluster) == len(outcome.containers_after) == wanted
    assert kube.spec_and_status(cluster, "deployments", "web")["metadata"]["annotations"] == {}


def test_a_start_that_fails_under_an_autoscaler_stops_it_again(kubernetes: ClusterAndEngine) -> None:
    cluster, engine = kubernetes
    kube.create(cluster, deployment(replicas=0, annotations={"tutum.stopped.replicas": "2"}))
    cluster.store.create("horizontalpodautoscalers", autoscaler(least=1))

    def busy(request: ApiRequest) -> None:
        if request.verb == "update":
            key = ("horizontalpodautoscalers", "shop", "web-hpa")
            cluster.store.change(key, lambda new: new["spec"].update(minReplicas=4))

    cluster.after = busy
    spoil(cluster, kubelets.MISSING)
    outcome = engine.start(kube.service(WEB.selector, target=0), FakeRun())
    assert (outcome.success, outcome.rolled_back) == (False, True)
    assert "manifest unknown" in outcome.reason
    assert replicas(cluster) == 0


def test_a_stop_includes_pods_that_an_autoscaler_adds(kubernetes: ClusterAndEngine) -> None:
    cluster, engine = kubernetes
    kube.create(cluster, deployment(template=template(PROBED)))
    cluster.store.create("horizontalpodautoscalers", autoscaler())

    def busy(request: ApiRequest) -> None:
        if (request.verb, request.resource) == ("patch", "deployments"):
            cluster.store.change(("deployments", "shop", "web"), lambda new: new["spec"].update(replicas=4))

    cluster.before = busy
    outcome = engine.stop(WEB, FakeRun())
    assert outcome.success, outcome.reason
    assert replicas(cluster) == len(kube.pods(cluster, "web")) == 0


def test_a_service_that_was_larger_than_the_cap_keeps_its_number(kubernetes: ClusterAndEngine) -> None:
    cluster, engine = kubernetes
    present = kube.SERVER_CAP + 2
    kube.create(cluster, deployment(replicas=present, template=template(PROBED)))
    assert engine.scale(WEB, present - 1, FakeRun()).success
    assert engine.stop(WEB, FakeRun()).success
    assert engine.start(kube.service(WEB.selector, target=present - 1), FakeRun()).success
    assert replicas(cluster) == present - 1
    with pytest.raises(EngineRefusedError, match=f"at most {present - 1} containers"):
        engine.scale(WEB, present, FakeRun())


def test_a_daemon_set_has_no_number(kubernetes: ClusterAndEngine) -> None:
    cluster, engine = kubernetes
    kube.create(cluster, daemon_set())
    for verb in (engine.start, engine.stop, lambda service, run: engine.scale(service, 3, run)):
        with pytest.raises(EngineRefusedError, match="one pod on each node that fits"):
            verb(AGENT, FakeRun())
    with pytest.raises(EngineRefusedError, match="kubectl delete"):
        engine.terminate(AGENT, FakeRun())
    assert cluster.changes() == []


@pytest.mark.parametrize(
    ("annotations", "target", "owner", "words"),
    [
        ({}, 3, {}, "web-hpa keeps the deployment web between 2 and 5 and would undo 3: .*tutum.scale.hpa=raise-min"),
        (RAISE_MIN, 6, {}, "so 6 are more than its maxReplicas"),
        (RAISE_MIN, 1, {}, "its minReplicas is only ever raised here: 1 would lower it"),
        (
            RAISE_MIN,
            3,
            {"kind": "ScaledObject", "name": "web", "controller": True},
            "is managed by the ScaledObject web",
        ),
    ],
)
def test_an_autoscaler_that_would_undo_it_is_named(
    kubernetes: ClusterAndEngine, annotations: dict[str, str], target: int, owner: dict[str, Any], words: str
) -> None:
    cluster, engine = kubernetes
    kube.create(cluster, deployment(annotations=annotations))
    cluster.store.create("horizontalpodautoscalers", autoscaler(ownerReferences=[owner] if owner else []))
    with pytest.raises(EngineRefusedError, match=words):
        engine.scale(WEB, target, FakeRun())
    assert cluster.changes() == []


OTHER_TARGETS = (
    {"apiVersion": "argoproj.io/v1alpha1", "kind": "Deployment", "name": "web"},
    {"apiVersion": "apps/v1", "kind": "StatefulSet", "name": "web"},
    {"apiVersion": "apps/v1", "kind": "Deployment", "name": "other"},
)


def test_with_an_annotation_the_autoscalers_minimum_is_raised(kubernetes: ClusterAndEngine) -> None:
    cluster, engine = kubernetes
    kube.create(cluster, deployment(annotations=RAISE_MIN, template=template(PROBED)))
    for number, target in enumerate(OTHER_TARGETS):
        other = autoscaler(least=1, name=f"other-{number}")
        other["spec"]["scaleTargetRef"] = target
        cluster.store.create("horizontalpodautoscalers", other)
    cluster.store.create("horizontalpodautoscalers", autoscaler())
    outcome = engine.scale(WEB, 4, FakeRun())
    assert outcome.success, outcome.reason
    assert replicas(cluster) == len(outcome.containers_after) == 4
    (patch,) = cluster.changes()
    assert patch == ApiRequest(
        verb="patch",
        group="autoscaling",
        resource="horizontalpodautoscalers",
        namespace="shop",
        name="web-hpa",
        query={"fieldManager": "tutumd"},
        content_type="application/merge-patch+json",
        body={"metadata": {"resourceVersion": patch.body["metadata"]["resourceVersion"]}, "spec": {"minReplicas": 4}},
    )


def test_a_minimum_that_brings_nothing_up_is_lowered_again(kubernetes: ClusterAndEngine) -> None:
    cluster, engine = kubernetes
    kube.create(cluster, deployment(annotations=RAISE_MIN, template=template(PROBED)))
    cluster.store.create("horizontalpodautoscalers", autoscaler())
    spoil(cluster, kubelets.MISSING)
    outcome = engine.scale(WEB, 4, FakeRun())
    assert (outcome.success, outcome.rolled_back) == (False, True)
    scaler = cluster.store.get(("horizontalpodautoscalers", "shop", "web-hpa"))
    assert scaler["spec"]["minReplicas"] == 2


@pytest.mark.slow
@pytest.mark.parametrize("step", [1, 2])
def test_raising_a_minimum_is_resumed(kubernetes: ClusterAndEngine, step: int) -> None:
    cluster, engine = kubernetes
    kube.create(cluster, deployment(annotations=RAISE_MIN, template=template(PROBED)))
    cluster.store.create("horizontalpodautoscalers", autoscaler())
    run = FakeRun(kill_at=step)
    with pytest.raises(Killed):
        engine.scale(WEB, 4, run)
    outcome = engine.scale(WEB, 4, run.again())
    assert outcome.success, outcome.reason
    assert (len(outcome.containers_after), len(cluster.changes())) == (4, 1)
