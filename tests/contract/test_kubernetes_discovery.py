"""What the engine `kubernetes` shows, how soon it shows a change, and what it says where it cannot."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.contract import kubernetes_support as kube
from tests.contract.kubernetes_support import AGENT, DB, WEB
from tests.support.kubernetes.api import FakeCluster, Seen, running
from tests.support.kubernetes.store import Event, Refusal, Store
from tests.support.kubernetes.workloads import daemon_set, deployment, stateful_set
from tests.support.runs import FakeRun
from tests.support.waiting import wait_until
from tutumd.engines.kubernetes import KubernetesEngine
from tutumd.errors import EngineRefusedError, EngineUnavailableError
from tutumd.model import ContainerState, ServiceState
from tutumd.ports import PartialDiscoveryError


@pytest.fixture
def cluster() -> Iterator[FakeCluster]:
    with running() as cluster:
        yield cluster


@contextmanager
def watching(engine: KubernetesEngine) -> Iterator[threading.Event]:
    """Watch in a thread for a while; the event is set by each change."""
    changed, stop = threading.Event(), threading.Event()
    thread = threading.Thread(target=engine.watch, args=(changed.set, stop), name="watching")
    thread.start()
    try:
        yield changed
    finally:
        stop.set()
        thread.join(timeout=10)
        assert not thread.is_alive()


def selectors(engine: KubernetesEngine) -> list[str]:
    return [snapshot.selector for snapshot in engine.discover()]


def test_workloads_of_the_contexts_namespace_are_shown_with_their_pods(cluster: FakeCluster, tmp_path: Path) -> None:
    kube.create(cluster, deployment(annotations={"tutum.owner": "ann"}, labels={"app.kubernetes.io/part-of": "store"}))
    kube.create(cluster, stateful_set(annotations={"meta.helm.sh/release-name": "storage"}))
    kube.create(cluster, daemon_set())
    kube.create(cluster, deployment("hidden", annotations={"tutum.ignore": "true"}))
    elsewhere = deployment("elsewhere")
    elsewhere["metadata"]["namespace"] = "other"
    cluster.store.create("deployments", elsewhere)
    with kube.opened(cluster, tmp_path) as engine:
        agent, web, db = engine.discover()
        for snapshot, service in ((agent, AGENT), (web, WEB), (db, DB)):
            assert engine.inspect(service) == snapshot
        assert engine.inspect(kube.service("deployment/shop/hidden")) is None
        assert engine.inspect(kube.service("deployment/other/elsewhere")) is None
    assert [one.selector for one in (agent, web, db)] == [
        "daemonset/shop/agent",
        "deployment/shop/web",
        "statefulset/shop/db",
    ]
    assert [(one.name, one.stack, one.target, one.running) for one in (agent, web, db)] == [
        ("agent", "shop", 2, 2),
        ("web", "store", 2, 2),
        ("db", "storage", 3, 3),
    ]
    assert (web.owner, web.state, web.image_name) == ("ann", ServiceState.RUNNING, "registry.test/app:v1")
    assert {one.state for one in web.containers} == {ContainerState.RUNNING}
    assert web.image_digest == web.containers[0].image_digest
    assert db.warnings == (
        "it belongs to the Helm release storage, whose next upgrade may undo a changed image or number",
    )


def test_several_namespaces_or_all(cluster: FakeCluster, tmp_path: Path) -> None:
    for namespace in ("shop", "other", "third"):
        one = deployment(namespace, replicas=0)
        one["metadata"]["namespace"] = namespace
        cluster.store.create("deployments", one)
    with kube.opened(cluster, tmp_path, "other", "third") as engine:
        assert selectors(engine) == ["deployment/other/other", "deployment/third/third"]
    assert {seen.namespace for seen in cluster.requests} == {"other", "third"}
    cluster.requests.clear()
    with kube.opened(cluster, tmp_path, "*") as engine:
        assert len(selectors(engine)) == 3
    assert {seen.namespace for seen in cluster.requests} == {""}


def create_in(cluster: FakeCluster, namespace: str, name: str) -> None:
    one = deployment(name, replicas=0)
    one["metadata"]["namespace"] = namespace
    cluster.store.create("deployments", one)


def test_a_namespace_that_cannot_be_listed_hides_no_other(cluster: FakeCluster, tmp_path: Path) -> None:
    create_in(cluster, "shop", "web")
    create_in(cluster, "other", "web")
    cluster.allowed = lambda seen: seen.namespace != "other"
    with kube.opened(cluster, tmp_path, "shop", "other") as engine:
        with pytest.raises(PartialDiscoveryError, match=r"verb list on deployments .* in the namespace other") as told:
            engine.discover()
        assert [one.selector for one in told.value.snapshots] == ["deployment/shop/web"]
        assert told.value.is_unreadable("deployment/other/web")
        assert not told.value.is_unreadable("deployment/shop/gone")
        cluster.allowed = lambda seen: seen.resource != "pods" or seen.namespace != "other"
        with pytest.raises(PartialDiscoveryError, match=r"verb list on pods .* in the namespace other"):
            engine.discover()
        cluster.allowed = lambda seen: False
        with pytest.raises(EngineUnavailableError, match="the namespace shop") as none_seen:
            engine.discover()
        assert not isinstance(none_seen.value, PartialDiscoveryError)
        cluster.allowed = lambda seen: True
        assert len(engine.discover()) == 2


def test_a_namespace_that_cannot_be_watched_ends_no_other_watch_at_once(cluster: FakeCluster, tmp_path: Path) -> None:
    cluster.allowed = lambda seen: seen.namespace != "other"
    with kube.opened(cluster, tmp_path, "shop", "other") as engine, watching(engine) as changed:
        refused = [("list", "other"), ("watch", "shop")]
        wait_until(
            lambda: all(len([s for s in cluster.requests if (s.verb, s.namespace) == one]) >= 4 for one in refused),
            "one namespace is refused and the other watched",
        )
        changed.clear()
        create_in(cluster, "shop", "web")
        assert changed.wait(5)
        asked = len(cluster.requests)
        with pytest.raises(PartialDiscoveryError) as told:
            engine.discover()
        assert [one.selector for one in told.value.snapshots] == ["deployment/shop/web"]
        assert {seen.namespace for seen in cluster.requests[asked:] if seen.verb == "list"} == {"other"}


def test_a_new_renamed_or_removed_workload_shows_at_once(cluster: FakeCluster, tmp_path: Path) -> None:
    def shows(*wanted: str) -> None:
        began = time.monotonic()
        wait_until(lambda: changed.wait(0.1) and selectors(engine) == list(wanted), f"{wanted} are shown")
        assert time.monotonic() - began < 2
        changed.clear()

    with kube.opened(cluster, tmp_path) as engine, watching(engine) as changed:
        wait_until(lambda: len([seen for seen in cluster.requests if seen.verb == "watch"]) == 4, "four watches")
        cluster.store.create("deployments", deployment())
        shows("deployment/shop/web")
        wait_until(lambda: engine.discover()[0].running == 2, "its pods are shown")
        cluster.store.delete(("deployments", "shop", "web"))
        cluster.store.create("statefulsets", stateful_set())
        shows("statefulset/shop/db")
        asked = len(cluster.requests)
        for _ in range(20):
            assert selectors(engine) == ["statefulset/shop/db"]
        assert len([seen for seen in cluster.requests[asked:] if seen.verb != "watch"]) == 0


def test_a_watch_that_the_api_has_forgotten_begins_again(cluster: FakeCluster, tmp_path: Path) -> None:
    with kube.opened(cluster, tmp_path) as engine, watching(engine):
        wait_until(lambda: len([seen for seen in cluster.requests if seen.verb == "watch"]) == 4, "four watches")
        with cluster.store.lock:
            cluster.store.create("deployments", deployment(replicas=0))
            cluster.store.forgotten = cluster.store.version
            cluster.store.events.clear()
        wait_until(lambda: selectors(engine) == ["deployment/shop/web"], "it is shown all the same")


class UnwatchableStore(Store):
    """Objects that can be listed; each watch of them ends with an error of the API."""

    def follow(self, resource: str, namespace: str, version: int, ends: float) -> Iterator[Event]:
        raise Refusal(500, "etcdserver: leader changed")


def test_a_watch_that_the_api_ends_for_another_reason_is_told_and_not_begun_again_at_once(
    cluster: FakeCluster, tmp_path: Path
) -> None:
    cluster.store = UnwatchableStore()
    ended = pytest.raises(EngineUnavailableError, match="the cluster ended a watch: etcdserver: leader changed")
    stop = threading.Event()
    limit = threading.Timer(3, stop.set)
    limit.start()
    with kube.opened(cluster, tmp_path) as engine, ended:
        engine.watch(lambda: None, stop)
    limit.cancel()
    limit.join()
    kinds = [seen.resource for seen in cluster.requests if seen.verb == "watch"]
    assert len(kinds) == len(set(kinds))


def test_a_long_list_is_read_page_by_page(cluster: FakeCluster, tmp_path: Path) -> None:
    cluster.controllers.frozen = True
    for number in range(501):
        cluster.store.create("deployments", deployment(f"web-{number}", replicas=0))
    with kube.opened(cluster, tmp_path) as engine:
        assert len(set(selectors(engine))) == 501
    pages = [seen.query for seen in cluster.requests if seen.resource == "deployments"]
    assert pages == [{"limit": "500"}, {"continue": "500", "limit": "500"}]


def test_a_list_whose_rest_the_api_has_forgotten_is_read_in_one_piece(cluster: FakeCluster, tmp_path: Path) -> None:
    cluster.controllers.frozen = True
    for number in range(501):
        cluster.store.create("deployments", deployment(f"web-{number}", replicas=0))

    def forget(seen: Seen) -> None:
        if "continue" in seen.query:
            raise Refusal(410, "The provided continue parameter is too old to display a consistent list result.")

    cluster.before = forget
    with kube.opened(cluster, tmp_path) as engine:
        assert len(selectors(engine)) == 501
    pages = [seen.query for seen in cluster.requests if seen.resource == "deployments"]
    assert pages == [{"limit": "500"}, {"continue": "500", "limit": "500"}, {}]


def test_a_cluster_that_goes_away_is_told_and_comes_back(cluster: FakeCluster, tmp_path: Path) -> None:
    kube.create(cluster, deployment())
    with kube.opened(cluster, tmp_path) as engine:
        cluster.before = refuse_all
        with pytest.raises(EngineUnavailableError, match="cannot list deployments in the namespace shop: going down"):
            engine.discover()
        with pytest.raises(EngineUnavailableError):
            engine.watch(lambda: None, threading.Event())
        cluster.before = lambda seen: None
        assert selectors(engine) == ["deployment/shop/web"]
    cluster.url = "http://127.0.0.1:9"
    unreachable = pytest.raises(EngineUnavailableError, match="Connection refused")
    with kube.opened(cluster, tmp_path) as engine, unreachable:
        engine.inspect(WEB)


def refuse_all(seen: Seen) -> None:
    raise Refusal(503, "going down")


def test_a_missing_permission_is_named(cluster: FakeCluster, tmp_path: Path) -> None:
    kube.create(cluster, deployment())
    with kube.opened(cluster, tmp_path) as engine:
        cluster.allowed = lambda seen: seen.verb not in ("patch", "update")
        missing = 'Missing permission: verb patch on deployments .apiGroup "apps". in the namespace shop'
        with pytest.raises(EngineRefusedError, match=missing):
            engine.redeploy(WEB, FakeRun())
        with pytest.raises(EngineRefusedError, match="verb update on deployments/scale"):
            engine.scale(WEB, 3, FakeRun())
        cluster.allowed = lambda seen: seen.resource != "horizontalpodautoscalers"
        with pytest.raises(EngineRefusedError, match=r"verb list on horizontalpodautoscalers .apiGroup .autoscaling"):
            engine.scale(WEB, 3, FakeRun())
        cluster.allowed = lambda seen: seen.resource != "daemonsets"
        with pytest.raises(EngineUnavailableError, match=r"verb list on daemonsets .*The cluster says: daemonsets is"):
            engine.discover()


def test_logs_of_all_pods_are_in_order_of_time(cluster: FakeCluster, tmp_path: Path) -> None:
    cluster.controllers.log["app"] = "2026-01-01T00:00:01Z one\n2026-01-01T00:00:02Z two\n"
    kube.create(cluster, deployment())
    with kube.opened(cluster, tmp_path) as engine:
        assert engine.logs(WEB, 3) == "one\ntwo\ntwo"
        assert engine.logs(WEB, 0) == ""
    (query,) = {tuple(sorted(seen.query.items())) for seen in cluster.requests if seen.resource == "pods/log"}
    assert dict(query) == {"container": "app", "limitBytes": "65536", "tailLines": "3", "timestamps": "true"}


def test_a_plan_tells_what_a_redeploy_would_do_and_changes_nothing(cluster: FakeCluster, tmp_path: Path) -> None:
    kube.create(cluster, deployment())
    with kube.opened(cluster, tmp_path) as engine:
        plan = engine.plan(WEB, "v2")
        assert "has at most" not in plan.refused
        assert "cannot" not in plan.refused
        gone = engine.plan(kube.service("deployment/shop/gone"), None)
    assert (plan.refused, plan.order, plan.image_name) == ("", "start-first", "registry.test/app:v2")
    assert plan.image_before is not None
    assert gone.refused == "the deployment gone is gone from the namespace shop"
    assert cluster.changes() == []
