"""Objects of the API are read into values: pods, snapshots, selectors, requests, autoscalers."""

from datetime import timedelta
from typing import Any

import pytest

from tests.support.kubernetes.workloads import deployment, stateful_set, template
from tests.unit.kubernetes.values import DIGEST, SINCE, WEB, pod, view, workload
from tutumd.engines.kubernetes.discover import stack_of, take_snapshot, warnings
from tutumd.engines.kubernetes.health import describe_late
from tutumd.engines.kubernetes.requests import Request
from tutumd.engines.kubernetes.view import Pod, PodContainer, read_pod
from tutumd.engines.kubernetes.workloads import Address, Kind, label_query, read_address
from tutumd.model import ContainerSnapshot, ContainerState, Port, ServiceSnapshot

POD: dict[str, Any] = {
    "metadata": {
        "uid": "p1",
        "name": "web-5d-x",
        "namespace": "shop",
        "labels": {"app": "web", "pod-template-hash": "5d"},
        "annotations": {"kubectl.kubernetes.io/restartedAt": "then"},
        "creationTimestamp": "2026-01-01T00:00:00Z",
        "ownerReferences": [{"kind": "ReplicaSet", "name": "web-5d", "controller": True}],
    },
    "spec": {
        "containers": [{"name": "app", "image": "app:v1"}],
        "initContainers": [{"name": "migrate", "image": "app:v1"}],
    },
    "status": {
        "phase": "Running",
        "conditions": [
            {"type": "Ready", "status": "True", "lastTransitionTime": "2026-01-01T00:00:00Z"},
            {"type": "PodScheduled", "status": "True", "message": "not told"},
        ],
        "containerStatuses": [
            {
                "name": "app",
                "ready": True,
                "restartCount": 1,
                "imageID": f"docker.io/library/app@{DIGEST}",
                "state": {"running": {"startedAt": "2026-01-01T00:00:00Z"}},
                "lastState": {"terminated": {"exitCode": 137, "reason": "OOMKilled"}},
            }
        ],
    },
}


def test_a_pod_is_read() -> None:
    assert read_pod(POD) == Pod(
        uid="p1",
        namespace="shop",
        name="web-5d-x",
        owner=WEB,
        restarted_at="then",
        phase="Running",
        ready=True,
        created=SINCE,
        ready_since=SINCE,
        containers=(
            PodContainer(
                name="app",
                image="app:v1",
                digest=DIGEST,
                is_from_registry=True,
                started=SINCE,
                exit_code=137,
                ended="OOMKilled",
                restarts=1,
            ),
        ),
        inits=(PodContainer(name="migrate", image="app:v1", is_lasting=False),),
        unprobed="app",
    )


def test_a_sidecar_among_the_init_containers_is_lasting() -> None:
    sidecar = {"name": "proxy", "image": "proxy:v1", "restartPolicy": "Always"}
    ended = {"name": "proxy", "restartCount": 2, "state": {"terminated": {"exitCode": 1, "message": "cannot bind"}}}
    status = {**POD["status"], "initContainerStatuses": [ended]}
    made = read_pod({**POD, "spec": {**POD["spec"], "initContainers": [sidecar]}, "status": status})
    assert made.inits == (PodContainer(name="proxy", image="proxy:v1", exit_code=1, message="cannot bind", restarts=2),)
    assert made.failing == made.inits[0]


@pytest.mark.parametrize(
    ("owner", "wanted"),
    [
        ({"kind": "StatefulSet", "name": "db", "controller": True}, Address(Kind.STATEFUL_SET, "shop", "db")),
        ({"kind": "DaemonSet", "name": "agent", "controller": True}, Address(Kind.DAEMON_SET, "shop", "agent")),
        ({"kind": "ReplicaSet", "name": "web-other", "controller": True}, None),
        ({"kind": "Job", "name": "once", "controller": True}, None),
        ({"kind": "StatefulSet", "name": "db"}, None),
    ],
)
def test_the_owner_of_a_pod(owner: dict[str, Any], wanted: Address | None) -> None:
    assert read_pod({**POD, "metadata": {**POD["metadata"], "ownerReferences": [owner]}}).owner == wanted


