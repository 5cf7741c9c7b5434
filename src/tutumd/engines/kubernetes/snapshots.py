"""What the rest of tutumd sees of a workload."""

import shlex
from collections.abc import Iterable, Sequence

from tutumd.engines.kubernetes.pods import Pod, PodContainer
from tutumd.engines.kubernetes.workloads import Address, Workload
from tutumd.engines.labels import (
    IGNORE,
    KEEP_IMAGES,
    ORDER,
    OWNER,
    SERVICE,
    SKIP_UNCHANGED,
    Json,
    Wanted,
    is_true,
    read_wanted,
)
from tutumd.model import ContainerSnapshot, ContainerState, Port, ServiceSnapshot

_PART_OF = "app.kubernetes.io/part-of"
_HELM_RELEASE = "meta.helm.sh/release-name"
# Whose mark says that a tool puts the workload back to what a repository says.
_TRACKERS = (
    ("labels", "argocd.argoproj.io/instance", "Argo CD"),
    ("annotations", "argocd.argoproj.io/tracking-id", "Argo CD"),
    ("labels", "kustomize.toolkit.fluxcd.io/name", "Flux"),
    ("labels", "helm.toolkit.fluxcd.io/name", "Flux"),
)
_WITHOUT_EFFECT = {
    ORDER: "the update strategy of the workload decides",
    KEEP_IMAGES: "nodes clean up their images by themselves",
    SERVICE: "a workload has its own name",
    SKIP_UNCHANGED: "only the nodes know which image a tag stands for, and only once they have pulled it",
}


def is_shown(workload: Workload) -> bool:
    """Tell whether a workload is not annotated to be ignored."""
    return not is_true(workload.annotations.get(IGNORE))


def snapshots_of(workloads: Iterable[Workload], pods: Iterable[Pod]) -> tuple[ServiceSnapshot, ...]:
    """Make the snapshots of those that are shown, in the order of their selectors, each with its own of the pods."""
    by_owner: dict[Address, list[Pod]] = {}
    for pod in pods:
        if pod.owner is not None:
            by_owner.setdefault(pod.owner, []).append(pod)
    shown = sorted((one for one in workloads if is_shown(one)), key=lambda one: str(one.address))
    return tuple(snapshot(one, by_owner.get(one.address, ())) for one in shown)


def snapshot(workload: Workload, pods: Iterable[Pod]) -> ServiceSnapshot:
    """Make the snapshot of a workload. Its containers are its pods that have not ended.

    Args:
        pods: Its own.
    """
    shown = sorted((pod for pod in pods if pod.alive or pod.deleting), key=lambda pod: (str(pod.created), pod.name))
    stopped = workload.is_stopped
    created = [pod.created for pod in shown if pod.created and pod.alive]
    wanted = wanted_of(workload)
    image, _, pinned = workload.main["image"].partition("@")
    return ServiceSnapshot(
        selector=str(workload.address),
        name=workload.address.name,
        target=workload.stopped_replicas if stopped else workload.replicas,
        containers=tuple(_container(workload, pod) for pod in shown),
        stack=stack_of(workload),
        owner=workload.annotations.get(OWNER) or None,
        stopped=stopped,
        image_name=image,
        image_digest=running_digest(workload, shown) or pinned or None,
        run_command=run_command(workload.main),
        deployed=max(created, default=None),
        service_cap=wanted.service_cap,
        warnings=(*wanted.problems, *_without_effect(workload), *warnings(workload)),
    )


def wanted_of(workload: Workload) -> Wanted:
    """Read what the annotations of a workload ask for."""
    return read_wanted([workload.annotations])


def stack_of(workload: Workload) -> str:
    """Return what the workload is a part of: as its labels say, else its Helm release, else its namespace."""
    labels = workload.metadata.get("labels") or {}
    return str(labels.get(_PART_OF) or workload.annotations.get(_HELM_RELEASE) or workload.address.namespace)


def warnings(workload: Workload) -> tuple[str, ...]:
    """Name those who may undo what is changed: operators, GitOps tools, Helm."""
    found = []
    owner: Json = next((one for one in workload.metadata.get("ownerReferences") or () if one.get("controller")), {})
    if owner:
        found.append(f"it belongs to the {owner['kind']} {owner['name']}, whose operator may undo changes")
    tools = [tool for part, mark, tool in _TRACKERS if (workload.metadata.get(part) or {}).get(mark)]
    if tools:
        found.append(f"{tools[0]} tracks it and may undo changes: image, replicas and annotations")
    elif release := workload.annotations.get(_HELM_RELEASE):
        found.append(f"it belongs to the Helm release {release}, whose next upgrade may undo a changed image or number")
    return tuple(found)


def running_digest(workload: Workload, pods: Iterable[Pod]) -> str | None:
    """Return the digest that all ready pods run; None where they differ or do not tell."""
    name = workload.main["name"]
    digests = {pod.container(name).digest for pod in pods if pod.alive and pod.ready}
    return digests.pop() if len(digests) == 1 else None


def run_command(container: Json) -> str:
    """Write the command that the workload gives; empty where it is the image's own."""
    words: Sequence[str] = [*(container.get("command") or ()), *(container.get("args") or ())]
    return shlex.join(words)


def _container(workload: Workload, pod: Pod) -> ContainerSnapshot:
    main = pod.container(workload.main["name"])
    return ContainerSnapshot(
        id=pod.uid,
        name=pod.name,
        state=_state(pod, main),
        image_name=main.image.partition("@")[0],
        image_digest=main.digest,
        run_command=run_command(workload.main),
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
    if pod.deleting:
        return ContainerState.STOPPING
    if pod.ready:
        return ContainerState.RUNNING
    crashed = pod.trouble is not None or (pod.phase == "Running" and main.started is None)
    return ContainerState.STOPPED if crashed else ContainerState.STARTING


def _without_effect(workload: Workload) -> tuple[str, ...]:
    return tuple(
        f"the annotation {name} has no effect on Kubernetes: {why}"
        for name, why in _WITHOUT_EFFECT.items()
        if name in workload.annotations
    )
