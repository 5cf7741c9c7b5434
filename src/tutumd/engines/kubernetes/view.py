"""A workload with its pods at one moment, and the obstacles to a pod."""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

from tutumd.engines.dockerapi.documents import parse_time
from tutumd.engines.kubernetes.workloads import Address, Kind, Workload, find_unprobed, is_sidecar, restarted_at
from tutumd.engines.labels import Json, pull_code
from tutumd.engines.rollout import restarts_text
from tutumd.errors import Cause, ReasonCode

# Reasons for which a waiting container does not start by itself (kubernetes: pkg/kubelet/images/types.go,
# pkg/kubelet/container/sync_result.go, pkg/kubelet/kuberuntime).
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
# Reasons of a container that has not started yet (kubernetes: pkg/kubelet/kubelet_pods.go).
_BEFORE_START = frozenset({"ContainerCreating", "PodInitializing"})
_NEVER_RAN = ("StartError", "ContainerCannotRun")  # before the first instruction (containerd, dockershim)
_DIGEST = re.compile(r"sha256:[0-9a-f]{64}\Z")


@dataclass(frozen=True, slots=True, kw_only=True)
class PodContainer:
    """One container of a pod.

    Attributes:
        digest: Digest of the running image; None if the node does not report it.
        is_from_registry: Whether that is a digest of a registry, and not of a copy on the node alone.
        started: Start time; None unless it runs.
        waiting: The engine's reason why it does not run yet, or does not run again; empty if it runs or has ended.
        message: The engine's message about the wait or the end.
        exit_code, ended: How its last instance ended; None and empty if none has ended.
        is_lasting: Whether it runs as long as its pod does, which includes sidecars. An init container must end first.
        is_failing: Whether it does not run, and this look gives no sign that it will.
        has_exited: Whether it has ended although it is lasting. It may have been started again since.
    """

    name: str
    image: str
    digest: str | None = None
    is_from_registry: bool = False
    started: datetime | None = None
    waiting: str = ""
    message: str = ""
    exit_code: int | None = None
    ended: str = ""
    restarts: int = 0
    is_lasting: bool = True

    @property
    def has_ended(self) -> bool:
        """Whether it ended and was not started again. Some kubelets show this state until the next start.

        kubernetes/kubernetes#133066; others show CrashLoopBackOff.
        """
        return self.exit_code is not None and not self.waiting and self.started is None

    @property
    def is_failing(self) -> bool:
        # The kubelet repeats a failed init container; many wait in this way for their dependencies.
        has_failed = self.is_lasting or (self.exit_code != 0 and self.restarts > 0)
        return self.waiting in _HOPELESS or (self.has_ended and has_failed)

    @property
    def has_exited(self) -> bool:
        return self.is_lasting and (self.restarts > 0 or self.exit_code is not None)


