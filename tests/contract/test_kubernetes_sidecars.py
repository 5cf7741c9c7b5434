"""Every container that lasts decides on a change on Kubernetes, not the main one alone."""

from collections.abc import Callable
from typing import Any

import pytest

from tests.contract import kubernetes_support as kube
from tests.contract.kubernetes_support import AGENT, DB, WEB, ClusterAndEngine
from tests.support.kubernetes import kubelets
from tests.support.kubernetes.api import FakeCluster
from tests.support.kubernetes.workloads import container, daemon_set, deployment, stateful_set, template
from tests.support.runs import FakeRun
from tutumd.model import Service

Make = Callable[..., dict[str, Any]]
LOGGER = {"name": "logger", "image": "registry.test/logger:v1"}
SIDECAR = {"initContainers": [{**LOGGER, "restartPolicy": "Always"}]}


def create(cluster: FakeCluster, name: str, make: Make, *, is_sidecar: bool) -> None:
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
    create(cluster, service.name, make, is_sidecar=is_sidecar)
    break_logger(cluster)
    outcome = engine.redeploy(service, FakeRun(tag="v2"))
    assert (outcome.success, outcome.rolled_back) == (False, True), outcome.reason
    assert "container logger: exited with 3" in outcome.reason
    assert set(kube.pods(cluster, service.name).values()) == {"v1"}
