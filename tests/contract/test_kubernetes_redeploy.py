"""A redeploy on Kubernetes: what is sent, what is waited for, and what is there after it went wrong."""

import re
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.contract import kubernetes_support as kube
from tests.contract.kubernetes_support import AGENT, DB, WEB
from tests.contract.swarm_support import Watched
from tests.support.kubernetes import controllers
from tests.support.kubernetes.api import FakeCluster, Seen
from tests.support.kubernetes.store import Refusal
from tests.support.kubernetes.workloads import container, daemon_set, deployment, stateful_set, template
from tests.support.runs import FakeRun
from tests.support.waiting import wait_until
from tutumd.engines.kubernetes import KubernetesEngine
from tutumd.engines.kubernetes.workloads import RESTARTED_AT
from tutumd.errors import EngineRefusedError, EngineUnavailableError

DIGEST = {tag: controllers.digest_of(f"registry.test/app:{tag}").partition("@")[2] for tag in ("v1", "v2")}
Bed = tuple[FakeCluster, KubernetesEngine]


@pytest.fixture
def bed(tmp_path: Path) -> Iterator[Bed]:
    with kube.cluster_and_engine(tmp_path) as both:
        yield both


def probed(tag: str = "v1", **more: Any) -> dict[str, Any]:
    return template(container(tag=tag, probed=True, **more))


def test_a_restart_sends_one_patch_and_replaces_every_pod(bed: Bed) -> None:
    cluster, engine = bed
    kube.create(cluster, deployment(template=probed()))
    before, old = kube.spec_and_status(cluster, "deployments", "web"), kube.pods(cluster, "web")
    with Watched(lambda: len(kube.ready_tags(cluster, "web"))) as watched:
        outcome = engine.redeploy(WEB, FakeRun())
    assert outcome.success, outcome.reason
    assert outcome.reason.startswith("nodes that have registry.test/app:v1 already use their copy")
    assert (outcome.image_before, outcome.image_after) == (DIGEST["v1"], DIGEST["v1"])
    assert set(outcome.containers_before) == set(old)
    assert set(outcome.containers_after) == set(kube.pods(cluster, "web"))
    assert set(outcome.containers_after).isdisjoint(old)
    assert min(watched.seen) == 2
    (patch,) = cluster.changes()
    at = patch.body["spec"]["template"]["metadata"]["annotations"][RESTARTED_AT]
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z", at)
    assert patch == Seen(
        verb="patch",
        group="apps",
        resource="deployments",
        namespace="shop",
        name="web",
        query={"fieldManager": "tutumd"},
        content_type="application/strategic-merge-patch+json",
        body={
            "metadata": {"resourceVersion": patch.body["metadata"]["resourceVersion"]},
            "spec": {"template": {"metadata": {"annotations": {RESTARTED_AT: at}}}},
        },
    )
    after = kube.spec_and_status(cluster, "deployments", "web")["spec"]
    del after["template"]["metadata"]["annotations"]
    assert after == before["spec"]


def test_tag_and_variables_are_patched_by_name_and_the_digest_is_told(bed: Bed) -> None:
    cluster, engine = bed
    env = [{"name": "KEPT", "value": "1"}, {"name": "OLD", "value": "1"}, {"name": "FROM", "valueFrom": {"x": "y"}}]
    sidecar = {"name": "proxy", "image": "registry.test/proxy:v1"}
    migrate = {"name": "migrate", "image": "registry.test/app:v1"}
    kube.create(
        cluster, deployment(template=template(container(env=env, probed=True), sidecar, initContainers=[migrate]))
    )
    run = FakeRun(tag="v2", variables={"OLD": None, "FROM": "b", "ADDED": "c", "ABSENT": None})
    outcome = engine.redeploy(WEB, run)
    assert (outcome.success, outcome.reason) == (True, "")
    assert (outcome.image_before, outcome.image_after) == (DIGEST["v1"], DIGEST["v2"])
    (patch,) = cluster.changes()
    assert patch.body["spec"]["template"]["spec"] == {
        "containers": [
            {
                "name": "app",
                "image": "registry.test/app:v2",
                "env": [
                    {"name": "OLD", "$patch": "delete"},
                    {"name": "FROM", "value": "b", "valueFrom": None},
                    {"name": "ADDED", "value": "c"},
                ],
            }
        ],
        "initContainers": [{"name": "migrate", "image": "registry.test/app:v2"}],
    }
    spec = kube.spec_and_status(cluster, "deployments", "web")["spec"]["template"]["spec"]
    assert spec["containers"][0]["env"] == [
        {"name": "KEPT", "value": "1"},
        {"name": "FROM", "value": "b"},
        {"name": "ADDED", "value": "c"},
    ]
    assert spec["containers"][1] == sidecar


