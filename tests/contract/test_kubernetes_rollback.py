"""Redeploys on Kubernetes that fail or are resumed: when they are rolled back, and whose change they know."""

import pytest

from tests.contract import kubernetes_support as kube
from tests.contract.kubernetes_support import AGENT, DB, WEB, ClusterAndEngine
from tests.support.kubernetes import kubelets
from tests.support.kubernetes.api import ApiRequest, FakeCluster
from tests.support.kubernetes.store import Refusal
from tests.support.kubernetes.workloads import container, daemon_set, deployment, probed, stateful_set, template
from tests.support.runs import FakeRun, late_when
from tutumd.engines.kubernetes.engine import KubernetesEngine
from tutumd.errors import EngineUnavailableError


def test_a_rollout_that_the_cluster_gives_up_is_put_back(kubernetes: ClusterAndEngine) -> None:
    cluster, engine = kubernetes
    kube.create(cluster, deployment(template=probed(), progressDeadlineSeconds=1))
    outcome = engine.redeploy(WEB, FakeRun(tag=kubelets.HANGING))
    assert (outcome.success, outcome.rolled_back) == (False, True)
    assert "ProgressDeadlineExceeded" in outcome.reason


@pytest.mark.slow
def test_a_stuck_pod_that_may_not_be_deleted_is_reported_and_the_setting_is_put_back(
    kubernetes: ClusterAndEngine,
) -> None:
    cluster, engine = kubernetes
    cluster.controllers.log["app before"] = "2026-01-01T00:00:02Z fatal: no database\n"
    kube.create(cluster, stateful_set(template=template(container(), name="db")))
    before = kube.spec_and_status(cluster, "statefulsets", "db")["spec"]
    cluster.allowed = lambda request: request.verb != "delete"
    outcome = engine.redeploy(DB, FakeRun(tag=kubelets.CRASHING))
    assert (outcome.success, outcome.rolled_back) == (False, True)
    assert outcome.reason.startswith("the rollout failed: pod db-2, container app")
    assert "after the rollback a pod that is stuck at the failed version could not be deleted" in outcome.reason
    assert 'Missing permission: verb delete on pods (apiGroup "") in the namespace shop' in outcome.reason
    assert outcome.log_tail == "fatal: no database"
    assert kube.spec_and_status(cluster, "statefulsets", "db")["spec"] == before


@pytest.mark.slow
def test_a_daemon_sets_pod_that_is_still_stopping_is_none_that_works_again(kubernetes: ClusterAndEngine) -> None:
    cluster, engine = kubernetes
    slow = template(container(tag=kubelets.SLOW, probed=True), name="agent", terminationGracePeriodSeconds=2)
    kube.create(cluster, daemon_set(template=slow))
    outcome = engine.redeploy(AGENT, late_when(lambda: kube.is_stopping(cluster)))
    assert (outcome.success, outcome.rolled_back) == (False, True)
    assert len(outcome.containers_after) == 2, outcome.reason


def test_what_an_api_server_forbids_while_it_begins_is_tried_again(kubernetes: ClusterAndEngine) -> None:
    cluster, engine = kubernetes
    kube.create(cluster, deployment())
    before = kube.spec_and_status(cluster, "deployments", "web")["spec"]
    patches: list[ApiRequest] = []

    def allow(request: ApiRequest) -> bool:
        if request.verb != "patch":
            return True
        patches.append(request)
        # Its first try is forbidden, for the order and for the way back.
        return [patch.content_type for patch in patches].count(request.content_type) > 1

    cluster.allowed = allow
    outcome = engine.redeploy(WEB, FakeRun(tag=kubelets.MISSING))
    assert (outcome.success, outcome.rolled_back) == (False, True), outcome.reason
    assert "the rollback failed" not in outcome.reason
    assert kube.spec_and_status(cluster, "deployments", "web")["spec"] == before


