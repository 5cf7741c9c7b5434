"""The engine `kubernetes` on the API in memory: a Deployment with a readiness probe."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from tests.contract import kubernetes_support as kube
from tests.contract.engines.bed import SECRET, Ability, EngineBed
from tests.support.kubernetes import kubelets
from tests.support.kubernetes.api import ApiRequest, FakeCluster, running
from tests.support.kubernetes.store import Refusal
from tests.support.kubernetes.workloads import REPOSITORY, container, deployment, template
from tutumd.model import Service
from tutumd.ports.engine import Engine

_TAGS = {"unhealthy": kubelets.HANGING}
_DEPLOYMENT = ("deployments", "shop", "web")


class KubernetesEngineBed(EngineBed):
    """With 0 replicas a Deployment is stopped: there is no scaling from there up."""

    kind = "kubernetes"
    abilities = frozenset({Ability.OUTSIDE, Ability.TAGS, Ability.HEALTH, Ability.AWAY, Ability.IMAGES})
    deadline_s = 300.0

    def __init__(self, cluster: FakeCluster, folder: Path, stack: ExitStack) -> None:
        self._cluster = cluster
        self._folder = folder
        self._stack = stack
        self._target = 2
        self._cluster.controllers.log |= {
            "app": "2026-01-01T00:00:01Z serving v1\n",
            "app before": "2026-01-01T00:00:01Z fatal: cannot start\n",
        }

    @property
    def service(self) -> Service:
        return kube.service("deployment/shop/web", target=self._target)

    def engine(self) -> Engine:
        return self._stack.enter_context(kube.opened(self._cluster, self._folder))

    def create(self, count: int = 2) -> None:
        self._target = count
        self._cluster.controllers.image_of = lambda pod, image: image
        env = [{"name": name, "value": value} for name, value in SECRET.items()]
        pods = template(container(probed=True, env=env))
        kube.create(self._cluster, deployment(replicas=count, template=pods))

    def remove(self) -> None:
        store = self._cluster.store
        store.delete(_DEPLOYMENT)
        for pod in store.list("pods"):
            store.delete(("pods", "shop", pod["metadata"]["name"]))

    def release(self, version: str, tag: str = "latest") -> Mapping[str, Any]:
        if version == "missing":
            return {"tag": kubelets.MISSING}
        # Nodes that pull get another image by the same name, but none by a digest.
        image = f"{REPOSITORY}:{_TAGS.get(version, version)}"
        self._cluster.controllers.image_of = lambda pod, named: named if "@" in named else image
        return {"deadline_s": 3.0} if version == "unhealthy" else {}

    def versions(self) -> Sequence[str]:
        return kube.ready_tags(self._cluster, "web")

    def environments(self) -> Sequence[Mapping[str, str]]:
        alive = kube.pods(self._cluster, "web")
        containers = [
            pod["spec"]["containers"][0] for pod in self._cluster.store.list("pods") if pod["metadata"]["uid"] in alive
        ]
        return [{variable["name"]: variable["value"] for variable in container["env"]} for container in containers]

    def change_outside(self) -> None:
        self._cluster.store.create("deployments", deployment("other", replicas=0))

    def go_away(self) -> None:
        def refuse(_: ApiRequest) -> None:
            raise Refusal(503, "going down")

        self._cluster.before = refuse

    def come_back(self) -> None:
        self._cluster.before = lambda request: None


@contextmanager
def kubernetes_bed(folder: Path) -> Iterator[KubernetesEngineBed]:
    with running() as cluster, ExitStack() as stack:
        yield KubernetesEngineBed(cluster, folder, stack)