def test_a_container_without_a_probe_has_to_run_for_a_while_and_the_setting_is_put_back(bed: Bed) -> None:
    cluster, engine = bed
    kube.create(cluster, deployment())
    before = kube.spec_and_status(cluster, "deployments", "web")["spec"]
    assert engine.redeploy(WEB, FakeRun()).success
    first, last = cluster.changes()
    assert first.body["spec"]["minReadySeconds"] == 1
    assert last.content_type == "application/merge-patch+json"
    assert last.body["spec"] == {"minReadySeconds": None}
    after = kube.spec_and_status(cluster, "deployments", "web")["spec"]
    del after["template"]["metadata"]["annotations"]
    assert after == before


@pytest.mark.parametrize(
    ("tag", "words"),
    [
        (controllers.MISSING, "ErrImagePull: manifest unknown"),
        (controllers.CRASHING, "CrashLoopBackOff: it exited with 3"),
        (controllers.UNCONFIGURED, 'CreateContainerConfigError: secret "key" not found'),
        (controllers.SHORT_LIVED, "CrashLoopBackOff: it exited with 3"),
    ],
)
def test_a_broken_image_is_put_back_while_the_old_pods_serve(bed: Bed, tag: str, words: str) -> None:
    cluster, engine = bed
    cluster.controllers.log |= {
        "app before": "2026-01-01T00:00:01Z starting\n2026-01-01T00:00:02Z fatal: no database\n",
        "app": "",
    }
    kube.create(cluster, deployment())
    before, old = kube.spec_and_status(cluster, "deployments", "web")["spec"], kube.pods(cluster, "web")
    with Watched(lambda: kube.ready_tags(cluster, "web").count("v1")) as watched:
        outcome = engine.redeploy(WEB, FakeRun(tag=tag))
    assert (outcome.success, outcome.rolled_back) == (False, True)
    assert outcome.reason.startswith("the rollout failed: pod web-")
    assert words in outcome.reason
    crashed = tag in (controllers.CRASHING, controllers.SHORT_LIVED)
    assert outcome.log_tail == ("starting\nfatal: no database" if crashed else "")
    assert min(watched.seen) == 2
    assert kube.spec_and_status(cluster, "deployments", "web")["spec"] == before
    assert kube.pods(cluster, "web") == old
    assert set(outcome.containers_after) == set(outcome.containers_before) == set(old)
    assert (outcome.image_before, outcome.image_after) == (DIGEST["v1"], DIGEST["v1"])


@pytest.mark.parametrize(
    ("tag", "words"),
    [
        (controllers.HANGING, "runs but is not ready"),
        (controllers.HOMELESS, "has no node: 0/2 nodes are available: 2 Insufficient cpu."),
    ],
)
def test_a_rollout_that_never_ends_is_put_back_at_the_deadline(bed: Bed, tag: str, words: str) -> None:
    cluster, engine = bed
    kube.create(cluster, deployment(template=probed(), annotations={"tutum.redeploy.timeout": "1"}))
    outcome = engine.redeploy(WEB, FakeRun(tag=tag))
    assert (outcome.success, outcome.rolled_back) == (False, True)
    assert outcome.reason.startswith(
        "the rollout did not end before the deadline (0 of 2 new pods are ready): pod web-"
    )
    assert words in outcome.reason
    assert kube.ready_tags(cluster, "web") == ["v1", "v1"]


def test_a_rollout_that_the_cluster_gives_up_is_put_back(bed: Bed) -> None:
    cluster, engine = bed
    kube.create(cluster, deployment(template=probed(), progressDeadlineSeconds=1))
    outcome = engine.redeploy(WEB, FakeRun(tag=controllers.HANGING))
    assert (outcome.success, outcome.rolled_back) == (False, True)
    assert "ProgressDeadlineExceeded" in outcome.reason


def test_the_status_from_before_the_restart_is_not_believed(bed: Bed) -> None:
    cluster, engine = bed
    kube.create(cluster, deployment(template=probed()))
    cluster.controllers.frozen = True
    run = FakeRun()
    thread = threading.Timer(0.5, lambda: setattr(cluster.controllers, "frozen", False))
    thread.start()
    outcome = engine.redeploy(WEB, run)
    thread.join()
    assert outcome.success
    assert set(outcome.containers_after).isdisjoint(outcome.containers_before)


