"""A workload with its pods at one moment, and what keeps a pod from running."""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

from tutumd.engines.dockerapi.times import parse_time
from tutumd.engines.kubernetes.workloads import Address, Kind, Workload, restarted_at
from tutumd.engines.labels import Json

# Reasons for which a waiting container does not start by itself
# (kubernetes: pkg/kubelet/images/types.go, pkg/kubelet/container/sync_result.go, pkg/kubelet/kuberuntime).
_HOPELESS = frozenset(
    {
        "CrashLoopBackOff",
        "CreateContainerConfigError",
        "CreateContainerError",
        "ErrImageNeverPull",
        "ErrImagePull",
        "ImageInspectError",
        "ImagePullBackOff",
        "InvalidImageName",
        "PostStartHookError",
        "PreCreateHookError",
        "PreStartHookError",
        "RunContainerError",
        "SignatureValidationFailed",
    }
)
# Reasons of a container that was not started yet (kubernetes: pkg/kubelet/kubelet_pods.go).
_BEFORE_START = frozenset({"ContainerCreating", "PodInitializing"})
_DIGEST = re.compile(r"sha256:[0-9a-f]{64}\Z")


@dataclass(frozen=True, slots=True, kw_only=True)
class PodContainer:
    """One container of a pod.

    Attributes:
        digest: Of the image that it runs; None if the node does not say.
        waiting, message: The engine's reason and words for why it does not run; empty if it runs.
        exit_code, ended: How it ended, now or the time before; None and empty if it never did.
    """

    name: str
    image: str
    digest: str | None = None
    ready: bool = False
    started: datetime | None = None
    waiting: str = ""
    message: str = ""
    exit_code: int | None = None
    ended: str = ""
    restarts: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Pod:
    """One pod.

    Attributes:
        owner: The workload that it belongs to; None if it belongs to none.
        restarted_at: The value in the template that it was made from.
        ready_since: When it became ready; None if it is not ready.
        unscheduled: Why no node accepts it; empty if one does.
        pulling: Its node pulls the image of a container, or runs init containers first. Known since Kubernetes 1.29.
        inits: Its init containers, in order.
        alive: It runs or shall run.
        failing: The container that does not start by itself; None if there is none.
        started: Number of its containers that have run at any time.
    """

    uid: str
    namespace: str
    name: str
    owner: Address | None
    restarted_at: str
    phase: str
    deleting: bool
    ready: bool
    created: datetime | None
    containers: tuple[PodContainer, ...]
    inits: tuple[PodContainer, ...] = ()
    ready_since: datetime | None = None
    unscheduled: str = ""
    pulling: bool = False

    @property
    def alive(self) -> bool:
        return not self.deleting and self.phase not in ("Succeeded", "Failed")

    @property
    def failing(self) -> PodContainer | None:
        containers = (*self.inits, *self.containers)
        return next((container for container in containers if container.waiting in _HOPELESS), None)

    @property
    def started(self) -> int:
        return sum(bool(each.started) or each.exit_code is not None for each in (*self.inits, *self.containers))

    def container(self, name: str) -> PodContainer:
        """Return one of its containers; the first if it has none of that name."""
        return next((container for container in self.containers if container.name == name), self.containers[0])


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkloadView:
    """A workload and its own pods at one moment.

    Attributes:
        pods: All of them; `alive` are those that run or shall run, `ready` those of them that work.
        stopping: Number of pods that are stopping.
    """

    workload: Workload
    pods: tuple[Pod, ...]

    @property
    def alive(self) -> tuple[Pod, ...]:
        return tuple(pod for pod in self.pods if pod.alive)

    @property
    def ready(self) -> tuple[Pod, ...]:
        return tuple(pod for pod in self.alive if pod.ready)

    @property
    def stopping(self) -> int:
        return sum(pod.deleting for pod in self.pods)

    def of(self, restarted_at: str) -> tuple[Pod, ...]:
        """Return the living pods that the restart at that time made."""
        return tuple(pod for pod in self.alive if pod.restarted_at == restarted_at)


