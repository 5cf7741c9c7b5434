"""A server that is killed at any step of an action on Kubernetes goes on with it and ends it as if nothing had been."""

import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.contract import kubernetes_support as kube
from tests.contract.kubernetes_support import DB, TIMING, WEB
from tests.support.kubernetes import controllers
from tests.support.kubernetes.api import FakeCluster, running
from tests.support.kubernetes.workloads import autoscaler, container, deployment, stateful_set, template
from tests.support.runs import FakeRun, Killed
from tests.support.waiting import wait_until
from tutumd.engines.kubernetes import KubernetesEngine
from tutumd.engines.kubernetes.workloads import RESTARTED_AT
from tutumd.model import Outcome

PROBED = container(probed=True)
Act = Callable[[FakeRun], Outcome]


@pytest.fixture
def bed(tmp_path: Path) -> Iterator[tuple[FakeCluster, KubernetesEngine]]:
    timing = replace(TIMING, poll_s=0.15, stable_s=0.2)
    with running() as cluster, kube.opened(cluster, tmp_path, timing=timing) as engine:
        yield cluster, engine


class StepsOfChanges(FakeRun):
    """Steps are what is saved and what is sent, and the first wait, not every look."""

    _waited = False

    def sleep(self, seconds: float) -> None:
        if self._waited:
            time.sleep(seconds)
        else:
            self._waited = True
            super().sleep(seconds)


def cut_off_at_each_step(
    act: Act, reset: Callable[[], None], kind: type[FakeRun] = FakeRun, **options: object
) -> Iterator[Outcome]:
    """Perform an action again and again, cut off one step later each time, and yield what came of going on with it."""
    for step in range(1, 100):
        run = kind(kill_at=step, **options)  # type: ignore[arg-type] # passed on as they are
        try:
            act(run)
        except Killed:
            yield act(run.again())
            reset()
        else:
            assert step > 3
            return


def restarts(cluster: FakeCluster) -> set[str]:
    """The times of the restarts that were ordered."""
    templates = [seen.body["spec"]["template"] for seen in cluster.changes() if "strategic" in seen.content_type]
    return {one["metadata"]["annotations"][RESTARTED_AT] for one in templates}


def test_a_redeploy_goes_on_and_restarts_once(bed: tuple[FakeCluster, KubernetesEngine]) -> None:
    cluster, engine = bed
    kube.create(cluster, deployment(template=template(PROBED)))

    def reset() -> None:
        assert len(restarts(cluster)) == 1
        assert kube.ready_tags(cluster, "web") == ["v2", "v2"]
        kube_put(cluster, "deployments", "web")

    for outcome in cut_off_at_each_step(lambda run: engine.redeploy(WEB, run), reset, tag="v2"):
        assert outcome.success, outcome.reason
        assert set(outcome.containers_after).isdisjoint(outcome.containers_before)


@pytest.mark.parametrize("kind", ["deployments", "statefulsets"])
def test_a_broken_redeploy_goes_on_to_its_way_back(bed: tuple[FakeCluster, KubernetesEngine], kind: str) -> None:
    cluster, engine = bed
    name, service = ("web", WEB) if kind == "deployments" else ("db", DB)
    make = deployment if kind == "deployments" else stateful_set
    kube.create(cluster, make(replicas=2, template=template(PROBED, name=name)))
    before = kube.spec_and_status(cluster, kind, name)["spec"]

    def reset() -> None:
        assert len(restarts(cluster)) == 1
        assert kube.spec_and_status(cluster, kind, name)["spec"] == before
        assert kube.ready_tags(cluster, name) == ["v1", "v1"]
        cluster.requests.clear()

    acts = cut_off_at_each_step(lambda run: engine.redeploy(service, run), reset, tag=controllers.MISSING)
    for outcome in acts:
        assert (outcome.success, outcome.rolled_back) == (False, True), outcome.reason
        assert "manifest unknown" in outcome.reason


@pytest.mark.parametrize("tag", ["v2", controllers.SHORT_LIVED])
def test_without_a_probe_a_redeploy_goes_on_and_leaves_no_setting_behind(
    bed: tuple[FakeCluster, KubernetesEngine], tag: str
) -> None:
    cluster, engine = bed
    good = tag == "v2"
    kube.create(cluster, deployment())
    before = kube.spec_and_status(cluster, "deployments", "web")["spec"]
    old: dict[str, str] = {}

    def reset() -> None:
        assert len(restarts(cluster)) == 1
        after = kube.spec_and_status(cluster, "deployments", "web")["spec"]
        if good:
            assert {**after, "template": before["template"]} == before
            kube_put(cluster, "deployments", "web", template())
        else:
            assert after == before
            assert kube.pods(cluster, "web") == old
        cluster.requests.clear()
        old.update(kube.pods(cluster, "web"))

    old.update(kube.pods(cluster, "web"))
    redeploys = cut_off_at_each_step(lambda run: engine.redeploy(WEB, run), reset, StepsOfChanges, tag=tag)
    for outcome in redeploys:
        assert (outcome.success, outcome.rolled_back) == (good, not good), outcome.reason
        assert kube.ready_tags(cluster, "web") == (["v2", "v2"] if good else ["v1", "v1"])
        assert good or "CrashLoopBackOff: it exited with 3" in outcome.reason


def test_scaling_goes_on_to_the_same_number(bed: tuple[FakeCluster, KubernetesEngine]) -> None:
    cluster, engine = bed
    kube.create(cluster, deployment(template=template(PROBED)))

    def reset() -> None:
        assert kube.ready_tags(cluster, "web") == ["v1"] * 4
        assert engine.scale(WEB, 2, FakeRun()).success

    for outcome in cut_off_at_each_step(lambda run: engine.scale(WEB, 4, run), reset):
        assert outcome.success, outcome.reason
        assert (len(outcome.containers_before), len(outcome.containers_after)) == (2, 4)


def test_stop_and_start_go_on_and_remember_the_number(bed: tuple[FakeCluster, KubernetesEngine]) -> None:
    cluster, engine = bed
    kube.create(cluster, deployment(replicas=3, template=template(PROBED)))
    stopped = kube.service(WEB.selector, target=0)

    def start() -> None:
        snapshot = engine.inspect(WEB)
        assert snapshot is not None
        assert (snapshot.stopped, snapshot.target, snapshot.containers) == (True, 3, ())
        assert engine.start(stopped, FakeRun()).success

    def stop() -> None:
        assert kube.ready_tags(cluster, "web") == ["v1"] * 3
        assert "annotations" not in kube.spec_and_status(cluster, "deployments", "web")["metadata"] or (
            kube.spec_and_status(cluster, "deployments", "web")["metadata"]["annotations"] == {}
        )
        assert engine.stop(WEB, FakeRun()).success

    for outcome in cut_off_at_each_step(lambda run: engine.stop(WEB, run), start):
        assert outcome.success, outcome.reason
    for outcome in cut_off_at_each_step(lambda run: engine.start(stopped, run), stop):
        assert outcome.success, outcome.reason


def test_raising_a_minimum_goes_on(bed: tuple[FakeCluster, KubernetesEngine]) -> None:
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


def kube_put(cluster: FakeCluster, resource: str, name: str, first: dict[str, Any] | None = None) -> None:
    """Put a workload back to its first template, and wait until that runs."""
    first = first or template(PROBED, name=name)
    cluster.store.change((resource, "shop", name), lambda new: new["spec"].update(template=first))
    wait_until(lambda: kube.ready_tags(cluster, name) == ["v1", "v1"], "v1 runs again")
    cluster.requests.clear()
