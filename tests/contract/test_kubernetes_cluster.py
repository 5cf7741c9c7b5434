"""The same promises on a real cluster. Collected only with TUTUMD_TEST_KUBECONFIG; makes and removes its own namespace.

TUTUMD_TEST_IMAGE_1 and TUTUMD_TEST_IMAGE_2 are two images that have `sh` and `sleep`.
"""

import os
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import pytest
from kubernetes import client

from tests.contract.kubernetes_support import service
from tests.support.runs import FakeRun, Killed
from tests.support.waiting import wait_until
from tutumd.engines.dockerapi import parse_reference
from tutumd.engines.kubernetes import KubernetesEngine, find_access
from tutumd.errors import EngineRefusedError
from tutumd.model import ContainerState, Service, ServiceSnapshot

KUBECONFIG = os.environ.get("TUTUMD_TEST_KUBECONFIG", "")
IMAGE_1 = os.environ.get("TUTUMD_TEST_IMAGE_1", "")
IMAGE_2 = os.environ.get("TUTUMD_TEST_IMAGE_2", "")

pytestmark = pytest.mark.timeout(600)
COMMAND = '[ -z "$BROKEN" ] || { echo cannot go on; sleep 1; exit 3; }; exec sleep 100000'
ABSENT = "tutumd-test-no-such-tag"
KINDS = ("deployment", "statefulset", "daemonset")
_PLACE_S = 300


@dataclass(frozen=True)
class RealCluster:
    """A namespace of a real cluster, with an engine on it."""

    namespace: str
    engine: KubernetesEngine
    api: Any

    def create(self, kind: str, name: str = "web", *, replicas: int = 2, image: str = IMAGE_1, **spec: Any) -> Service:
        """Create a workload and wait until all its pods are ready."""
        labels = {"app": name}
        container = {"name": "app", "image": image, "command": ["sh", "-c", COMMAND]}
        pods = {"containers": [container], "terminationGracePeriodSeconds": 1}
        body: dict[str, Any] = {
            "metadata": {"name": name},
            "spec": {
                "selector": {"matchLabels": labels},
                "template": {"metadata": {"labels": labels}, "spec": pods},
                **({} if kind == "daemonset" else {"replicas": replicas}),
                **({"serviceName": name} if kind == "statefulset" else {}),
                **spec,
            },
        }
        plural = {"deployment": "deployment", "statefulset": "stateful_set", "daemonset": "daemon_set"}[kind]
        getattr(self.api, f"create_namespaced_{plural}")(self.namespace, body)
        found = service(f"{kind}/{self.namespace}/{name}", target=replicas)

        def runs() -> bool:
            snapshot = self.engine.inspect(found)
            return snapshot is not None and 0 < snapshot.target == snapshot.running == len(snapshot.containers)

        wait_until(runs, f"{found.selector} runs", timeout_s=_PLACE_S, pause_s=0.5)
        return found

    def seen(self, found: Service) -> ServiceSnapshot:
        """The snapshot of a service that must be there."""
        snapshot = self.engine.inspect(found)
        assert snapshot is not None
        return snapshot

    def alive(self, found: Service) -> set[str]:
        """The UIDs of its pods without those that are on their way to a stop, which takes a real node seconds."""
        return {one.id for one in self.seen(found).containers if one.state is not ContainerState.STOPPING}


@pytest.fixture(scope="module")
def shared() -> Iterator[RealCluster]:
    """A namespace for this run."""
    namespace = f"tutumd-test-{uuid.uuid4().hex[:8]}"
    access = find_access(KUBECONFIG, None, os.environ)
    engine = KubernetesEngine("kubernetes", access, namespaces=(namespace,), server_cap=10)
    connection = access.connect()
    core = client.CoreV1Api(connection)
    core.create_namespace({"metadata": {"name": namespace}})
    try:
        yield RealCluster(namespace, engine, client.AppsV1Api(connection))
    finally:
        core.delete_namespace(namespace)
        engine.close()
        connection.close()


@pytest.fixture
def cluster(shared: RealCluster) -> Iterator[RealCluster]:
    """The namespace, emptied afterwards."""
    yield shared
    for plural in ("deployment", "stateful_set", "daemon_set"):
        getattr(shared.api, f"delete_collection_namespaced_{plural}")(shared.namespace)
    wait_until(lambda: not shared.engine.discover(), "the namespace is empty", timeout_s=_PLACE_S)


@contextmanager
def watching(engine: KubernetesEngine) -> Iterator[threading.Event]:
    changed, stop = threading.Event(), threading.Event()
    thread = threading.Thread(target=engine.watch, args=(changed.set, stop))
    thread.start()
    try:
        yield changed
    finally:
        stop.set()
        thread.join(timeout=10)
        assert not thread.is_alive()


def run(**options: Any) -> FakeRun:
    return FakeRun(deadline_s=_PLACE_S, **options)


