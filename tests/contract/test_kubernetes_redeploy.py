"""A redeploy on Kubernetes: what it sends, what it waits for, and whose change it leaves alone."""

import threading
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.contract import kubernetes_support as kube
from tests.contract.kubernetes_support import WEB, ClusterAndEngine
from tests.support.kubernetes import kubelets
from tests.support.kubernetes.api import ApiRequest, FakeCluster
from tests.support.kubernetes.store import Refusal
from tests.support.kubernetes.workloads import daemon_set, deployment, probed, stateful_set
from tests.support.runs import FakeRun
from tests.support.waiting import wait_until
from tutumd.errors import EngineRefusedError, EngineUnavailableError


@pytest.mark.slow
def test_a_container_without_a_probe_has_to_run_for_a_while_and_the_setting_is_put_back(
    kubernetes: ClusterAndEngine,
) -> None:
    cluster, engine = kubernetes
    kube.create(cluster, deployment())
    before = kube.spec_and_status(cluster, "deployments", "web")["spec"]
    assert engine.redeploy(WEB, FakeRun()).success
    first, last = cluster.changes()
    assert {"op": "add", "path": "/spec/minReadySeconds", "value": 1} in first.body
    assert {"op": "add", "path": "/spec/strategy/rollingUpdate/maxSurge", "value": 2} in first.body
    assert last.content_type == "application/merge-patch+json"
    assert last.body["spec"] == {"minReadySeconds": None, "strategy": {"rollingUpdate": {"maxSurge": "25%"}}}
    after = kube.spec_and_status(cluster, "deployments", "web")["spec"]
    del after["template"]["metadata"]["annotations"]
    assert after == before


@pytest.mark.slow
def test_a_quota_that_leaves_room_for_some_of_the_added_pods_only_delays_the_others(
    kubernetes: ClusterAndEngine,
) -> None:
    cluster, engine = kubernetes
    kube.create(cluster, deployment())
    cluster.controllers.quota = 3
    assert engine.redeploy(WEB, FakeRun(tag="v2")).success
    assert kube.ready_tags(cluster, "web") == ["v2", "v2"]


