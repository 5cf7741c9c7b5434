"""Killed actions on Kubernetes, resumed: nothing is ordered twice, and no setting is left behind."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from tests.contract import kubernetes_support as kube
from tests.contract.kubernetes_support import DB, TIMING, WEB
from tests.support.kubernetes import kubelets
from tests.support.kubernetes.api import FakeCluster, running
from tests.support.kubernetes.workloads import autoscaler, container, deployment, stateful_set, template
from tests.support.runs import FakeRun, Killed
from tutumd.engines.kubernetes.engine import KubernetesEngine
from tutumd.engines.kubernetes.workloads import RESTARTED_AT
from tutumd.model import Outcome

pytestmark = pytest.mark.slow

PROBED = container(probed=True)
Act = Callable[[FakeRun], Outcome]


@pytest.fixture
def bed(tmp_path: Path) -> Iterator[tuple[FakeCluster, KubernetesEngine]]:
    timing = replace(TIMING, poll_s=0.15, stable_s=0.2)
    with running() as cluster, kube.opened(cluster, tmp_path, timing=timing) as engine:
        yield cluster, engine


def cut_off_at_each_step(act: Act, reset: Callable[[], None], tag: str | None = None) -> Iterator[Outcome]:
    """Perform an action once for each of its steps, kill it there, resume it, and yield the outcome."""
    for step in range(1, 100):
        run = FakeRun(kill_at=step, tag=tag)
        try:
            act(run)
        except Killed:
            yield act(run.again())
            reset()
        else:
            assert step > 2
            return


def restarts(cluster: FakeCluster) -> set[str]:
    """Return the times of the restarts that were ordered."""
    operations = [each for request in cluster.changes() if isinstance(request.body, list) for each in request.body]
    templates = [each["value"]["metadata"] for each in operations if each["path"] == "/spec/template"]
    return {metadata["annotations"][RESTARTED_AT] for metadata in templates if "annotations" in metadata}


def test_a_resumed_broken_redeploy_of_a_stateful_set_is_rolled_back(bed: tuple[FakeCluster, KubernetesEngine]) -> None:
    cluster, engine = bed
    kube.create(cluster, stateful_set(replicas=2, template=template(PROBED, name="db")))
    before = kube.spec_and_status(cluster, "statefulsets", "db")["spec"]

    def reset() -> None:
        assert len(restarts(cluster)) == 1
        assert kube.spec_and_status(cluster, "statefulsets", "db")["spec"] == before
        assert kube.ready_tags(cluster, "db") == ["v1", "v1"]
        cluster.requests.clear()

    for outcome in cut_off_at_each_step(lambda run: engine.redeploy(DB, run), reset, tag=kubelets.MISSING):
        assert (outcome.success, outcome.rolled_back) == (False, True), outcome.reason
        assert "manifest unknown" in outcome.reason


def test_raising_a_minimum_is_resumed(bed: tuple[FakeCluster, KubernetesEngine]) -> None:
    cluster, engine = bed
    opted_in = {"tutum.scale.hpa": "raise-min"}
    kube.create(cluster, deployment(template=template(PROBED), annotations=opted_in))
    cluster.store.create("horizontalpodautoscalers", autoscaler())

    def reset() -> None:
        cluster.store.change(
            ("horizontalpodautoscalers", "shop", "web-hpa"), lambda new: new["spec"].update(minReplicas=2)
        )
        cluster.store.change(("deployments", "shop", "web"), lambda new: new["spec"].update(replicas=2))

    for outcome in cut_off_at_each_step(lambda run: engine.scale(WEB, 4, run), reset):
        assert outcome.success, outcome.reason
        assert len(outcome.containers_after) == 4
