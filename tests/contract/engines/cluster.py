"""The engine `kubernetes` on a real cluster: a Deployment of two images with tags of their own."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, closing, contextmanager
from typing import Any

from tests.contract.cluster_support import ABSENT, IMAGE_1, IMAGE_2, LIMIT_S, RealCluster, connect
from tests.contract.engines.bed import SECRET, Ability, EngineBed
from tests.contract.kubernetes_support import service
from tests.support.waiting import wait_until
from tutumd.model import Service
from tutumd.ports.engine import Engine

_TAGS = {"v1": IMAGE_1.rpartition(":")[2], "v2": IMAGE_2.rpartition(":")[2], "missing": ABSENT}


class ClusterBed(EngineBed):
    """The images have no health check, and nobody may stop a cluster for a test."""

    kind = "kubernetes"
    abilities = frozenset({Ability.OUTSIDE, Ability.TAGS, Ability.IMAGES})
    deadline_s = float(LIMIT_S)

    def __init__(self, cluster: RealCluster, stack: ExitStack) -> None:
        self._cluster = cluster
        self._stack = stack
        self._target = 2
        self._versions: dict[str, str] = {}

    @property
    def service(self) -> Service:
        return service(f"deployment/{self._cluster.namespace}/web", target=self._target)

    def engine(self) -> Engine:
        return self._stack.enter_context(closing(connect(self._cluster.namespace)))

    def create(self, count: int = 2) -> None:
        self._target = count
        self._cluster.create("deployment", replicas=count, env=SECRET)
        self.versions()

    def remove(self) -> None:
        self._cluster.empty()
        wait_until(lambda: not self._cluster.pods("web"), "its pods are gone", timeout_s=LIMIT_S)

    def release(self, version: str, tag: str = "latest") -> Mapping[str, Any]:
        return {"variables": {"BROKEN": "1"}} if version == "crashing" else {"tag": _TAGS[version]}

    def versions(self) -> Sequence[str]:
        # A rollback names an image by its digest: its version is that of the tag whose pods had the same ID.
        names = {IMAGE_1: "v1", IMAGE_2: "v2"}
        pods = [
            pod
            for pod in self._cluster.pods("web")
            if all(status.ready for status in pod.status.container_statuses or [])
        ]
        images = [(pod.spec.containers[0].image, pod.status.container_statuses[0].image_id) for pod in pods]
        self._versions |= {image_id: names[image] for image, image_id in images if image in names}
        return sorted(self._versions[image_id] for _, image_id in images)

    def environments(self) -> Sequence[Mapping[str, str]]:
        containers = [pod.spec.containers[0] for pod in self._cluster.pods("web")]
        return [{variable.name: variable.value for variable in container.env} for container in containers]

    def change_outside(self) -> None:
        self._cluster.create("deployment", "other", replicas=0)


@contextmanager
def cluster_bed(cluster: RealCluster) -> Iterator[ClusterBed]:
    """Yield the bed, and empty the namespace afterwards."""
    with ExitStack() as stack:
        yield ClusterBed(cluster, stack)
    cluster.empty()