def read_pod(json: Json) -> Pod:
    """Return a pod of the API."""
    metadata, spec, status = json["metadata"], json["spec"], json.get("status") or {}
    conditions = {condition["type"]: condition for condition in status.get("conditions") or ()}
    scheduled, readiness, sandbox = (
        conditions.get(name) or {} for name in ("PodScheduled", "Ready", "PodReadyToStartContainers")
    )
    containers = _containers(spec.get("containers"), status.get("containerStatuses"))
    ready = readiness.get("status") == "True"
    return Pod(
        uid=metadata["uid"],
        namespace=metadata["namespace"],
        name=metadata["name"],
        owner=_owner(metadata),
        restarted_at=restarted_at(json),
        phase=status.get("phase") or "Pending",
        deleting=bool(metadata.get("deletionTimestamp")),
        ready=ready,
        ready_since=parse_time(readiness.get("lastTransitionTime")) if ready else None,
        created=parse_time(metadata.get("creationTimestamp")),
        containers=containers,
        inits=_containers(spec.get("initContainers"), status.get("initContainerStatuses")),
        unscheduled=str(scheduled.get("message") or "") if scheduled.get("status") == "False" else "",
        pulling=sandbox.get("status") == "True" and any(each.waiting in _BEFORE_START for each in containers),
    )


def describe_pod(pod: Pod) -> str:
    """Return what is wrong with a pod."""
    container = pod.failing
    if container is not None:
        text = f"pod {pod.name}, container {container.name}: {container.waiting}"
        if container.exit_code is not None and container.waiting == "CrashLoopBackOff":
            ended = f" ({container.ended})" if container.ended and container.ended != "Error" else ""
            return f"{text}: it exited with {container.exit_code}{ended}"
        return f"{text}: {container.message}" if container.message else text
    if pod.unscheduled:
        return f"pod {pod.name} has no node: {pod.unscheduled}"
    return f"pod {pod.name} " + ("runs but is not ready" if pod.phase == "Running" else f"is {pod.phase.lower()}")


def find_culprit(pods: Iterable[Pod]) -> Pod | None:
    """Return the pod to blame: one with a failing container, else one that is not ready."""
    unready = [pod for pod in pods if pod.alive and not pod.ready]
    failing = [pod for pod in unready if pod.failing is not None]
    return next(iter(failing or unready), None)


def controller_of(metadata: Json) -> Json:
    """Return the reference to the object that controls this one; empty if there is none."""
    references: Iterable[Json] = metadata.get("ownerReferences") or ()
    return next((reference for reference in references if reference.get("controller")), {})


def _owner(metadata: Json) -> Address | None:
    owner = controller_of(metadata)
    kind, name = owner.get("kind"), str(owner.get("name") or "")
    if kind == "ReplicaSet":
        # kubernetes: pkg/controller/deployment/sync.go names a ReplicaSet after its Deployment and this label.
        suffix = f"-{(metadata.get('labels') or {}).get('pod-template-hash')}"
        kind, name = "Deployment" if name.endswith(suffix) else None, name.removesuffix(suffix)
    elif kind == Kind.DEPLOYMENT.value:
        return None
    return Address(Kind(kind), metadata["namespace"], name) if kind in {kind.value for kind in Kind} else None


def _containers(specs: Iterable[Json] | None, statuses: Iterable[Json] | None) -> tuple[PodContainer, ...]:
    by_name = {status["name"]: status for status in statuses or ()}
    return tuple(_container(spec, by_name.get(spec["name"]) or {}) for spec in specs or ())


def _container(spec: Json, status: Json) -> PodContainer:
    state, last = status.get("state") or {}, status.get("lastState") or {}
    waiting = state.get("waiting") or {}
    ended = state.get("terminated") or last.get("terminated") or {}
    digest = _DIGEST.search(str(status.get("imageID") or ""))
    return PodContainer(
        name=spec["name"],
        image=spec["image"],
        digest=digest.group() if digest else None,
        ready=bool(status.get("ready")),
        started=parse_time((state.get("running") or {}).get("startedAt")),
        waiting=str(waiting.get("reason") or ""),
        message=str(waiting.get("message") or ""),
        exit_code=ended.get("exitCode"),
        ended=str(ended.get("reason") or ""),
        restarts=int(status.get("restartCount") or 0),
    )
