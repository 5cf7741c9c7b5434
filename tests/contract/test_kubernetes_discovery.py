"""Discovery of the engine `kubernetes`: namespaces, watches, paging, logs and missing permissions."""

import threading
import time
from pathlib import Path

import pytest

from tests.contract import kubernetes_support as kube
from tests.contract.engines.verbs import watching
from tests.contract.kubernetes_support import WEB
from tests.support.kubernetes.api import ApiRequest, FakeCluster
from tests.support.kubernetes.store import Refusal
from tests.support.kubernetes.workloads import deployment, stateful_set
from tests.support.waiting import wait_until
from tutumd.engines.kubernetes.engine import KubernetesEngine
from tutumd.errors import EngineUnavailableError
from tutumd.ports.engine import PartialDiscoveryError


def selectors(engine: KubernetesEngine) -> list[str]:
    return [snapshot.selector for snapshot in engine.discover()]


def test_several_namespaces_or_all(cluster: FakeCluster, tmp_path: Path) -> None:
    for namespace in ("shop", "other", "third"):
        workload = deployment(namespace, replicas=0)
        workload["metadata"]["namespace"] = namespace
        cluster.store.create("deployments", workload)
    with kube.opened(cluster, tmp_path, "other", "third") as engine:
        assert selectors(engine) == ["deployment/other/other", "deployment/third/third"]
    assert {request.namespace for request in cluster.requests} == {"other", "third"}
    cluster.requests.clear()
    with kube.opened(cluster, tmp_path, "*") as engine:
        assert len(selectors(engine)) == 3
    assert {request.namespace for request in cluster.requests} == {""}


def create_in(cluster: FakeCluster, namespace: str, name: str) -> None:
    workload = deployment(name, replicas=0)
    workload["metadata"]["namespace"] = namespace
    cluster.store.create("deployments", workload)


def test_a_namespace_that_cannot_be_listed_hides_no_other(cluster: FakeCluster, tmp_path: Path) -> None:
    create_in(cluster, "shop", "web")
    create_in(cluster, "other", "web")
    cluster.allowed = lambda request: request.namespace != "other"
    with kube.opened(cluster, tmp_path, "shop", "other") as engine:
        with pytest.raises(
            PartialDiscoveryError, match=r"verb list on deployments .* in the namespace other"
        ) as raised:
            engine.discover()
        assert [snapshot.selector for snapshot in raised.value.snapshots] == ["deployment/shop/web"]
        assert raised.value.is_unreadable("deployment/other/web")
        assert not raised.value.is_unreadable("deployment/shop/gone")
        cluster.allowed = lambda request: request.resource != "pods" or request.namespace != "other"
        with pytest.raises(PartialDiscoveryError, match=r"verb list on pods .* in the namespace other"):
            engine.discover()
        cluster.allowed = lambda request: False
        with pytest.raises(EngineUnavailableError, match="the namespace shop") as none_seen:
            engine.discover()
        assert not isinstance(none_seen.value, PartialDiscoveryError)
        cluster.allowed = lambda request: True
        assert len(engine.discover()) == 2


def test_a_namespace_that_cannot_be_watched_ends_no_other_watch_at_once(cluster: FakeCluster, tmp_path: Path) -> None:
    cluster.allowed = lambda request: request.namespace != "other"
    with kube.opened(cluster, tmp_path, "shop", "other") as engine, watching(engine) as changed:
        refused = [("list", "other"), ("watch", "shop")]
        wait_until(
            lambda: all(len([s for s in cluster.requests if (s.verb, s.namespace) == pair]) >= 4 for pair in refused),
            "one namespace is refused and the other is watched",
        )
        changed.clear()
        create_in(cluster, "shop", "web")
        assert changed.wait(60)
        asked = len(cluster.requests)
        with pytest.raises(PartialDiscoveryError) as raised:
            engine.discover()
        assert [snapshot.selector for snapshot in raised.value.snapshots] == ["deployment/shop/web"]
        assert {request.namespace for request in cluster.requests[asked:] if request.verb == "list"} == {"other"}


