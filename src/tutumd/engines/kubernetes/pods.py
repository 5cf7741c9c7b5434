"""Pods as values: whose they are, how they are, and what keeps one from running."""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

from tutumd.engines.dockerapi.times import parse_time
from tutumd.engines.kubernetes.workloads import Address, Kind, restarted_at
from tutumd.engines.labels import Json

# Waiting reasons after which a container does not start by itself, as far as its pod can tell
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
_DIGEST = re.compile(r"sha256:[0-9a-f]{64}\Z")
_ENDED = ("Succeeded", "Failed")


@dataclass(frozen=True, slots=True, kw_only=True)
class PodContainer:
    """One container of a pod.

    Attributes:
        digest: Of the image that it runs; None where the node does not tell.
        waiting, message: The engine's reason and words for why it does not run; empty where it runs.
        exit_code, ended: How it ended, now or the time before; None and empty where it never did.
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
        owner: What it belongs to; None where that is none of ours.
        restarted_at: As its workload's template said when it was made.
        ready_since: When it became ready; None where it is not.
        unscheduled: Why no node takes it; empty where one does.
        inits: Its init containers, in order.
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

    @property
    def alive(self) -> bool:
        """It runs or shall run."""
        return not self.deleting and self.phase not in _ENDED

    @property
    def trouble(self) -> PodContainer | None:
        """The container that does not start by itself."""
        return next((one for one in (*self.inits, *self.containers) if one.waiting in _HOPELESS), None)

    def container(self, name: str) -> PodContainer:
        """Return one of its containers, the first where it has none of that name."""
        return next((one for one in self.containers if one.name == name), self.containers[0])


def read_pod(json: Json) -> Pod:
    """Read a pod as the API shows it."""
    metadata, spec, status = json["metadata"], json["spec"], json.get("status") or {}
    conditions = {one["type"]: one for one in status.get("conditions") or ()}
    scheduled, readiness = conditions.get("PodScheduled") or {}, conditions.get("Ready") or {}
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
        containers=_containers(spec.get("containers"), status.get("containerStatuses")),
        inits=_containers(spec.get("initContainers"), status.get("initContainerStatuses")),
        unscheduled=str(scheduled.get("message") or "") if scheduled.get("status") == "False" else "",
    )


def words_of(pod: Pod) -> str:
    """Say what a pod suffers from."""
    troubled = pod.trouble
    if troubled is not None:
        text = f"pod {pod.name}, container {troubled.name}: {troubled.waiting}"
        if troubled.exit_code is not None and troubled.waiting == "CrashLoopBackOff":
            ended = f" ({troubled.ended})" if troubled.ended and troubled.ended != "Error" else ""
            return f"{text}: it exited with {troubled.exit_code}{ended}"
        return f"{text}: {troubled.message}" if troubled.message else text
    if pod.unscheduled:
        return f"pod {pod.name} has no node: {pod.unscheduled}"
    if pod.phase == "Running":
        return f"pod {pod.name} runs but is not ready"
    return f"pod {pod.name} is {pod.phase.lower()}"


def blamed(pods: Iterable[Pod]) -> Pod | None:
    """Find the pod to blame among new ones: one with a trouble first, else one that is not ready."""
    unready = [pod for pod in pods if pod.alive and not pod.ready]
    troubled = [pod for pod in unready if pod.trouble is not None]
    return next(iter(troubled or unready), None)


def _owner(metadata: Json) -> Address | None:
    owner: Json = next((one for one in metadata.get("ownerReferences") or () if one.get("controller")), {})
    kind, name = owner.get("kind"), str(owner.get("name") or "")
    if kind == "ReplicaSet":
        # kubernetes: pkg/controller/deployment/sync.go names a ReplicaSet after its Deployment and this label.
        suffix = f"-{(metadata.get('labels') or {}).get('pod-template-hash')}"
        if not name.endswith(suffix):
            return None
        return Address(Kind.DEPLOYMENT, metadata["namespace"], name.removesuffix(suffix))
    if kind in (Kind.STATEFUL_SET.value, Kind.DAEMON_SET.value):
        return Address(Kind(kind), metadata["namespace"], name)
    return None


def _containers(specs: Iterable[Json] | None, statuses: Iterable[Json] | None) -> tuple[PodContainer, ...]:
    by_name = {one["name"]: one for one in statuses or ()}
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