@pytest.mark.parametrize("tag", ["v2", controllers.MISSING, controllers.CRASHING])
def test_a_stateful_set_is_replaced_or_put_back_with_its_stuck_pod(bed: Bed, tag: str) -> None:
    cluster, engine = bed
    kube.create(cluster, stateful_set(template=template(container(probed=True), name="db")))
    before = kube.spec_and_status(cluster, "statefulsets", "db")["spec"]
    outcome = engine.redeploy(DB, FakeRun(tag=tag))
    if tag == "v2":
        assert (outcome.success, outcome.reason) == (True, "")
        assert kube.ready_tags(cluster, "db") == ["v2", "v2", "v2"]
        return
    assert (outcome.success, outcome.rolled_back) == (False, True)
    assert "pod db-2, container app" in outcome.reason
    assert kube.ready_tags(cluster, "db") == ["v1", "v1", "v1"]
    assert kube.spec_and_status(cluster, "statefulsets", "db")["spec"] == before
    (delete,) = (seen for seen in cluster.changes() if seen.verb == "delete")
    assert (delete.resource, delete.name) == ("pods", "db-2")


def test_a_stuck_pod_that_may_not_be_deleted_is_told_and_the_setting_is_put_back(bed: Bed) -> None:
    cluster, engine = bed
    cluster.controllers.log["app before"] = "2026-01-01T00:00:02Z fatal: no database\n"
    kube.create(cluster, stateful_set(template=template(container(), name="db")))
    before = kube.spec_and_status(cluster, "statefulsets", "db")["spec"]
    cluster.allowed = lambda seen: seen.verb != "delete"
    outcome = engine.redeploy(DB, FakeRun(tag=controllers.CRASHING))
    assert (outcome.success, outcome.rolled_back) == (False, True)
    assert outcome.reason.startswith("the rollout failed: pod db-2, container app")
    assert "after the rollback a pod that is stuck at the failed version could not be deleted" in outcome.reason
    assert 'Missing permission: verb delete on pods (apiGroup "") in the namespace shop' in outcome.reason
    assert outcome.log_tail == "fatal: no database"
    assert kube.spec_and_status(cluster, "statefulsets", "db")["spec"] == before


def test_a_daemon_sets_pod_that_is_still_stopping_is_none_that_works_again(bed: Bed) -> None:
    cluster, engine = bed
    slow = template(container(tag=controllers.SLOW, probed=True), name="agent", terminationGracePeriodSeconds=2)
    kube.create(cluster, daemon_set(template=slow))
    outcome = engine.redeploy(AGENT, FakeRun(deadline_s=0.5))
    assert (outcome.success, outcome.rolled_back) == (False, True)
    assert len(outcome.containers_after) == 2, outcome.reason


def test_what_an_api_server_forbids_while_it_begins_is_tried_again(bed: Bed) -> None:
    cluster, engine = bed
    kube.create(cluster, deployment())
    before = kube.spec_and_status(cluster, "deployments", "web")["spec"]
    patches: list[Seen] = []

    def allow(seen: Seen) -> bool:
        if seen.verb != "patch":
            return True
        patches.append(seen)
        # Its first try is forbidden, for the order and for the way back.
        return [one.content_type for one in patches].count(seen.content_type) > 1

    cluster.allowed = allow
    outcome = engine.redeploy(WEB, FakeRun(tag=controllers.MISSING))
    assert (outcome.success, outcome.rolled_back) == (False, True), outcome.reason
    assert "the rollback failed" not in outcome.reason
    assert kube.spec_and_status(cluster, "deployments", "web")["spec"] == before


def test_a_stuck_pod_that_may_not_be_deleted_for_a_moment_is_freed_all_the_same(bed: Bed) -> None:
    cluster, engine = bed
    kube.create(cluster, stateful_set(template=template(container(), name="db")))
    deletes: list[Seen] = []

    def allow(seen: Seen) -> bool:
        deletes.extend([seen] if seen.verb == "delete" else [])
        return seen.verb != "delete" or len(deletes) > 1

    cluster.allowed = allow
    outcome = engine.redeploy(DB, FakeRun(tag=controllers.CRASHING))
    assert outcome.rolled_back
    assert "could not be freed" not in outcome.reason
    assert kube.ready_tags(cluster, "db") == ["v1", "v1", "v1"]


