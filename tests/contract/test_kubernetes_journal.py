"""Journal of a redeploy on Kubernetes: a resumed run knows its own change by it."""

import pytest

from tests.contract import kubernetes_support as kube
from tests.contract.kubernetes_support import WEB, ClusterAndEngine
from tests.support.kubernetes import kubelets
from tests.support.kubernetes.api import ApiRequest
from tests.support.kubernetes.store import Refusal
from tests.support.kubernetes.workloads import deployment, probed
from tests.support.runs import FakeRun
from tutumd.errors import EngineUnavailableError


def test_a_change_by_another_client_after_a_lost_response_is_not_taken_for_ours(kubernetes: ClusterAndEngine) -> None:
    cluster, engine = kubernetes
    kube.create(cluster, deployment(template=probed()))

    def lose(request: ApiRequest) -> None:
        if request.verb == "patch":
            raise Refusal(503, "etcdserver: leader changed")

    cluster.after = lose
    run = FakeRun(tag="v2")
    with pytest.raises(EngineUnavailableError):
        engine.redeploy(WEB, run)
    cluster.after = lambda request: None
    hanging = f"registry.test/app:{kubelets.HANGING}"
    key = ("deployments", "shop", "web")
    cluster.store.change(
        key, lambda new: new["spec"]["template"]["spec"]["containers"][0].update(image=hanging, command=["theirs"])
    )
    theirs = cluster.store.get(key)["spec"]
    outcome = engine.redeploy(WEB, run.again())
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