@dataclass(frozen=True, slots=True, kw_only=True)
class Pod:
    """One pod.

    Attributes:
        owner: The workload that owns it; None if there is none.
        restarted_at: The value in the template of the pod.
        ready_since: Time at which it became ready; None if it is not ready.
        unscheduled: Why no node accepts it; empty if one does.
        pulling: Whether its node pulls the image of a container, or runs init containers first. Known since Kubernetes
            1.29.
        inits: Its init containers, in order.
        unprobed: Name of a lasting container without a readiness probe; empty if there is none.
        node: Name of its node; empty if it has none.
        due: Time by which it must be gone; None unless it was deleted.
        grace_s: Seconds from its deletion to that moment.
        is_lost: Whether its node no longer responds.
        alive: Whether it runs or should run.
        failing: The first container that is failing; None if there is none.
        exited: The first container that has exited; None if there is none. It is meaningful for new pods only: older
            pods may have been started again for any reason.
        started: Number of its containers that have ever run.
    """

    uid: str
    namespace: str
    name: str
    owner: Address | None
    restarted_at: str
    phase: str
    ready: bool
    created: datetime | None
    containers: tuple[PodContainer, ...]
    inits: tuple[PodContainer, ...] = ()
    ready_since: datetime | None = None
    unscheduled: str = ""
    pulling: bool = False
    unprobed: str = ""
    node: str = ""
    due: datetime | None = None
    grace_s: int = 0
    finalizers: tuple[str, ...] = ()
    is_lost: bool = False

    @property
    def alive(self) -> bool:
        return self.due is None and self.phase not in ("Succeeded", "Failed")

    @property
    def failing(self) -> PodContainer | None:
        return next((container for container in (*self.inits, *self.containers) if container.is_failing), None)

    @property
    def exited(self) -> PodContainer | None:
        return next((container for container in (*self.containers, *self.inits) if container.has_exited), None)

    @property
    def started(self) -> int:
        return sum(bool(each.started) or each.exit_code is not None for each in (*self.inits, *self.containers))

    def container(self, name: str) -> PodContainer:
        """Return the container with this name, else the first container."""
        return next((container for container in self.containers if container.name == name), self.containers[0])


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkloadView:
    """A workload and its own pods at one moment.

    Attributes:
        pods: All pods; `alive` are the pods that run or should run, `ready` those of them that work.
        unprobed: Name of a lasting container without a readiness probe; empty if there is none. Pods may have
            containers that the template does not have: an admission webhook adds them.
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
    def unprobed(self) -> str:
        return next(
            filter(None, (find_unprobed(self.workload.template["spec"]), *(pod.unprobed for pod in self.alive))), ""
        )

    @property
    def stopping(self) -> int:
        return sum(pod.due is not None for pod in self.pods)

    def late(self, now: datetime) -> tuple[Pod, ...]:
        """Return the pods that should have stopped by now."""
        return tuple(pod for pod in self.pods if pod.due is not None and pod.due < now)

    def of(self, restarted_at: str) -> tuple[Pod, ...]:
        """Return the living pods that the restart at that time created."""
        return tuple(pod for pod in self.alive if pod.restarted_at == restarted_at)


def read_pod(json: Json) -> Pod:
    """Return a pod of the API."""
    metadata, spec, status = json["metadata"], json["spec"], json.get("status") or {}
    conditions = {condition["type"]: condition for condition in status.get("conditions") or ()}
    scheduled, readiness, contained, sandbox = (
        conditions.get(name) or {} for name in ("PodScheduled", "Ready", "ContainersReady", "PodReadyToStartContainers")
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
        ready=ready,
        ready_since=parse_time(readiness.get("lastTransitionTime")) if ready else None,
        created=parse_time(metadata.get("creationTimestamp")),
        containers=containers,
        inits=_containers(spec.get("initContainers"), status.get("initContainerStatuses"), are_inits=True),
        unscheduled=str(scheduled.get("message") or "") if scheduled.get("status") == "False" else "",
        unprobed=find_unprobed(spec),
        node=str(spec.get("nodeName") or ""),
        due=parse_time(metadata.get("deletionTimestamp")),
        grace_s=int(metadata.get("deletionGracePeriodSeconds") or 0),
        finalizers=tuple(metadata.get("finalizers") or ()),
        # kubernetes: pkg/controller/util/node/controller_utils.go `MarkPodsNotReady` changes this one condition only.
        is_lost=not ready and not readiness.get("reason") and contained.get("status") == "True",
        pulling=sandbox.get("status") == "True" and any(each.waiting in _BEFORE_START for each in containers),
    )


def describe_pod(pod: Pod) -> str:
    """Return the problem of a pod."""
    container = pod.failing or pod.exited
    if container is not None:
        text = f"pod {pod.name}, container {container.name}: {_describe_container(container)}"
        return Cause(text, pull_code(container.message) if "Pull" in container.waiting else ReasonCode.EXITED)
    if pod.unscheduled:
        return f"pod {pod.name} has no node: {pod.unscheduled}"
    if pod.is_lost:
        return f"pod {pod.name} is not ready: its node {pod.node} does not respond (kubectl describe node {pod.node})"
    if pod.phase == "Running":
        return Cause(f"pod {pod.name} runs but is not ready", ReasonCode.UNHEALTHY)
    return f"pod {pod.name} is {pod.phase.lower()}"


def find_culprit(pods: Iterable[Pod]) -> Pod | None:
    """Return the culprit: a pod with a failing container, else a pod that is not ready."""
    unready = [pod for pod in pods if pod.alive and not pod.ready]
    return next((pod for pod in unready if pod.failing), next(iter(unready), None))


def _describe_container(container: PodContainer) -> str:
    if container.waiting in _HOPELESS and container.waiting != "CrashLoopBackOff":
        return f"{container.waiting}: {container.message}" if container.message else container.waiting
    why = "" if container.ended in ("", "Error", "Completed") else f" ({container.ended})"
    ending = "ended" if container.exit_code is None else f"exited with {container.exit_code}{why}"
    # A message that a container wrote itself is also in its output.
    message = f": {container.message}" if container.ended in _NEVER_RAN and container.message else ""
    return f"{ending}{restarts_text(container.restarts)}{message}"


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


def _containers(
    specs: Iterable[Json] | None, statuses: Iterable[Json] | None, *, are_inits: bool = False
) -> tuple[PodContainer, ...]:
    by_name = {status["name"]: status for status in statuses or ()}
    return tuple(
        _container(spec, by_name.get(spec["name"]) or {}, not are_inits or is_sidecar(spec)) for spec in specs or ()
    )


def _container(spec: Json, status: Json, is_lasting: bool) -> PodContainer:
    state, last = status.get("state") or {}, status.get("lastState") or {}
    waiting = state.get("waiting") or {}
    ended = state.get("terminated") or last.get("terminated") or {}
    digest = _DIGEST.search(str(status.get("imageID") or ""))
    return PodContainer(
        name=spec["name"],
        image=spec["image"],
        digest=digest.group() if digest else None,
        is_from_registry="@" in str(status.get("imageID")),
        started=parse_time((state.get("running") or {}).get("startedAt")),
        waiting=str(waiting.get("reason") or ""),
        message=str((ended if waiting.get("reason") == "CrashLoopBackOff" else waiting or ended).get("message") or ""),
        exit_code=ended.get("exitCode"),
        ended=str(ended.get("reason") or ""),
        restarts=int(status.get("restartCount") or 0),
        is_lasting=is_lasting,
    )