@pytest.mark.slow
@pytest.mark.parametrize("hidden", ["deployments", "pods"])
def test_a_rollout_without_permission_for_a_while_is_resumed(kubernetes: ClusterAndEngine, hidden: str) -> None:
    cluster, engine = kubernetes
    kube.create(cluster, deployment())
    before = kube.spec_and_status(cluster, "deployments", "web")["spec"]

    def forbid(request: ApiRequest) -> None:
        if request.verb == "patch":
            cluster.allowed = lambda request: request.resource != hidden

    cluster.after = forbid
    run = FakeRun(tag=kubelets.MISSING)
    with pytest.raises(EngineUnavailableError, match=f"Missing permission: verb (get|list) on {hidden}"):
        engine.redeploy(WEB, run)
    again = run.again()
    with pytest.raises(EngineUnavailableError, match=f"Missing permission: verb (get|list) on {hidden}"):
        engine.redeploy(WEB, again)
    cluster.after, cluster.allowed = lambda request: None, lambda request: True
    outcome = engine.redeploy(WEB, again.again())
    assert (outcome.success, outcome.rolled_back) == (False, True)
    assert "manifest unknown" in outcome.reason
    assert kube.spec_and_status(cluster, "deployments", "web")["spec"] == before


def lose_response(cluster: FakeCluster, engine: KubernetesEngine) -> FakeRun:
    """Create a Deployment, and return the run of a redeploy that received no response to its patch."""
    kube.create(cluster, deployment(template=probed(env=[{"name": "BODY", "value": "before"}])))

    def lose(request: ApiRequest) -> None:
        if request.verb == "patch":
            raise Refusal(503, "etcdserver: leader changed")

    cluster.after = lose
    run = FakeRun(tag="v2", variables={"BODY": "after", "EMPTY": ""})
    with pytest.raises(EngineUnavailableError):
        engine.redeploy(WEB, run)
    cluster.after = lambda request: None
    return run.again()


def test_a_redeploy_after_a_lost_response_continues_although_the_service_was_scaled(
    kubernetes: ClusterAndEngine,
) -> None:
    cluster, engine = kubernetes
    run = lose_response(cluster, engine)
    cluster.store.change(("deployments", "shop", "web"), lambda new: new["spec"].update(replicas=3))
    outcome = engine.redeploy(WEB, run)
    assert outcome.success, outcome.reason
    assert list(kube.pods(cluster, "web").values()) == ["v2"] * 3


def test_a_change_by_another_client_after_a_lost_response_is_not_taken_for_ours(kubernetes: ClusterAndEngine) -> None:
    cluster, engine = kubernetes
    run = lose_response(cluster, engine)
    hanging = f"registry.test/app:{kubelets.HANGING}"
    key = ("deployments", "shop", "web")
    cluster.store.change(
        key, lambda new: new["spec"]["template"]["spec"]["containers"][0].update(image=hanging, command=["theirs"])
    )
    theirs = cluster.store.get(key)["spec"]
    outcome = engine.redeploy(WEB, run)
    assert (outcome.success, outcome.rolled_back) == (False, False)
    assert outcome.reason == (
        f"superseded: while this redeploy ran, somebody else changed the service; it now is at {hanging}"
    )
    assert cluster.store.get(key)["spec"] == theirs
    assert len(cluster.changes()) == 1


def mark(request: ApiRequest) -> None:
    """Change a patched template as an admission webhook would."""
    if request.content_type == "application/json-patch+json":
        for operation in request.body:
            if operation["path"] == "/spec/template":
                operation["value"]["metadata"].setdefault("annotations", {})["webhook"] = "was here"


@pytest.mark.slow
@pytest.mark.parametrize("tag", ["v2", kubelets.MISSING])
def test_what_a_webhook_adds_to_the_template_is_no_change_by_another_client(
    kubernetes: ClusterAndEngine, tag: str
) -> None:
    cluster, engine = kubernetes
    kube.create(cluster, deployment(template=probed(env=[{"name": "BODY", "value": "before"}])))
    before = kube.spec_and_status(cluster, "deployments", "web")["spec"]
    cluster.before = mark
    outcome = engine.redeploy(WEB, FakeRun(tag=tag, variables={"BODY": "after"}))
    assert (outcome.success, outcome.rolled_back) == (tag == "v2", tag != "v2"), outcome.reason
    after = kube.spec_and_status(cluster, "deployments", "web")["spec"]
    assert after["template"]["metadata"]["annotations"].pop("webhook") == "was here"
    if outcome.rolled_back:
        del after["template"]["metadata"]["annotations"]
        assert after == before


def test_what_a_webhook_adds_counts_as_another_clients_change_after_a_lost_response(
    kubernetes: ClusterAndEngine,
) -> None:
    cluster, engine = kubernetes
    cluster.before = mark
    outcome = engine.redeploy(WEB, lose_response(cluster, engine))
    assert (outcome.success, outcome.rolled_back) == (False, False)
    assert outcome.reason.startswith("superseded: ")