def test_a_new_pod_is_read() -> None:
    metadata = {"uid": "p", "name": "p", "namespace": "shop"}
    made = read_pod({"metadata": metadata, "spec": POD["spec"]})
    assert (made.phase, made.ready, made.owner, made.alive, made.failing) == ("Pending", False, None, True, None)


def test_a_snapshot_of_a_deployment() -> None:
    ports = [{"containerPort": 80}, {"containerPort": 53, "hostPort": 5353, "protocol": "UDP"}]
    main = {"name": "app", "image": "registry.test/app:v1", "command": ["run", "a b"], "ports": ports}
    annotations = {"tutum.owner": "ann", "tutum.scale.max": "7", "tutum.redeploy.order": "stop-first", "tutum.x": "1"}
    subject = workload(deployment(annotations=annotations, template=template(main)))
    crashed = PodContainer(name="app", image="registry.test/app:v1", waiting="CrashLoopBackOff", exit_code=3)
    pods = [
        pod("b", ready=False, container=crashed),
        pod("a"),
        pod("c", due=SINCE),
        pod("d", phase="Failed"),
        pod("e", ready=False, phase="Pending"),
    ]
    shown = take_snapshot(subject, pods)
    states = {container.id: container.state for container in shown.containers}
    assert states == {
        "a": ContainerState.RUNNING,
        "b": ContainerState.STOPPED,
        "c": ContainerState.STOPPING,
        "e": ContainerState.STARTING,
    }
    assert shown == ServiceSnapshot(
        selector="deployment/shop/web",
        name="web",
        target=2,
        containers=shown.containers,
        stack="shop",
        full_name="shop/web",
        alias="deployment/shop/web",
        owner="ann",
        image_name="registry.test/app:v1",
        image_digest=DIGEST,
        run_command="run 'a b'",
        deployed=SINCE,
        service_cap=7,
        warnings=(
            "the label tutum.x is unknown and not used",
            "the annotation tutum.redeploy.order has no effect on Kubernetes: the update strategy of the workload "
            "decides",
        ),
        settings=(("tutum.owner", "ann"), ("tutum.redeploy.order", "stop-first"), ("tutum.scale.max", "7")),
    )
    assert shown.containers[0] == ContainerSnapshot(
        id="a",
        name="web-a",
        state=ContainerState.RUNNING,
        image_name="registry.test/app:v1",
        image_digest=DIGEST,
        run_command="run 'a b'",
        ports=(Port(inner=80, outer=None), Port(inner=53, outer=5353, protocol="udp")),
    )


@pytest.mark.parametrize(
    ("metadata", "words"),
    [
        ({"labels": {"argocd.argoproj.io/instance": "a"}}, "Argo CD tracks it"),
        ({"labels": {"kustomize.toolkit.fluxcd.io/name": "a"}}, "Flux tracks it"),
        ({"labels": {"helm.toolkit.fluxcd.io/name": "a"}, "annotations": {"meta.helm.sh/release-name": "r"}}, "Flux"),
        ({"annotations": {"meta.helm.sh/release-name": "r"}}, "the Helm release r, whose next upgrade may undo"),
        ({"ownerReferences": [{"kind": "Kafka", "name": "k", "controller": True}]}, "the Kafka k, whose operator"),
        ({"ownerReferences": [{"kind": "Kafka", "name": "k"}]}, ""),
    ],
)
def test_tools_that_may_undo_a_change_are_named(metadata: dict[str, Any], words: str) -> None:
    made = deployment()
    made["metadata"].update(metadata)
    actual = "; ".join(warnings(workload(made)))
    assert words in actual
    assert bool(actual) == bool(words)


