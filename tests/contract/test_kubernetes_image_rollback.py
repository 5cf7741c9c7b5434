"""Rollbacks to an image on Kubernetes: the pod template, the annotation of the workload, and what others do."""

from itertools import count
from typing import Any

import pytest

from tests.contract import kubernetes_support as kube
from tests.contract.kubernetes_support import AGENT, DB, DIGESTS, WEB, ClusterAndEngine
from tests.support.kubernetes import kubelets
from tests.support.kubernetes.api import FakeCluster
from tests.support.kubernetes.workloads import REPOSITORY, daemon_set, deployment, probed, stateful_set
from tests.support.runs import FakeRun, Killed
from tutumd.engines.kubernetes.engine import KubernetesEngine
from tutumd.errors import EngineRefusedError
from tutumd.model import Availability, ImageFacts, Outcome, Service, WantedImage

ROLLED_BACK = "tutum.image.rolled-back"
NAME = f"{REPOSITORY}:v2"
ROWS = {tag: WantedImage(number=number, digest=digest) for number, (tag, digest) in enumerate(DIGESTS.items(), 1)}


def pinned(tag: str) -> str:
    return f"{NAME}@{DIGESTS[tag]}"


def roll_back(engine: KubernetesEngine, tag: str, service: Service = WEB) -> Outcome:
    return engine.redeploy(service, FakeRun(image=ROWS[tag]))


def stored(cluster: FakeCluster, name: str = "web", resource: str = "deployments") -> tuple[str, dict[str, str]]:
    """Return the image of the template, and the annotations of the workload."""
    found = kube.spec_and_status(cluster, resource, name)
    return found["spec"]["template"]["spec"]["containers"][0]["image"], found["metadata"].get("annotations") or {}


def create(cluster: FakeCluster, **spec: Any) -> None:
    made = deployment(template=probed(), **spec)
    made["spec"]["template"]["spec"]["containers"][0]["image"] = NAME
    kube.create(cluster, made)


def test_rollbacks_keep_the_name_in_an_annotation_for_the_next_redeploy(kubernetes: ClusterAndEngine) -> None:
    cluster, engine = kubernetes
    create(cluster)
    for tag in ("v3", "v1"):
        outcome = roll_back(engine, tag)
        assert (outcome.success, outcome.reason) == (True, "")
        assert outcome.image == ImageFacts(reference=NAME, digest=DIGESTS[tag])
        assert stored(cluster) == (pinned(tag), {ROLLED_BACK: f"{pinned(tag)} {NAME}"})
        assert kube.ready_tags(cluster, "web") == [tag, tag]
    assert engine.scale(WEB, 3, FakeRun()).success
    assert engine.redeploy(WEB, FakeRun()).success
    assert stored(cluster) == (NAME, {})
    assert kube.ready_tags(cluster, "web") == ["v2"] * 3


@pytest.mark.parametrize(
    ("made", "service", "wanted"),
    [(stateful_set, DB, 3), pytest.param(daemon_set, AGENT, 2, marks=pytest.mark.nightly)],
)
@pytest.mark.slow
def test_other_workloads_are_rolled_back_too(
    kubernetes: ClusterAndEngine, made: Any, service: Service, wanted: int
) -> None:
    cluster, engine = kubernetes
    resource = f"{service.selector.partition('/')[0]}s"
    kube.create(cluster, made())
    assert engine.redeploy(service, FakeRun(tag="v2")).success
    assert roll_back(engine, "v1", service).success
    assert kube.ready_tags(cluster, service.name) == ["v1"] * wanted
    assert engine.redeploy(service, FakeRun()).success
    assert stored(cluster, service.name, resource) == (NAME, {"tutum.image.tagged": NAME})


