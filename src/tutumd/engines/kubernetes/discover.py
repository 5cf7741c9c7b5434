"""Informers, which keep copies of objects current by a watch, and the snapshots of workloads made from them."""

import shlex
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing, suppress
from threading import Event, Lock
from typing import Any, Generic, TypeVar

from tutumd.engines.kubernetes.api import Cluster
from tutumd.engines.kubernetes.requests import ExpiredError, events
from tutumd.engines.kubernetes.view import Pod, PodContainer, controller_of
from tutumd.engines.kubernetes.workloads import Address, Workload
from tutumd.engines.labels import (
    DRAIN,
    KEEP_IMAGES,
    ORDER,
    OWNER,
    SERVICE,
    Json,
    describe_lasting_tag,
    found_settings,
    group_facts,
    original_image,
    parse_labels,
)
from tutumd.errors import EngineRefusedError
from tutumd.model import ContainerSnapshot, ContainerState, ImageFacts, Port, ServiceSnapshot

T = TypeVar("T")


class Informer(Generic[T]):
    """All objects of one kind in one namespace (empty: in all), each as the result of `read`.

    One thread follows; any thread may read.
    """

    def __init__(self, cluster: Cluster, kind: str, namespace: str, read: Callable[[Json], T]) -> None:
        self.kind = kind
        self.namespace = namespace
        self._cluster = cluster
        self._read = read
        self._objects: dict[str, T] | None = None
        self._response: Any = None
        self._lock = Lock()

    def objects(self) -> list[T]:
        """Return the objects: the copies, or the cluster's objects while nobody follows it."""
        with self._lock:
            if self._objects is not None:
                return list(self._objects.values())
        return [self._read(json) for json in self._cluster.list_all(self.kind, self.namespace)[0]]

    def follow(self, changed: Callable[[], None], stopping: Event) -> None:
        """Keep the copies current and call `changed` after each change, until `stopping` is set.

        Raises:
            EngineUnavailableError, EngineRefusedError: The objects cannot be followed any more, also after `interrupt`.
        """
        try:
            while not stopping.is_set():
                with suppress(ExpiredError):
                    self._follow_list(changed, stopping)
        finally:
            self._objects = None

    def interrupt(self) -> None:
        """End a read in progress, after `stopping` is set."""
        response = self._response
        if response is not None:
            with suppress(OSError, ValueError, RuntimeError):  # it has ended by itself
                response.shutdown()

    def _follow_list(self, changed: Callable[[], None], stopping: Event) -> None:
        listed, version = self._cluster.list_all(self.kind, self.namespace)
        self._objects = objects = {json["metadata"]["uid"]: self._read(json) for json in listed}
        changed()
        while not stopping.is_set():
            # The API ends each watch after a while.
            with closing(self._cluster.watch(self.kind, self.namespace, version)) as self._response:
                for event, json in events(self._response):
                    version = json["metadata"]["resourceVersion"]
                    if event != "BOOKMARK" and self._apply(objects, event, json):
                        changed()
                    if stopping.is_set():
                        break

    def _apply(self, objects: dict[str, T], event: str, json: Json) -> bool:
        """Apply one event to the copies; return whether that changed the result of `read`."""
        uid = json["metadata"]["uid"]
        value = None if event == "DELETED" else self._read(json)
        if objects.get(uid) == value:
            return False
        with self._lock:
            if value is None:
                del objects[uid]
            else:
                objects[uid] = value
        return True


_HELM_RELEASE = "meta.helm.sh/release-name"
# Marks of tools that restore a workload from a repository.
_TRACKERS = (
    ("labels", "argocd.argoproj.io/instance", "Argo CD"),
    ("annotations", "argocd.argoproj.io/tracking-id", "Argo CD"),
    ("labels", "kustomize.toolkit.fluxcd.io/name", "Flux"),
    ("labels", "helm.toolkit.fluxcd.io/name", "Flux"),
)
_WITHOUT_EFFECT = {
    ORDER: "the update strategy of the workload decides",
    DRAIN: "a preStop hook and terminationGracePeriodSeconds say how long an old pod serves on",
    KEEP_IMAGES: "nodes clean up their images by themselves",
    SERVICE: "a workload has its own name",
}


def take_snapshots(workloads: Iterable[Workload], pods: Iterable[Pod]) -> tuple[ServiceSnapshot, ...]:
    """Return the snapshots of the workloads that are not ignored, ordered by selector."""
    by_owner: dict[Address | None, list[Pod]] = {}
    for pod in pods:
        by_owner.setdefault(pod.owner, []).append(pod)
    shown = sorted((each for each in workloads if each.is_shown), key=lambda workload: str(workload.address))
    return tuple(take_snapshot(workload, by_owner.get(workload.address, ())) for workload in shown)


