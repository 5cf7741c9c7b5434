"""Helpers for tests of the engine `kubernetes`: an engine on a cluster in memory, its workloads and pods."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.support.kubernetes.api import FakeCluster
from tests.support.kubernetes.kubelets import CRASHING, HANGING, digest_of, tag_of
from tests.support.kubernetes.workloads import NAMESPACE, REPOSITORY
from tests.support.services import service_row
from tests.support.waiting import wait_until
from tutumd.engines.kubernetes.access import find_access
from tutumd.engines.kubernetes.engine import KubernetesEngine
from tutumd.engines.kubernetes.view import describe_pod, read_pod
from tutumd.engines.rollout.timing import Timing
from tutumd.model import Service

SERVER_CAP = 10
TIMING = Timing(
    stable_s=0.6,  # less than a short-lived container lives, once it is rounded up to a second
    poll_s=0.03,
    doubt_s=0.15,
    pull_doubt_s=1.5,
    rollback_s=10.0,
)
ClusterAndEngine = tuple[FakeCluster, KubernetesEngine]
DIGESTS = {tag: digest_of(f"{REPOSITORY}:{tag}").partition("@")[2] for tag in ("v1", "v2", "v3", CRASHING, HANGING)}
_PLURALS = {"Deployment": "deployments", "StatefulSet": "statefulsets", "DaemonSet": "daemonsets"}


@contextmanager
def opened(
    cluster: FakeCluster,
    folder: Path,
    *namespaces: str,
    user: dict[str, Any] | None = None,
    timing: Timing = TIMING,
) -> Iterator[KubernetesEngine]:
    """Yield an engine on the cluster."""
    access = find_access(cluster.write_kubeconfig(folder / "kubeconfig", user=user), None, {})
    engine = KubernetesEngine("kubernetes", access, namespaces=namespaces, server_cap=SERVER_CAP, timing=timing)
    try:
        yield engine
    finally:
        engine.close()


def service(selector: str, *, target: int = 2) -> Service:
    """Return the store's row of a service."""
    return service_row(engine="kubernetes", selector=selector, name=selector.rpartition("/")[2], target=target)


WEB, DB, AGENT = map(service, ("deployment/shop/web", "statefulset/shop/db", "daemonset/shop/agent"))


def create(cluster: FakeCluster, workload: dict[str, Any], *, ready: int | None = None) -> None:
    """Create a workload and wait until `ready` of its pods are ready, by default all."""
    resource = _PLURALS[workload["kind"]]
    cluster.store.create(resource, workload)
    wanted = workload["spec"].get("replicas", 2) if ready is None else ready
    name = workload["metadata"]["name"]

    def settled() -> bool:
        status = spec_and_status(cluster, resource, name).get("status") or {}
        counted = status.get("numberReady") or status.get("readyReplicas") or 0
        return bool(counted == wanted and "observedGeneration" in status)

    wait_until(settled, f"{wanted} pods of {name} are ready")


def spec_and_status(cluster: FakeCluster, resource: str, name: str) -> dict[str, Any]:
    """Return a workload as it is stored."""
    return cluster.store.get((resource, NAMESPACE, name))


def pods(cluster: FakeCluster, name: str) -> dict[str, str]:
    """Return the tags of the images of the pods of a workload, by UID, without pods that are stopping."""
    return {
        pod["metadata"]["uid"]: tag_of(pod["spec"]["containers"][0])
        for pod in cluster.store.list("pods")
        if pod["metadata"]["labels"]["app"] == name and "deletionTimestamp" not in pod["metadata"]
    }


def is_described(cluster: FakeCluster, words: str) -> bool:
    """Return whether the engine describes a pod that is not ready with these words."""
    seen = [read_pod(pod) for pod in cluster.store.list("pods")]
    return any(words in describe_pod(pod) for pod in seen if pod.alive and not pod.ready)


def is_stopping(cluster: FakeCluster) -> bool:
    """Return whether a pod is on its way to a stop."""
    return any("deletionTimestamp" in pod["metadata"] for pod in cluster.store.list("pods"))


def ready_tags(cluster: FakeCluster, name: str) -> list[str]:
    """Return the tags of the images of the pods that are ready, sorted."""
    found = cluster.store.list("pods")
    ready = {
        pod["metadata"]["uid"]
        for pod in found
        if any(
            (condition["type"], condition["status"]) == ("Ready", "True")
            for condition in (pod.get("status") or {}).get("conditions", [])
        )
    }
    return sorted(tag for uid, tag in pods(cluster, name).items() if uid in ready)