def test_a_surge_that_somebody_sets_in_the_meantime_is_kept(kubernetes: ClusterAndEngine) -> None:
    cluster, engine = kubernetes
    kube.create(cluster, deployment())

    def change(line: str) -> None:
        if line == "2 of 2 new pods are ready":
            chosen = {"rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0}}
            cluster.store.change(("deployments", "shop", "web"), lambda new: new["spec"]["strategy"].update(chosen))

    assert engine.redeploy(WEB, FakeRun(on_log=change)).success
    spec = kube.spec_and_status(cluster, "deployments", "web")["spec"]
    assert spec["strategy"]["rollingUpdate"]["maxSurge"] == 1
    assert "minReadySeconds" not in spec


@pytest.mark.slow
def test_the_window_of_all_new_pods_begins_before_the_cluster_lets_old_ones_go(
    cluster: FakeCluster, tmp_path: Path
) -> None:
    kube.create(cluster, deployment())
    seen: list[list[str]] = []

    def look(line: str) -> None:
        if line == "2 of 2 new pods are ready: they have to stay so for 5 s":
            seen.append(sorted(kube.pods(cluster, "web").values()))

    with kube.opened(cluster, tmp_path, timing=replace(kube.TIMING, stable_s=5.0)) as engine:
        assert engine.redeploy(WEB, FakeRun(tag="v2", on_log=look)).success
    assert seen == [["v1", "v1", "v2", "v2"]]


ON_DELETE = {"type": "OnDelete"}
BEYOND = {"type": "RollingUpdate", "rollingUpdate": {"partition": 3}}


@pytest.mark.parametrize(
    ("workload", "words"),
    [
        (deployment(paused=True), "is paused: resume it first"),
        (stateful_set(updateStrategy=ON_DELETE), "update strategy OnDelete"),
        (daemon_set(updateStrategy=ON_DELETE), "update strategy OnDelete"),
        (stateful_set(updateStrategy=BEYOND), "partition 3 and 3 replicas"),
    ],
    ids=["paused", "OnDelete", "OnDelete daemons", "partition"],
)
def test_what_would_replace_nothing_is_refused_untouched(
    kubernetes: ClusterAndEngine, workload: dict[str, Any], words: str
) -> None:
    cluster, engine = kubernetes
    kind, name = workload["kind"], workload["metadata"]["name"]
    cluster.store.create(f"{kind.lower()}s", workload)
    target = kube.service(f"{kind.lower()}/shop/{name}")
    for use in (lambda: engine.redeploy(target, FakeRun()), lambda: engine.plan(target, None)):
        with pytest.raises(EngineRefusedError, match=words):
            use()
    assert cluster.changes() == []


def test_a_conflict_is_retried_with_the_new_version(kubernetes: ClusterAndEngine) -> None:
    cluster, engine = kubernetes
    kube.create(cluster, deployment(template=probed()))
    scaled = iter([3, 4])

    def scale(request: ApiRequest) -> None:
        if request.verb == "patch" and (number := next(scaled, None)):
            cluster.store.change(("deployments", "shop", "web"), lambda new: new["spec"].update(replicas=number))

    cluster.before = scale
    outcome = engine.redeploy(WEB, FakeRun(tag="v2"))
    assert outcome.success
    assert len(cluster.changes()) == 3
    assert kube.ready_tags(cluster, "web") == ["v2"] * 4


def test_a_change_by_another_client_supersedes_ours_and_stays(kubernetes: ClusterAndEngine) -> None:
    cluster, engine = kubernetes
    kube.create(cluster, deployment(template=probed()))

    def deploy(new: Any) -> None:
        new["spec"]["template"]["spec"]["containers"][0]["image"] = "registry.test/app:v9"

    run = FakeRun(tag=kubelets.HANGING)

    def deploy_after_ours() -> None:
        wait_until(lambda: bool(cluster.changes()), "ours was sent")
        cluster.store.change(("deployments", "shop", "web"), deploy)

    after_ours = threading.Thread(target=deploy_after_ours)
    after_ours.start()
    outcome = engine.redeploy(WEB, run)
    after_ours.join()
    assert (outcome.success, outcome.rolled_back) == (False, False)
    assert outcome.reason == (
        "superseded: while this redeploy ran, somebody else changed the service; it now is at registry.test/app:v9"
    )
    wait_until(lambda: kube.ready_tags(cluster, "web") == ["v9", "v9"], "theirs runs")


def test_a_tool_that_puts_the_template_back_is_named(kubernetes: ClusterAndEngine) -> None:
    cluster, engine = kubernetes
    tracked = {"argocd.argoproj.io/tracking-id": "shop:apps/Deployment:shop/web"}
    kube.create(cluster, deployment(template=probed(), annotations=tracked))
    key = ("deployments", "shop", "web")
    template_before = cluster.store.get(key)["spec"]["template"]

    def heal(request: ApiRequest) -> None:
        if cluster.store.get(key)["spec"]["template"] != template_before:
            cluster.store.change(key, lambda new: new["spec"].update(template=template_before))

    cluster.before = heal
    run = FakeRun(tag="v2")
    outcome = engine.redeploy(WEB, run)
    assert (outcome.success, outcome.rolled_back) == (False, False)
    assert outcome.reason == (
        "superseded: somebody else restored the pod template while this redeploy ran; "
        "Argo CD tracks it and may undo changes: image, replicas and annotations"
    )
    assert "Argo CD tracks it and may undo changes: image, replicas and annotations" in run.lines


@pytest.mark.parametrize("when", ["before", "after"])
def test_a_redeploy_is_resumed_after_the_cluster_went_away_around_a_change(
    kubernetes: ClusterAndEngine, when: str
) -> None:
    cluster, engine = kubernetes
    kube.create(cluster, deployment(template=probed()))

    def away(request: ApiRequest) -> None:
        if request.verb == "patch":
            raise Refusal(503, "etcdserver: leader changed")

    setattr(cluster, when, away)
    run = FakeRun(tag="v2")
    with pytest.raises(EngineUnavailableError, match=r"cannot patch deployments web .*leader changed"):
        engine.redeploy(WEB, run)
    cluster.before = cluster.after = lambda request: None
    outcome = engine.redeploy(WEB, run.again())
    assert outcome.success, outcome.reason
    assert len(cluster.changes()) == (2 if when == "before" else 1)