@pytest.mark.parametrize("kind", KINDS)
def test_a_redeploy_replaces_every_pod_by_the_wanted_image(cluster: RealCluster, kind: str) -> None:
    found = cluster.create(kind)
    first, second = parse_reference(IMAGE_1), parse_reference(IMAGE_2)
    tag = second.tag if first.same_repository(second) else None
    outcome = cluster.engine.redeploy(found, run(tag=tag, variables={"ADDED": "1"}))
    assert outcome.success, outcome.reason
    assert outcome.containers_after
    assert set(outcome.containers_after).isdisjoint(outcome.containers_before)
    snapshot = cluster.seen(found)
    assert parse_reference(snapshot.image_name).tag == (tag or first.tag)
    if tag and tag != first.tag:
        assert outcome.image_before != outcome.image_after


@pytest.mark.parametrize("kind", KINDS)
def test_an_image_that_is_absent_is_put_back(cluster: RealCluster, kind: str) -> None:
    found = cluster.create(kind)
    outcome = cluster.engine.redeploy(found, run(tag=ABSENT))
    assert (outcome.success, outcome.rolled_back) == (False, True), outcome.reason
    assert any(word in outcome.reason for word in ("ErrImagePull", "ImagePullBackOff"))
    snapshot = cluster.seen(found)
    assert (snapshot.running, snapshot.image_name) == (snapshot.target, IMAGE_1)
    if kind == "deployment":
        assert set(outcome.containers_after) == set(outcome.containers_before)


def test_a_container_that_dies_is_put_back_while_the_old_pods_stay(cluster: RealCluster) -> None:
    found = cluster.create("deployment")
    before = cluster.alive(found)
    outcome = cluster.engine.redeploy(found, run(variables={"BROKEN": "1"}))
    assert (outcome.success, outcome.rolled_back) == (False, True), outcome.reason
    assert "CrashLoopBackOff" in outcome.reason
    assert outcome.log_tail == "cannot go on"
    assert cluster.alive(found) == set(outcome.containers_after) == before


@pytest.mark.parametrize("kind", ["deployment", "statefulset"])
def test_scale_stop_and_start(cluster: RealCluster, kind: str) -> None:
    found = cluster.create(kind)
    verbs: tuple[tuple[Callable[[], Any], int], ...] = (
        (lambda: cluster.engine.scale(found, 3, run()), 3),
        (lambda: cluster.engine.scale(found, 1, run()), 1),
        (lambda: cluster.engine.stop(found, run()), 0),
        (lambda: cluster.engine.start(service(found.selector, target=0), run()), 1),
    )
    for verb, wanted in verbs:
        outcome = verb()
        assert outcome.success, outcome.reason
        snapshot = cluster.seen(found)
        assert (snapshot.running, snapshot.stopped) == (wanted, wanted == 0)


def test_a_killed_redeploy_goes_on_and_restarts_once(cluster: RealCluster) -> None:
    found = cluster.create("deployment")
    for step in range(1, 6):
        before = cluster.alive(found)
        cut_off = run(kill_at=step)
        with pytest.raises(Killed):
            cluster.engine.redeploy(found, cut_off)
        outcome = cluster.engine.redeploy(found, cut_off.again())
        assert outcome.success, outcome.reason
        assert set(outcome.containers_before) == before
        assert len(outcome.containers_after) == 2


def test_what_would_replace_nothing_is_refused(cluster: RealCluster) -> None:
    paused = cluster.create("deployment", "paused", replicas=1)
    cluster.api.patch_namespaced_deployment("paused", cluster.namespace, {"spec": {"paused": True}})
    with pytest.raises(EngineRefusedError, match="is paused"):
        cluster.engine.redeploy(paused, run())
    by_hand = cluster.create("statefulset", "by-hand", replicas=1, updateStrategy={"type": "OnDelete"})
    with pytest.raises(EngineRefusedError, match="OnDelete"):
        cluster.engine.redeploy(by_hand, run())


def test_a_new_workload_shows_within_two_seconds(cluster: RealCluster) -> None:
    with watching(cluster.engine) as changed:
        wait_until(changed.is_set, "the watch began")
        began = time.monotonic()
        labels = {"app": "new"}
        pods = {"containers": [{"name": "app", "image": IMAGE_1}]}
        spec = {"selector": {"matchLabels": labels}, "template": {"metadata": {"labels": labels}, "spec": pods}}
        cluster.api.create_namespaced_deployment(cluster.namespace, {"metadata": {"name": "new"}, "spec": spec})
        wait_until(lambda: [one.name for one in cluster.engine.discover()] == ["new"], "it is shown")
        assert time.monotonic() - began < 2


def test_logs_and_plan(cluster: RealCluster) -> None:
    found = cluster.create("deployment", replicas=1)
    assert isinstance(cluster.engine.logs(found, 10), str)
    plan = cluster.engine.plan(found, ABSENT)
    assert (plan.refused, plan.order) == ("", "start-first")
    assert parse_reference(plan.image_name).tag == ABSENT
