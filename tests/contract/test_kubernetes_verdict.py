"""The verdict of a change on Kubernetes comes from its own new pods and all their lasting containers."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.contract import kubernetes_support as kube
from tests.contract.kubernetes_support import AGENT, DB, WEB, ClusterAndEngine
from tests.support.kubernetes import kubelets
from tests.support.kubernetes.api import ApiRequest, FakeCluster, running
from tests.support.kubernetes.workloads import container, daemon_set, deployment, probed, quick, stateful_set, template
from tests.support.runs import FakeRun, once_at
from tests.support.waiting import wait_until
from tutumd.errors import EngineRefusedError
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


LOGGER = {"name": "logger", "image": "registry.test/logger:v1"}
SIDECAR = {"initContainers": [{**LOGGER, "restartPolicy": "Always"}]}


def create_with_logger(cluster: FakeCluster, name: str, make: Make, *, is_sidecar: bool) -> None:
    """Create a workload whose main container has a probe, and the logger none."""
    app = container(probed=True)
    pods = template(app, name=name, **SIDECAR) if is_sidecar else template(app, LOGGER, name=name)
    kube.create(cluster, make(template=pods))


def break_logger(cluster: FakeCluster) -> None:
    """Let the logger of each pod that is made from now on exit a moment after its start."""
    short = f"registry.test/logger:{kubelets.SHORT_LIVED}"
    cluster.controllers.image_of = lambda pod, image: short if image == LOGGER["image"] else image


@pytest.mark.slow
@pytest.mark.parametrize(
    ("service", "make", "is_sidecar"),
    [
        pytest.param(WEB, deployment, False, id="deployment"),
        pytest.param(WEB, deployment, True, id="deployment-native-sidecar"),
        pytest.param(DB, stateful_set, True, id="statefulset-native-sidecar"),
        pytest.param(AGENT, daemon_set, False, id="daemonset"),
    ],
)
def test_a_container_without_a_probe_that_exits_beside_one_with_a_probe_is_a_failure(
    kubernetes: ClusterAndEngine, service: Service, make: Make, is_sidecar: bool
) -> None:
    cluster, engine = kubernetes
    create_with_logger(cluster, service.name, make, is_sidecar=is_sidecar)
    break_logger(cluster)
    outcome = engine.redeploy(service, FakeRun(tag="v2"))
    assert (outcome.success, outcome.rolled_back) == (False, True), outcome.reason
    assert "container logger: exited with 3" in outcome.reason
    assert set(kube.pods(cluster, service.name).values()) == {"v1"}


STATEFUL = template(container(probed=True), name="db")


def change(cluster: FakeCluster, resource: str, name: str, **spec: Any) -> None:
    """Change a workload as somebody else."""
    cluster.store.change((resource, "shop", name), lambda new: new["spec"].update(spec))


STOPPED: dict[str, Any] = {"replicas": 0}
KEPT: dict[str, Any] = {"updateStrategy": {"type": "RollingUpdate", "rollingUpdate": {"partition": 3}}}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("service", "made", "tag", "theirs", "words"),
    [
        (WEB, deployment(template=probed()), kubelets.EXITING, STOPPED, "else scaled the deployment web to 0"),
        (WEB, deployment(template=probed()), "v2", STOPPED, "else scaled the deployment web to 0"),
        (DB, stateful_set(template=STATEFUL), kubelets.MISSING, STOPPED, "else scaled the statefulset db to 0"),
        (
            DB,
            stateful_set(template=quick("db")),
            "v2",
            KEPT,
            "statefulset db now keeps all its pods as they are",
        ),
    ],
    ids=["exits", "works", "statefulset", "partition"],
)
def test_a_rollout_that_somebody_lets_replace_no_pod_any_more_is_rolled_back(
    impatient: ClusterAndEngine,
    service: Service,
    made: dict[str, Any],
    tag: str,
    theirs: dict[str, Any],
    words: str,
) -> None:
    cluster, engine = impatient
    resource = f"{service.selector.partition('/')[0]}s"
    kube.create(cluster, made)
    run = FakeRun(tag=tag, on_log=once_at("restarting", lambda: change(cluster, resource, service.name, **theirs)))
    outcome = engine.redeploy(service, run)
    assert (outcome.success, outcome.rolled_back) == (False, True), outcome.reason
    assert f"{words}, so nothing shows that the new version runs" in outcome.reason
    spec = kube.spec_and_status(cluster, resource, service.name)["spec"]
    assert spec["template"]["spec"]["containers"][0]["image"].endswith(":v1")
    assert spec == {**spec, **theirs}


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
