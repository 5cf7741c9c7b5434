"""Rows that a `web` which was taken over could write, on a cluster: no command, no other image, no other workload."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.contract import kubernetes_support as kube
from tests.contract.forged_support import TakenOver, taken_over
from tests.contract.kubernetes_support import ClusterAndEngine
from tests.support.kubernetes.api import FakeCluster
from tests.support.kubernetes.workloads import deployment, probed
from tests.support.runs import FakeRun, once_at
from tutumd.engines.rollout.journal import Stage
from tutumd.errors import EngineRefusedError
from tutumd.model import Verb
from tutumd.worker.journal_seal import JournalSeal

HIDDEN = "deployment/shop/hidden"
DEFINITION = {"command": "id", "envvars": {}, "working_dir": "", "autorestart": "OFF"}
VERBS = ((Verb.REDEPLOY, None), (Verb.SCALE, 3), (Verb.SCALEUP, 3), (Verb.START, None), (Verb.STOP, None))


@pytest.fixture
def rows(kubernetes: ClusterAndEngine, tmp_path: Path) -> Iterator[TakenOver]:
    """The rows of a cluster with the Deployment `web`, and with `hidden`, which is to be ignored."""
    cluster, engine = kubernetes
    kube.create(cluster, deployment(template=probed(), annotations={"tutum.scale.max": "4"}))
    kube.create(cluster, deployment("hidden", annotations={"tutum.ignore": "true"}))
    with taken_over(tmp_path, engine) as made:
        yield made


def test_a_forged_journal_changes_no_workload(cluster: FakeCluster, rows: TakenOver) -> None:
    redeploy: dict[str, object] = {
        "before": {"restarted_at": "", "main": "app"},
        "old": "",
        "image": "registry.test/evil:v1",
        "restarted_at": "2026-01-01T00:00:00.000001Z",
        "min_ready_before": None,
        "min_ready": None,
        "running_before": [],
        "image_before": None,
        "result": None,
    }
    for stage in Stage:
        rows.write_action("web", journal={**redeploy, "stage": stage.value})
        outcome = rows.perform()
        assert not outcome.success
        assert outcome.reason.startswith("another version of tutumd, or a worker with another key, began this action")
    assert cluster.changes() == []


def test_no_variable_is_set_that_no_handler_could_set(cluster: FakeCluster, rows: TakenOver) -> None:
    rows.write_action("web", variables={"LD_PRELOAD": "/evil.so"})
    assert rows.perform().reason.startswith("refused: the tag or a variable")
    rows.write_action("web", tag="80/evil/app:v1")
    assert rows.perform().reason.startswith("refused: the tag or a variable")
    assert cluster.changes() == []


@pytest.mark.parametrize(
    "selector", [HIDDEN, "deployment/shop/../../../hidden/deployments/web", "deployment/other/web"], ids=str
)
def test_a_row_cannot_lead_to_a_workload_that_is_no_service(
    kubernetes: ClusterAndEngine, rows: TakenOver, selector: str
) -> None:
    cluster, engine = kubernetes
    rows.write_service("web", selector=selector, definition=DEFINITION)
    for verb, target in VERBS:
        for journal in ({}, {"stage": "order"}):
            rows.write_action("web", verb, target=target, journal=journal)
            assert not rows.perform().success, (verb, journal)
    assert cluster.changes() == []
    with pytest.raises(EngineRefusedError):
        engine.logs(kube.service(selector), 10)
    assert engine.plan(kube.service(selector), None).refused


@pytest.mark.slow
def test_the_cap_of_a_workload_holds_for_a_target_that_a_row_names(cluster: FakeCluster, rows: TakenOver) -> None:
    for verb in (Verb.SCALE, Verb.SCALEUP):
        rows.write_action("web", verb, target=5)
        assert not rows.perform().success
    assert cluster.changes() == []


def test_a_workload_that_is_to_be_ignored_from_now_on_is_left_as_it_is(kubernetes: ClusterAndEngine) -> None:
    cluster, engine = kubernetes
    kube.create(cluster, deployment(template=probed()))

    def ignore() -> None:
        key = ("deployments", "shop", "web")
        cluster.store.change(key, lambda new: new["metadata"].update(annotations={"tutum.ignore": "true"}))

    run = FakeRun(tag="v2", on_log=once_at("restarting", ignore))
    with pytest.raises(EngineRefusedError, match=r"the deployment web is left as it is: it has the annotation tutum"):
        engine.redeploy(kube.WEB, run)
    assert [request.verb for request in cluster.changes()] == ["patch"], "nothing but the restart itself"


def test_a_worker_with_another_key_says_that_it_does_not_know_what_was_begun(
    cluster: FakeCluster, rows: TakenOver
) -> None:
    rows.write_action("web", tag="v2")
    rows.perform_until(lambda stored: isinstance(stored, dict) and bool(stored.get("ordered")))
    changes = len(cluster.changes())
    outcome = rows.perform(JournalSeal(b"the key of another worker"))
    assert (outcome.success, outcome.rolled_back) == (False, False)
    assert outcome.reason.endswith("the service was left as it is; check what it runs, then redeploy it")
    assert len(cluster.changes()) == changes