@pytest.mark.parametrize("tag", [kubelets.HANGING, kubelets.CRASHING])
def test_a_rollback_or_a_redeploy_that_fails_restores_template_and_annotation(
    kubernetes: ClusterAndEngine, tag: str
) -> None:
    cluster, engine = kubernetes
    create(cluster, progressDeadlineSeconds=1)
    for before in ((NAME, {}), (pinned("v1"), {ROLLED_BACK: f"{pinned('v1')} {NAME}"})):
        outcome = roll_back(engine, tag)
        assert (outcome.success, outcome.rolled_back, outcome.image) == (False, True, None)
        assert stored(cluster) == before
        assert roll_back(engine, "v1").success
    cluster.controllers.image_of = lambda pod, image: image if "@" in image else f"{REPOSITORY}:{tag}"
    outcome = engine.redeploy(WEB, FakeRun())
    assert (outcome.success, outcome.rolled_back) == (False, True)
    assert stored(cluster) == (pinned("v1"), {ROLLED_BACK: f"{pinned('v1')} {NAME}"})
    cluster.controllers.image_of = lambda pod, image: image
    assert engine.redeploy(WEB, FakeRun()).success
    assert stored(cluster) == (NAME, {})


@pytest.mark.slow
def test_no_template_has_the_digest_after_a_redeploy_that_was_killed_at_any_step(kubernetes: ClusterAndEngine) -> None:
    cluster, engine = kubernetes
    create(cluster)
    for step in count(1):
        assert roll_back(engine, "v1").success
        run = FakeRun(kill_at=step)
        try:
            engine.redeploy(WEB, run)
            break
        except Killed:
            assert engine.redeploy(WEB, run.again()).success, step
        assert stored(cluster) == (NAME, {}), step
    assert step > 3
    assert stored(cluster) == (NAME, {})


def test_what_others_set_after_a_rollback_stays(kubernetes: ClusterAndEngine) -> None:
    cluster, engine = kubernetes
    create(cluster)
    assert roll_back(engine, "v1").success
    theirs = f"{NAME}@{DIGESTS['v3']}"
    key = ("deployments", "shop", "web")
    cluster.store.change(key, lambda new: new["spec"]["template"]["spec"]["containers"][0].update(image=theirs))
    assert engine.redeploy(WEB, FakeRun()).success
    assert stored(cluster) == (theirs, {})


def test_what_cannot_be_rolled_back_is_refused_untouched(kubernetes: ClusterAndEngine) -> None:
    cluster, engine = kubernetes
    cluster.store.create("deployments", deployment(paused=True))
    cluster.store.create("deployments", deployment("other", replicas=0))
    other = kube.service("deployment/shop/other")
    by_id = WantedImage(number=7, image_id=DIGESTS["v1"])
    for service, image, words in ((WEB, ROWS["v1"], "is paused"), (other, by_id, "has no digest of a registry")):
        for use in (
            lambda target=service, row=image: engine.redeploy(target, FakeRun(image=row)),
            lambda target=service, row=image: engine.plan(target, None, row),
        ):
            with pytest.raises(EngineRefusedError, match=words):
                use()
    assert cluster.changes() == []
    assert {each.name: bool(each.rollback_refusal) for each in engine.discover()} == {"web": True, "other": False}


def test_an_image_is_available_if_a_node_reports_it(kubernetes: ClusterAndEngine) -> None:
    cluster, engine = kubernetes
    names = [NAME, f"{REPOSITORY}@{DIGESTS['v1']}"]
    node = {"metadata": {"name": "node-a", "namespace": ""}, "status": {"images": [{}, {"names": names}]}}
    cluster.store.create("nodes", node)
    cluster.store.create("nodes", {"metadata": {"name": "node-b", "namespace": ""}})
    rows = [ROWS["v1"], ROWS["v2"], WantedImage(number=7, image_id=DIGESTS["v1"])]
    unknown = {1: Availability.UNKNOWN, 2: Availability.UNKNOWN, 7: Availability.NO}
    assert engine.availability(WEB, rows) == unknown | {1: Availability.LOCAL}
    cluster.allowed = lambda request: request.resource != "nodes"
    assert engine.availability(WEB, rows) == unknown
