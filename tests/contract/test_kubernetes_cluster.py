"""What a real cluster does with a StatefulSet, a DaemonSet and a workload that replaces nothing.

Collected only with TUTUMD_TEST_KUBECONFIG; test_engine.py has the promises for a Deployment.
"""

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.contract.cluster_support import ABSENT, IMAGE_1, LIMIT_S, RealCluster
from tests.contract.kubernetes_support import service
from tests.support.runs import FakeRun, once_at
from tests.support.waiting import wait_until
from tutumd.errors import EngineRefusedError

KINDS = ("statefulset", "daemonset")


@pytest.fixture
def namespace(shared_cluster: RealCluster) -> Iterator[RealCluster]:
    """The namespace of this run, emptied afterwards."""
    yield shared_cluster
    shared_cluster.empty()


def run(**options: Any) -> FakeRun:
    return FakeRun(deadline_s=LIMIT_S, **options)


@pytest.mark.parametrize("kind", KINDS)
def test_a_redeploy_replaces_every_pod(namespace: RealCluster, kind: str) -> None:
    created = namespace.create(kind)
    outcome = namespace.engine.redeploy(created, run(variables={"ADDED": "1"}))
    assert outcome.success, outcome.reason
    assert outcome.containers_after
    assert set(outcome.containers_after).isdisjoint(outcome.containers_before)


@pytest.mark.parametrize("kind", KINDS)
def test_an_image_that_is_absent_is_put_back(namespace: RealCluster, kind: str) -> None:
    created = namespace.create(kind)
    outcome = namespace.engine.redeploy(created, run(tag=ABSENT))
    assert (outcome.success, outcome.rolled_back) == (False, True), outcome.reason
    assert any(word in outcome.reason for word in ("ErrImagePull", "ImagePullBackOff"))
    snapshot = namespace.snapshot(created)
    assert (snapshot.running, snapshot.image_name) == (snapshot.target, IMAGE_1)


@pytest.mark.parametrize("kind", ("deployment", *KINDS))
def test_a_version_that_exits_is_put_back_with_its_code_and_its_output(namespace: RealCluster, kind: str) -> None:
    created = namespace.create(kind, replicas=1)
    outcome = namespace.engine.redeploy(created, run(variables={"BROKEN": "1"}))
    assert (outcome.success, outcome.rolled_back) == (False, True), outcome.reason
    assert "container app: exited with 3" in outcome.reason
    assert outcome.log_tail == "fatal: cannot start"
    assert outcome.containers_after


@pytest.mark.parametrize(("kind", "scale"), [("deployment", "deployment"), ("statefulset", "stateful_set")])
def test_a_service_that_somebody_scales_to_0_in_the_middle_of_a_rollout_is_put_back(
    namespace: RealCluster, kind: str, scale: str
) -> None:
    created = namespace.create(kind)
    set_scale = getattr(namespace.apps, f"patch_namespaced_{scale}_scale")
    empty = once_at("restarting", lambda: set_scale("web", namespace.namespace, {"spec": {"replicas": 0}}))
    outcome = namespace.engine.redeploy(created, run(tag=ABSENT, on_log=empty))
    assert (outcome.success, outcome.rolled_back) == (False, True), outcome.reason
    assert f"somebody else scaled the {kind} web to 0" in outcome.reason
    snapshot = namespace.snapshot(created)
    assert (snapshot.stopped, snapshot.image_name) == (True, IMAGE_1)


def test_a_container_that_exits_beside_one_with_a_probe_is_put_back(namespace: RealCluster) -> None:
    base = {"image": IMAGE_1, "command": ["sh", "-c", "exec sleep 100000"]}
    main = {**base, "name": "app", "readinessProbe": {"exec": {"command": ["true"]}, "periodSeconds": 1}}
    broken = "[ ! -s /pod/restarted ] || { sleep 3; exit 3; }; exec sleep 100000"
    field = {"fieldPath": "metadata.annotations['kubectl.kubernetes.io/restartedAt']"}
    beside = {
        **base,
        "name": "beside",
        "command": ["sh", "-c", broken],
        "volumeMounts": [{"name": "pod", "mountPath": "/pod"}],
    }
    volume = {"name": "pod", "downwardAPI": {"items": [{"path": "restarted", "fieldRef": field}]}}
    pods = {"containers": [main, beside], "volumes": [volume], "terminationGracePeriodSeconds": 1}
    template = {"metadata": {"labels": {"app": "web"}}, "spec": pods}
    created = namespace.create("deployment", replicas=1, template=template)
    outcome = namespace.engine.redeploy(created, run())
    assert (outcome.success, outcome.rolled_back) == (False, True), outcome.reason
    assert "container beside: exited with 3" in outcome.reason


def test_a_stateful_set_that_is_stuck_is_freed(namespace: RealCluster) -> None:
    created = namespace.create("statefulset")
    broken = {"spec": {"template": {"spec": {"containers": [{"name": "app", "image": f"{IMAGE_1}-{ABSENT}"}]}}}}
    namespace.apps.patch_namespaced_stateful_set("web", namespace.namespace, broken)
    tag = IMAGE_1.rpartition(":")[2]

    def is_stuck() -> bool:
        return namespace.engine.plan(created, tag).notes[0].startswith("the statefulset web waits for pods")

    wait_until(is_stuck, "the broken pod is stuck", timeout_s=LIMIT_S)
    outcome = namespace.engine.redeploy(created, run(tag=tag))
    assert outcome.success, outcome.reason
    assert len(outcome.containers_after) == 2


def test_scale_stop_and_start_of_a_stateful_set(namespace: RealCluster) -> None:
    created = namespace.create("statefulset")
    verbs: tuple[tuple[Callable[[], Any], int], ...] = (
        (lambda: namespace.engine.scale(created, 3, run()), 3),
        (lambda: namespace.engine.scale(created, 1, run()), 1),
        (lambda: namespace.engine.stop(created, run()), 0),
        (lambda: namespace.engine.start(service(created.selector, target=0), run()), 1),
    )
    for verb, wanted in verbs:
        outcome = verb()
        assert outcome.success, outcome.reason
        snapshot = namespace.snapshot(created)
        assert (snapshot.running, snapshot.stopped) == (wanted, wanted == 0)


def test_what_would_replace_nothing_is_refused(namespace: RealCluster) -> None:
    paused = namespace.create("deployment", "paused", replicas=1)
    namespace.apps.patch_namespaced_deployment("paused", namespace.namespace, {"spec": {"paused": True}})
    with pytest.raises(EngineRefusedError, match="is paused"):
        namespace.engine.redeploy(paused, run())
    by_hand = namespace.create("statefulset", "by-hand", replicas=1, updateStrategy={"type": "OnDelete"})
    with pytest.raises(EngineRefusedError, match="OnDelete"):
        namespace.engine.redeploy(by_hand, run())
