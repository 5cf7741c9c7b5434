"""A namespace of the real cluster that TUTUMD_TEST_KUBECONFIG leads to, and workloads in it.

TUTUMD_TEST_IMAGE_1 and TUTUMD_TEST_IMAGE_2 are two images of one repository that have `sh` and `sleep`.
"""

import os
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from kubernetes import client

from tests.contract.kubernetes_support import SERVER_CAP, service
from tests.support.waiting import wait_until
from tutumd.engines.kubernetes.access import find_access
from tutumd.engines.kubernetes.engine import KubernetesEngine
from tutumd.model import ContainerState, Service, ServiceSnapshot

KUBECONFIG = os.environ.get("TUTUMD_TEST_KUBECONFIG", "")
IMAGE_1 = os.environ.get("TUTUMD_TEST_IMAGE_1", "")
IMAGE_2 = os.environ.get("TUTUMD_TEST_IMAGE_2", "")
ABSENT = "tutumd-test-no-such-tag"
LIMIT_S = 300
_COMMAND = '[ -z "$BROKEN" ] || { echo "fatal: cannot start"; sleep 1; exit 3; }; echo "serving v1"; exec sleep 100000'


@dataclass(frozen=True)
class RealCluster:
    """A namespace of its own, with an engine on it."""

    namespace: str
    engine: KubernetesEngine
    apps: Any
    core: Any

    def create(
        self,
        kind: str,
        name: str = "web",
        *,
        replicas: int = 2,
        env: dict[str, str] | None = None,
        **spec: Any,
    ) -> Service:
        """Create a workload and wait until all its pods are ready."""
        labels = {"app": name}
        variables = [{"name": key, "value": value} for key, value in (env or {}).items()]
        container = {"name": "app", "image": IMAGE_1, "command": ["sh", "-c", _COMMAND], "env": variables}
        pods = {"containers": [container], "terminationGracePeriodSeconds": 1}
        body: dict[str, Any] = {
            "metadata": {"name": name},
            "spec": {
                "selector": {"matchLabels": labels},
                "template": {"metadata": {"labels": labels}, "spec": pods},
                **({} if kind == "daemonset" else {"replicas": replicas}),
                **({"serviceName": name} if kind == "statefulset" else {}),
                **spec,
            },
        }
        plural = {"deployment": "deployment", "statefulset": "stateful_set", "daemonset": "daemon_set"}[kind]
        getattr(self.apps, f"create_namespaced_{plural}")(self.namespace, body)
        created = service(f"{kind}/{self.namespace}/{name}", target=replicas)

        def runs() -> bool:
            snapshot = self.engine.inspect(created)
            return snapshot is not None and snapshot.target == snapshot.running == len(snapshot.containers)

        wait_until(runs, f"{created.selector} runs", timeout_s=LIMIT_S, pause_s=0.5)
        return created

    def snapshot(self, created: Service) -> ServiceSnapshot:
        """Return the snapshot of a service that must be there."""
        snapshot = self.engine.inspect(created)
        assert snapshot is not None
        return snapshot

    def alive(self, created: Service) -> set[str]:
        """Return the UIDs of its pods, without those that are stopping, which takes a real node seconds."""
        containers = self.snapshot(created).containers
        return {container.id for container in containers if container.state is not ContainerState.STOPPING}

    def pods(self, name: str) -> list[Any]:
        """Return the pods of a workload as the API shows them, without those that are stopping."""
        listed = self.core.list_namespaced_pod(self.namespace, label_selector=f"app={name}").items
        return [pod for pod in listed if pod.metadata.deletion_timestamp is None]

    def empty(self) -> None:
        """Remove all workloads and wait until they are gone."""
        for plural in ("deployment", "stateful_set", "daemon_set"):
            getattr(self.apps, f"delete_collection_namespaced_{plural}")(self.namespace)
        wait_until(lambda: not self.engine.discover(), "the namespace is empty", timeout_s=LIMIT_S)


def connect(namespace: str) -> KubernetesEngine:
    """Return an engine on a namespace of the cluster."""
    access = find_access(KUBECONFIG, None, os.environ)
    return KubernetesEngine("kubernetes", access, namespaces=(namespace,), server_cap=SERVER_CAP)


@contextmanager
def real_cluster() -> Iterator[RealCluster]:
    """Make a namespace, and remove it afterwards."""
    namespace = f"tutumd-test-{uuid.uuid4().hex[:8]}"
    engine = connect(namespace)
    connection = find_access(KUBECONFIG, None, os.environ).connect()
    core = client.CoreV1Api(connection)
    core.create_namespace({"metadata": {"name": namespace}})
    try:
        yield RealCluster(namespace, engine, client.AppsV1Api(connection), core)
    finally:
        core.delete_namespace(namespace)
        engine.close()
        connection.close()