def take_snapshot(workload: Workload, pods: Iterable[Pod]) -> ServiceSnapshot:
    """Return the snapshot of a workload. Its containers are its pods that have not ended.

    Args:
        pods: Its own.
    """
    shown = sorted((pod for pod in pods if pod.alive or pod.due), key=lambda pod: (str(pod.created), pod.name))
    labels = parse_labels([workload.annotations])
    image, _, pinned = workload.main["image"].partition("@")
    ineffective = (
        f"the annotation {name} has no effect on Kubernetes: {reason}"
        for name, reason in _WITHOUT_EFFECT.items()
        if name in workload.annotations
    )
    return ServiceSnapshot(
        selector=str(workload.address),
        name=workload.address.name,
        target=workload.replicas_before_stop if workload.is_stopped else workload.replicas,
        containers=tuple(_container(workload, pod) for pod in shown),
        stack=stack_of(workload),
        full_name=f"{workload.address.namespace}/{workload.address.name}",
        alias=str(workload.address),
        owner=workload.annotations.get(OWNER) or None,
        stopped=workload.is_stopped,
        image_name=image,
        image_digest=running_digest(workload, shown) or pinned or None,
        run_command=_run_command(workload),
        deployed=max([pod.created for pod in shown if pod.created and pod.alive], default=None),
        service_cap=labels.service_cap,
        warnings=(*labels.problems, *ineffective, *warnings(workload)),
        left_tags=describe_lasting_tag(
            workload.annotations, original_image(workload.annotations, workload.main["image"])
        ),
        settings=found_settings([workload.annotations]),
        image=running_image(workload, shown),
        rollback_refusal=workload.refusal,
        **group_facts(workload.annotations),
    )


def stack_of(workload: Workload) -> str:
    """Return the stack: the part-of label, else the Helm release, else the namespace."""
    return str(
        (workload.metadata.get("labels") or {}).get("app.kubernetes.io/part-of")
        or workload.annotations.get(_HELM_RELEASE)
        or workload.address.namespace
    )


def warnings(workload: Workload) -> Iterator[str]:
    """Yield warnings about operators, GitOps tools and Helm, which may undo changes."""
    if owner := controller_of(workload.metadata):
        yield f"it belongs to the {owner['kind']} {owner['name']}, whose operator may undo changes"
    tools = [tool for part, mark, tool in _TRACKERS if (workload.metadata.get(part) or {}).get(mark)]
    if tools:
        yield f"{tools[0]} tracks it and may undo changes: image, replicas and annotations"
    elif release := workload.annotations.get(_HELM_RELEASE):
        yield f"it belongs to the Helm release {release}, whose next upgrade may undo a changed image or number"


def running_digest(workload: Workload, pods: Iterable[Pod]) -> str | None:
    """Return the digest that all ready pods run; None if they differ or do not report it."""
    name = workload.main["name"]
    digests = {pod.container(name).digest for pod in pods if pod.alive and pod.ready}
    return digests.pop() if len(digests) == 1 else None


def running_image(workload: Workload, pods: Iterable[Pod]) -> ImageFacts | None:
    """Return the image that all ready pods run, with its digest in the registry; None if they differ or do not report
    it.
    """
    main, running = workload.main, [pod.container(workload.main["name"]) for pod in pods if pod.alive and pod.ready]
    name, _, pinned = main["image"].partition("@")
    digests = {
        pinned if pinned and each.image == main["image"] else (each.digest or "") * each.is_from_registry
        for each in running
    }
    digest = digests.pop() if len(digests) == 1 else ""
    return ImageFacts(reference=name, digest=digest) if digest else None


def result_digest(workload: Workload, pods: Iterable[Pod]) -> str | None:
    """Return the digest that ready pods run. If they differ, for example because a tag moved between two pulls: the
    digest of the newest pod.
    """
    return _of_ready(running_digest, workload, pods)


def result_image(workload: Workload, pods: Iterable[Pod]) -> ImageFacts | None:
    """Return the image that the pods of a successful rollout run. If their digests differ: the newest pod's."""
    name, _, pinned = workload.main["image"].partition("@")
    return ImageFacts(reference=name, digest=pinned) if pinned else _of_ready(running_image, workload, pods)


def _of_ready(find: Callable[[Workload, Sequence[Pod]], T | None], workload: Workload, pods: Iterable[Pod]) -> T | None:
    """Return what `find` finds for the ready pods together, else for the newest of them."""
    ready = sorted((pod for pod in pods if pod.alive and pod.ready), key=lambda pod: str(pod.created))
    return find(workload, ready) or find(workload, ready[-1:])


def node_digests(cluster: Cluster) -> frozenset[str]:
    """Return the digests of images that nodes report; empty without the permission. A node reports 50 at most."""
    try:
        nodes, _ = cluster.list_all("nodes", "")
    except EngineRefusedError:
        return frozenset()
    images = [image for node in nodes for image in (node.get("status") or {}).get("images") or ()]
    return frozenset(name.partition("@")[2] for image in images for name in image.get("names") or ())


def _run_command(workload: Workload) -> str:
    """Return the command in the template; empty if the image's own command applies."""
    return shlex.join([*(workload.main.get("command") or ()), *(workload.main.get("args") or ())])


def _container(workload: Workload, pod: Pod) -> ContainerSnapshot:
    main = pod.container(workload.main["name"])
    return ContainerSnapshot(
        id=pod.uid,
        name=pod.name,
        state=_state(pod, main),
        image_name=main.image.partition("@")[0],
        image_digest=main.digest,
        run_command=_run_command(workload),
        exit_code=main.exit_code,
        started=main.started,
        ports=tuple(
            Port(
                inner=port["containerPort"],
                outer=port.get("hostPort") or None,
                protocol=str(port.get("protocol") or "TCP").lower(),
            )
            for port in workload.main.get("ports") or ()
        ),
    )


def _state(pod: Pod, main: PodContainer) -> ContainerState:
    if pod.due:
        return ContainerState.STOPPING
    if pod.ready:
        return ContainerState.RUNNING
    return (
        ContainerState.STOPPED
        if pod.failing is not None or (pod.phase == "Running" and main.started is None)
        else ContainerState.STARTING
    )
