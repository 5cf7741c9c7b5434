"""How long a rollout on Kubernetes may take without progress.

The clock of the run jumps; that of the cluster does not.
"""

import pytest

from tests.contract import kubernetes_support as kube
from tests.contract.kubernetes_support import WEB, ClusterAndEngine
from tests.support.kubernetes import kubelets
from tests.support.kubernetes.workloads import deployment, probed
from tests.support.runs import FakeRun
from tutumd.model import RunLimits

SERVER = RunLimits()


def jumping(tag: str, *, at_wait_s: float = 0.0, at_progress_s: float = 0.0) -> FakeRun:
    """Return a run under the server's limits for which so much time passes at each wait, and at each progress."""
    run: FakeRun = FakeRun(
        tag=tag or None,
        deadline_s=SERVER.timeout_s,
        stall_s=SERVER.stall_s,
        on_sleep=lambda: run.skip(at_wait_s),
        on_progress=lambda run: run.skip(at_progress_s),
    )
    return run


@pytest.mark.slow
def test_a_rollout_that_the_cluster_allows_600_s_is_not_undone_before(kubernetes: ClusterAndEngine) -> None:
    cluster, engine = kubernetes
    kube.create(cluster, deployment(template=probed(), progressDeadlineSeconds=600))
    outcome = engine.redeploy(WEB, jumping("v2", at_progress_s=400))
    assert outcome.success, outcome
    outcome = engine.redeploy(WEB, jumping(kubelets.HANGING, at_wait_s=100))
    assert (outcome.success, outcome.rolled_back) == (False, True)
    assert outcome.reason.startswith("there was no progress for 630 s (0 of 2 new pods are ready): pod web-")
    assert kube.ready_tags(cluster, "web") == ["v2", "v2"]