def test_a_stack_is_named_by_label_release_or_namespace() -> None:
    release = {"meta.helm.sh/release-name": "rel"}
    part = {"app.kubernetes.io/part-of": "store"}
    assert stack_of(workload(deployment(labels=part, annotations=release))) == "store"
    assert stack_of(workload(stateful_set(annotations=release))) == "rel"
    assert stack_of(workload(deployment())) == "shop"
    shown = take_snapshot(workload(deployment(annotations={"tutum.stack": "all", "tutum.after": "db"})), ())
    assert (shown.part_of, shown.after, shown.warnings) == ("all", ("db",), ())


@pytest.mark.parametrize("text", ["", "deployment", "deployment/shop", "pod/shop/web", "deployment//web"])
def test_a_foreign_selector_is_no_address(text: str) -> None:
    assert read_address(text) is None


def test_a_selector_is_read_back() -> None:
    for kind in Kind:
        address = Address(kind, "shop", "web")
        assert read_address(str(address)) == address


def test_label_selectors_are_written_for_a_query() -> None:
    expressions = [
        {"key": "tier", "operator": "In", "values": ["b", "a"]},
        {"key": "env", "operator": "NotIn", "values": ["test"]},
        {"key": "has", "operator": "Exists"},
        {"key": "lacks", "operator": "DoesNotExist"},
    ]
    selector = {"matchLabels": {"b": "2", "a": "1"}, "matchExpressions": expressions}
    assert label_query(selector) == "a=1,b=2,tier in (a,b),env notin (test),has,!lacks"


@pytest.mark.parametrize(
    ("request_", "path", "permission"),
    [
        (
            Request(verb="get", group="", resource="pods/log", namespace="shop", name="web-1"),
            "/api/v1/namespaces/shop/pods/web-1/log",
            'verb get on pods/log (apiGroup "") in the namespace shop',
        ),
        (
            Request(verb="list", group="apps", resource="deployments"),
            "/apis/apps/v1/deployments",
            'verb list on deployments (apiGroup "apps") in all namespaces',
        ),
        (
            Request(verb="update", group="apps", resource="statefulsets/scale", namespace="shop", name="db"),
            "/apis/apps/v1/namespaces/shop/statefulsets/db/scale",
            'verb update on statefulsets/scale (apiGroup "apps") in the namespace shop',
        ),
    ],
)
def test_the_path_and_the_permission_of_a_request(request_: Request, path: str, permission: str) -> None:
    assert (request_.path, request_.permission) == (path, permission)


CONTAINERS_READY = {"type": "ContainersReady", "status": "True"}


@pytest.mark.parametrize(
    ("conditions", "is_lost"),
    [
        ([{"type": "Ready", "status": "False"}, CONTAINERS_READY], True),
        ([{"type": "Ready", "status": "True"}, CONTAINERS_READY], False),
        ([{"type": "Ready", "status": "False", "reason": "ReadinessGatesNotReady"}, CONTAINERS_READY], False),
        ([{"type": "Ready", "status": "False", "reason": "ContainersNotReady"}], False),
        ([], False),
    ],
)
def test_a_pod_whose_node_does_not_respond_is_told_by_its_conditions(
    conditions: list[dict[str, str]], is_lost: bool
) -> None:
    read = read_pod({**POD, "spec": {**POD["spec"], "nodeName": "n1"}, "status": {"conditions": conditions}})
    assert (read.is_lost, read.node) == (is_lost, "n1")


def test_a_pod_that_was_deleted_says_by_when_it_has_to_be_gone() -> None:
    deleted = {
        "deletionTimestamp": "2026-01-01T00:00:00Z",
        "deletionGracePeriodSeconds": 30,
        "finalizers": ["example.com/hold"],
    }
    spec = {**POD["spec"], "nodeName": "n1"}
    read = read_pod({**POD, "metadata": {**POD["metadata"], **deleted}, "spec": spec})
    assert (read.alive, read.due, read.grace_s, read.finalizers) == (False, SINCE, 30, ("example.com/hold",))
    seen = view(workload(deployment()), read)
    assert describe_late(seen, SINCE) == ""
    assert describe_late(seen, SINCE + timedelta(seconds=65)) == (
        "pod web-5d-x has been terminating for 95 s: its node n1 has not removed it (kubectl describe pod web-5d-x "
        "--namespace shop)"
    )