def test_a_new_renamed_or_removed_workload_shows_at_once(cluster: FakeCluster, tmp_path: Path) -> None:
    def shows(*wanted: str) -> None:
        began = time.monotonic()
        wait_until(lambda: changed.wait(0.1) and selectors(engine) == list(wanted), f"{wanted} are shown")
        assert time.monotonic() - began < 10
        changed.clear()

    with kube.opened(cluster, tmp_path) as engine, watching(engine) as changed:
        wait_until(
            lambda: len([request for request in cluster.requests if request.verb == "watch"]) >= 4, "four watches"
        )
        cluster.store.create("deployments", deployment())
        shows("deployment/shop/web")
        wait_until(lambda: engine.discover()[0].running == 2, "its pods are shown")
        cluster.store.delete(("deployments", "shop", "web"))
        cluster.store.create("statefulsets", stateful_set())
        shows("statefulset/shop/db")
        asked = len(cluster.requests)
        for _ in range(20):
            assert selectors(engine) == ["statefulset/shop/db"]
        assert len([request for request in cluster.requests[asked:] if request.verb != "watch"]) == 0


def test_a_watch_whose_changes_the_api_has_discarded_begins_again(cluster: FakeCluster, tmp_path: Path) -> None:
    with kube.opened(cluster, tmp_path) as engine, watching(engine):
        wait_until(
            lambda: len([request for request in cluster.requests if request.verb == "watch"]) >= 4, "four watches"
        )
        with cluster.store.lock:
            cluster.store.create("deployments", deployment(replicas=0))
            cluster.store.forgotten = cluster.store.version
            cluster.store.events.clear()
        wait_until(lambda: selectors(engine) == ["deployment/shop/web"], "it is shown nevertheless")


def test_a_list_whose_rest_the_api_has_discarded_is_read_in_one_piece(cluster: FakeCluster, tmp_path: Path) -> None:
    cluster.controllers.frozen = True
    for number in range(501):
        cluster.store.create("deployments", deployment(f"web-{number}", replicas=0))

    def discard(request: ApiRequest) -> None:
        if "continue" in request.query:
            raise Refusal(410, "The provided continue parameter is too old to display a consistent list result.")

    with kube.opened(cluster, tmp_path) as engine:
        assert len(selectors(engine)) == 501
        cluster.before = discard
        assert len(selectors(engine)) == 501
    pages = [request.query for request in cluster.requests if request.resource == "deployments"]
    whole = [{"limit": "500"}, {"continue": "500", "limit": "500"}]
    assert pages == [*whole, *whole, {}]


def test_a_watch_that_the_api_ends_is_an_error_and_not_restarted(cluster: FakeCluster, tmp_path: Path) -> None:
    words = "etcdserver: leader changed"
    cluster.store.watch_error = Refusal(500, words)
    ended = pytest.raises(EngineUnavailableError, match=f"the cluster ended a watch: {words}")
    stop = threading.Event()
    limit = threading.Timer(60, stop.set)
    limit.start()
    with kube.opened(cluster, tmp_path) as engine, ended:
        engine.watch(lambda: None, stop)
    limit.cancel()
    limit.join()
    kinds = [request.resource for request in cluster.requests if request.verb == "watch"]
    assert len(kinds) == len(set(kinds))


def test_a_cluster_without_a_listener_is_unavailable(cluster: FakeCluster, tmp_path: Path) -> None:
    cluster.url = "http://127.0.0.1:9"
    unreachable = pytest.raises(EngineUnavailableError, match="Connection refused")
    with kube.opened(cluster, tmp_path) as engine, unreachable:
        engine.inspect(WEB)


def test_logs_of_all_pods_are_in_order_of_time(cluster: FakeCluster, tmp_path: Path) -> None:
    cluster.controllers.log["app"] = "2026-01-01T00:00:01Z one\n2026-01-01T00:00:02Z two\n"
    kube.create(cluster, deployment())
    with kube.opened(cluster, tmp_path) as engine:
        lines = engine.logs(WEB, 3).text.splitlines()
        assert [line.partition(" | ")[2] for line in lines] == ["one", "two", "two"]
        assert engine.logs(WEB, 0).text == ""
    (query,) = {tuple(sorted(request.query.items())) for request in cluster.requests if request.resource == "pods/log"}
    assert dict(query) == {"container": "app", "limitBytes": "65536", "tailLines": "3", "timestamps": "true"}