def test_the_way_back_takes_into_account_how_long_pods_may_take_to_stop(bed: Bed, tmp_path: Path) -> None:
    cluster, _ = bed
    slow = template(container(probed=True), name="db", terminationGracePeriodSeconds=2)
    kube.create(cluster, stateful_set(template=slow))
    with kube.opened(cluster, tmp_path, timing=replace(kube.TIMING, rollback_s=1.5)) as engine:
        outcome = engine.redeploy(DB, FakeRun(tag=controllers.HANGING, deadline_s=1.5))
    assert (outcome.success, outcome.rolled_back) == (False, True)
    assert "after the rollback" not in outcome.reason
    assert len(outcome.containers_after) == 3


@pytest.mark.parametrize("hidden", ["deployments", "pods"])
def test_a_rollout_that_may_not_be_looked_at_for_a_while_is_gone_on_with(bed: Bed, hidden: str) -> None:
    cluster, engine = bed
    kube.create(cluster, deployment())
    before = kube.spec_and_status(cluster, "deployments", "web")["spec"]

    def forbid(seen: Seen) -> None:
        if seen.verb == "patch":
            cluster.allowed = lambda seen: seen.resource != hidden

    cluster.after = forbid
    run = FakeRun(tag=controllers.MISSING)
    with pytest.raises(EngineUnavailableError, match=f"Missing permission: verb (get|list) on {hidden}"):
        engine.redeploy(WEB, run)
    again = run.again()
    with pytest.raises(EngineUnavailableError, match=f"Missing permission: verb (get|list) on {hidden}"):
        engine.redeploy(WEB, again)
    cluster.after, cluster.allowed = lambda seen: None, lambda seen: True
    outcome = engine.redeploy(WEB, again.again())
    assert (outcome.success, outcome.rolled_back) == (False, True)
    assert "manifest unknown" in outcome.reason
    assert kube.spec_and_status(cluster, "deployments", "web")["spec"] == before


def test_a_partition_moves_only_the_pods_from_it_on_and_says_so(bed: Bed) -> None:
    cluster, engine = bed
    strategy = {"type": "RollingUpdate", "rollingUpdate": {"partition": 2}}
    pods = template(container(probed=True), name="db")
    kube.create(cluster, stateful_set(updateStrategy=strategy, template=pods))
    outcome = engine.redeploy(DB, FakeRun(tag="v2"))
    assert outcome.success
    assert outcome.reason == "the partition 2 keeps 2 of 3 pods as they are"
    assert kube.ready_tags(cluster, "db") == ["v1", "v1", "v2"]


@pytest.mark.parametrize("tag", ["v2", controllers.MISSING])
def test_a_daemon_set_is_replaced_on_every_node_or_put_back(bed: Bed, tag: str) -> None:
    cluster, engine = bed
    kube.create(cluster, daemon_set(template=template(container(probed=True), name="agent")))
    outcome = engine.redeploy(AGENT, FakeRun(tag=tag))
    good = tag == "v2"
    assert (outcome.success, outcome.rolled_back) == (good, not good)
    assert kube.ready_tags(cluster, "agent") == (["v2", "v2"] if good else ["v1", "v1"])


ON_DELETE = {"type": "OnDelete"}
BEYOND = {"type": "RollingUpdate", "rollingUpdate": {"partition": 3}}


@pytest.mark.parametrize(
    ("workload", "words"),
    [
        (deployment(paused=True), "is paused: resume it first"),
        (stateful_set(updateStrategy=ON_DELETE), "update strategy OnDelete"),
        (daemon_set(updateStrategy=ON_DELETE), "update strategy OnDelete"),
        (stateful_set(updateStrategy=BEYOND), "partition 3 and 3 replicas"),
    ],
    ids=["paused", "OnDelete", "OnDelete daemons", "partition"],
)
def test_what_would_replace_nothing_is_refused_untouched(bed: Bed, workload: dict[str, Any], words: str) -> None:
    cluster, engine = bed
    kind, name = workload["kind"], workload["metadata"]["name"]
    cluster.store.create(f"{kind.lower()}s", workload)
    target = kube.service(f"{kind.lower()}/shop/{name}")
    with pytest.raises(EngineRefusedError, match=words):
        engine.redeploy(target, FakeRun())
    assert words in engine.plan(target, None).refused
    assert cluster.changes() == []


def test_a_stopped_deployment_is_changed_and_stays_stopped(bed: Bed) -> None:
    cluster, engine = bed
    kube.create(cluster, deployment(replicas=0))
    outcome = engine.redeploy(WEB, FakeRun(tag="v2"))
    assert outcome.success
    assert outcome.reason.startswith("the service is stopped and stays stopped")
    assert kube.pods(cluster, "web") == {}


