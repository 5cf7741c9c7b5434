"""Number of ready pods at every moment of a redeploy on Kubernetes, of a good image or a broken one."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from tests.contract import kubernetes_support as kube
from tests.contract.kubernetes_support import AGENT, DB, WEB, ClusterAndEngine
from tests.support.kubernetes import kubelets
from tests.support.kubernetes.api import FakeCluster
from tests.support.kubernetes.workloads import container, daemon_set, deployment, stateful_set, template
from tests.support.runs import FakeRun, late_when

TAGS = ("v2", kubelets.MISSING, kubelets.CRASHING)
# That a probe answers and its pod dies later, or that one without a probe does nothing, only the probe could tell.
CASES = [
    *((tag, probed) for tag in TAGS for probed in (True, False)),
    (kubelets.HANGING, True),
    (kubelets.SHORT_LIVED, False),
]


@contextmanager
def counted(cluster: FakeCluster, name: str) -> Iterator[list[int]]:
    """Yield the number of ready pods after each change of the cluster, in order."""
    counts: list[int] = []
    with cluster.store.lock:
        cluster.store.on_change = lambda: counts.append(len(kube.ready_tags(cluster, name)))
    yield counts
    with cluster.store.lock:
        cluster.store.on_change = lambda: None


@pytest.mark.slow
@pytest.mark.parametrize(("tag", "probed"), CASES)
@pytest.mark.parametrize("replicas", [1, 2, 3])
def test_a_deployment_never_has_fewer_ready_pods_than_it_wants(
    kubernetes: ClusterAndEngine, tag: str, replicas: int, probed: bool
) -> None:
    cluster, engine = kubernetes
    kube.create(cluster, deployment(replicas=replicas, template=template(container(probed=probed))))
    with counted(cluster, "web") as counts:
        run = late_when(lambda: kube.is_described(cluster, "runs but is not ready"), tag=tag)
        outcome = engine.redeploy(WEB, run)
    assert outcome.success is (tag == "v2"), outcome.reason
    assert outcome.rolled_back is not outcome.success
    assert len(counts) > 5
    assert min(counts) == replicas


@pytest.mark.slow
@pytest.mark.parametrize("made", [stateful_set, daemon_set])
@pytest.mark.parametrize("tag", ["v2", kubelets.CRASHING])
def test_pods_that_go_one_by_one_are_missing_one_at_a_time(kubernetes: ClusterAndEngine, made: Any, tag: str) -> None:
    cluster, engine = kubernetes
    service, name, wanted = (DB, "db", 3) if made is stateful_set else (AGENT, "agent", 2)
    kube.create(cluster, made(template=template(name=name)))
    with counted(cluster, name) as counts:
        outcome = engine.redeploy(service, FakeRun(tag=tag))
    assert outcome.success is (tag == "v2"), outcome.reason
    assert min(counts) == wanted - 1
    assert kube.ready_tags(cluster, name) == [tag if tag == "v2" else "v1"] * wanted