def test_a_clash_is_tried_again_with_the_new_version(bed: Bed) -> None:
    cluster, engine = bed
    kube.create(cluster, deployment(template=probed()))
    scaled = iter([3, 4])

    def scale(seen: Seen) -> None:
        if seen.verb == "patch" and (number := next(scaled, None)):
            cluster.store.change(("deployments", "shop", "web"), lambda new: new["spec"].update(replicas=number))

    cluster.before = scale
    outcome = engine.redeploy(WEB, FakeRun(tag="v2"))
    assert outcome.success
    assert len(cluster.changes()) == 3
    assert kube.ready_tags(cluster, "web") == ["v2"] * 4


def test_somebody_elses_change_supersedes_ours_and_is_left_alone(bed: Bed) -> None:
    cluster, engine = bed
    kube.create(cluster, deployment(template=probed()))

    def deploy(new: Any) -> None:
        new["spec"]["template"]["spec"]["containers"][0]["image"] = "registry.test/app:v9"

    run = FakeRun(tag=controllers.HANGING)

    def deploy_after_ours() -> None:
        wait_until(lambda: bool(cluster.changes()), "ours was sent")
        cluster.store.change(("deployments", "shop", "web"), deploy)

    after_ours = threading.Thread(target=deploy_after_ours)
    after_ours.start()
    outcome = engine.redeploy(WEB, run)
    after_ours.join()
    assert (outcome.success, outcome.rolled_back) == (False, False)
    assert outcome.reason == (
        "superseded: while this redeploy ran, somebody else changed the service; it now is at registry.test/app:v9"
    )
    wait_until(lambda: kube.ready_tags(cluster, "web") == ["v9", "v9"], "theirs runs")


def test_a_tool_that_puts_the_template_back_is_named(bed: Bed) -> None:
    cluster, engine = bed
    tracked = {"argocd.argoproj.io/tracking-id": "shop:apps/Deployment:shop/web"}
    kube.create(cluster, deployment(template=probed(), annotations=tracked))
    key = ("deployments", "shop", "web")
    template_before = cluster.store.get(key)["spec"]["template"]

    def heal(seen: Seen) -> None:
        if cluster.store.get(key)["spec"]["template"] != template_before:
            cluster.store.change(key, lambda new: new["spec"].update(template=template_before))

    cluster.before = heal
    run = FakeRun(tag="v2")
    outcome = engine.redeploy(WEB, run)
    assert (outcome.success, outcome.rolled_back) == (False, False)
    assert outcome.reason == (
        "superseded: somebody else restored the pod template while this redeploy ran; "
        "Argo CD tracks it and may undo changes: image, replicas and annotations"
    )
    assert "Argo CD tracks it and may undo changes: image, replicas and annotations" in run.lines


@pytest.mark.parametrize("when", ["before", "after"])
def test_a_cluster_that_goes_away_around_a_change_leaves_the_run_to_be_gone_on_with(bed: Bed, when: str) -> None:
    cluster, engine = bed
    kube.create(cluster, deployment(template=probed()))

    def away(seen: Seen) -> None:
        if seen.verb == "patch":
            raise Refusal(503, "etcdserver: leader changed")

    setattr(cluster, when, away)
    run = FakeRun(tag="v2")
    with pytest.raises(EngineUnavailableError, match=r"cannot patch deployments web .*leader changed"):
        engine.redeploy(WEB, run)
    cluster.before = cluster.after = lambda seen: None
    outcome = engine.redeploy(WEB, run.again())
    assert outcome.success, outcome.reason
    assert len(cluster.changes()) == (2 if when == "before" else 1)


def test_no_time_left_means_that_nothing_is_begun(bed: Bed) -> None:
    cluster, engine = bed
    kube.create(cluster, deployment())
    outcome = engine.redeploy(WEB, FakeRun(deadline_s=0))
    assert (outcome.success, outcome.rolled_back) == (False, False)
    assert outcome.reason == "no time was left to begin the redeploy: nothing was changed"
    assert cluster.changes() == []


def test_pods_of_a_workload_with_a_like_name_are_not_ours(bed: Bed) -> None:
    cluster, engine = bed
    kube.create(cluster, deployment())
    other = deployment("web-2")
    other["spec"]["template"]["metadata"]["labels"] = {"app": "web"}
    other["spec"]["selector"] = {"matchLabels": {"app": "web"}}
    kube.create(cluster, other)
    snapshot = engine.inspect(WEB)
    assert snapshot is not None
    assert (snapshot.running, len(snapshot.containers)) == (2, 2)
    assert replace(snapshot, warnings=()) in engine.discover()
