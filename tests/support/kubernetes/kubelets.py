"""The nodes of a small cluster: their kubelets, and the controller that notices a node which no longer responds."""

import hashlib
import math
import time
from datetime import UTC, datetime, timedelta
from typing import Any

from tests.support.kubernetes.store import Store
from tests.support.kubernetes.workloads import REPOSITORY

NODES = ("node-a", "node-b")
Pod = dict[str, Any]

# Tags of images whose containers fail, each in its way. EXITING is shown as ready for a moment after its end, and never
# as CrashLoopBackOff; the pulls of BUSY are refused for a moment; PULLING is pulled for ever; SLOW runs, but is slow to
# stop; any other tag runs.
EXITING, BUSY = "exiting", "busy"
MISSING, CRASHING, HANGING, UNCONFIGURED, SHORT_LIVED, HOMELESS, PULLING, SLOW = (
    "missing",
    "crashing",
    "hanging",
    "unconfigured",
    "short-lived",
    "homeless",
    "pulling",
    "slow",
)
_START_S, _STOP_S, _LIFE_S, _BACK_OFF_S = 0.05, 0.05, 0.4, 0.1
_LAG_S, _BUSY_S = 0.15, 0.3
_GRACE_S = 30


class Kubelets:
    """The kubelets of all nodes. Those of the nodes in `dead` do nothing."""

    def __init__(self, store: Store) -> None:
        self.dead: set[str] = set()
        self._store = store
        self._born: dict[str, float] = {}
        self._ready_since: dict[str, float] = {}
        self._dying: dict[str, float] = {}

    def accept(self, pod: Pod) -> None:
        """Take a new pod."""
        self._born[pod["metadata"]["uid"]] = time.monotonic()

    def step(self, pod: Pod) -> None:
        """Let the kubelet of a pod's node do one step."""
        if pod["spec"]["nodeName"] in self.dead:
            self._mark_not_ready(pod)
        elif "deletionTimestamp" in pod["metadata"]:
            self._stop(pod)
        else:
            self._run(pod)

    def is_ready(self, pod: Pod) -> bool:
        """Return whether a pod is ready, and is not stopping."""
        return pod["metadata"]["uid"] in self._ready_since and is_alive(pod)

    def has_been_ready(self, pod: Pod, least_s: float) -> bool:
        """Return whether a pod has been ready for so long. One that is stopping may be."""
        return time.monotonic() - self._ready_since.get(pod["metadata"]["uid"], math.inf) >= least_s

    def _mark_not_ready(self, pod: Pod) -> None:
        """Set the condition Ready and nothing else (kubernetes: pkg/controller/util/node `MarkPodsNotReady`)."""
        self._ready_since.pop(pod["metadata"]["uid"], None)

        def change(new: Pod) -> None:
            for condition in (new.get("status") or {}).get("conditions") or ():
                condition.update({"status": "False"} if condition["type"] == "Ready" else {})

        self._store.change(_key(pod), change)

    def _stop(self, pod: Pod) -> None:
        """Stop a pod, and remove it, unless finalizers hold it: then it has ended, and stays.

        kubernetes: pkg/kubelet/status/status_manager.go deletes it with a grace period of 0, which the API notes.
        """
        now = time.monotonic()
        if now - self._dying.setdefault(pod["metadata"]["uid"], now) < _stop_s(pod):
            return
        if not pod["metadata"].get("finalizers"):
            self._store.delete(_key(pod))
            return
        self._ready_since.pop(pod["metadata"]["uid"], None)

        def change(new: Pod) -> None:
            for status in (*new["status"]["containerStatuses"], *new["status"]["initContainerStatuses"]):
                status |= {"ready": False, "state": ended_with(137)}
            new["status"] |= {"phase": "Failed", "conditions": _conditions(new, False, new["metadata"])}
            set_deletion(new, datetime.fromisoformat(new["metadata"]["deletionTimestamp"]), grace_s=0)

        if pod["metadata"]["deletionGracePeriodSeconds"]:
            self._store.change(_key(pod), change)

    def _run(self, pod: Pod) -> None:
        uid, now = pod["metadata"]["uid"], time.monotonic()
        age = now - self._born[uid]
        containers = [_status(container, age) for container in pod["spec"]["containers"]]
        inits = [_init_status(container, age) for container in pod["spec"].get("initContainers") or ()]
        ready = all(status["ready"] for status in (*containers, *inits))
        if ready:
            self._ready_since.setdefault(uid, now)
        else:
            self._ready_since.pop(uid, None)
        running = any("running" in status["state"] or status["restartCount"] for status in containers)
        since = datetime.now(UTC) - timedelta(seconds=now - self._ready_since.get(uid, self._born[uid]))

        def change(new: Pod) -> None:
            new["status"] = {
                "phase": "Running" if running else "Pending",
                "conditions": _conditions(new, ready, {"lastTransitionTime": in_api(since)}),
                "containerStatuses": containers,
                "initContainerStatuses": inits,
            }

        self._store.change(_key(pod), change)


def digest_of(image: str) -> str:
    """Return the imageID that a node reports for an image."""
    digest = image.partition("@")[2] or f"sha256:{hashlib.sha256(image.encode()).hexdigest()}"
    return f"{REPOSITORY}@{digest}"


def ended_with(exit_code: int) -> dict[str, Any]:
    """Return the state of a container that has ended."""
    return {"terminated": {"exitCode": exit_code, "reason": "Error", "containerID": "containerd://ended"}}


def is_alive(pod: Pod) -> bool:
    """Return whether nobody has deleted a pod."""
    return "deletionTimestamp" not in pod["metadata"]


def in_api(at: datetime) -> str:
    """Return a time in the form of the API, which has whole seconds."""
    return at.strftime("%Y-%m-%dT%H:%M:%SZ")


def mark_deleted(pod: Pod) -> None:
    """Begin to delete a pod, as the API does."""
    if is_alive(pod):
        set_deletion(pod, datetime.now(UTC), grace_s=pod["spec"].get("terminationGracePeriodSeconds", _GRACE_S))


def set_deletion(pod: Pod, at: datetime, *, grace_s: int) -> None:
    """Set the time by which a pod has to be gone, counted from when its deletion was requested.

    kubernetes: staging/src/k8s.io/apiserver/pkg/registry/rest/delete.go `BeforeDelete`.
    """
    requested = at - timedelta(seconds=pod["metadata"].get("deletionGracePeriodSeconds") or 0)
    pod["metadata"] |= {
        "deletionTimestamp": in_api(requested + timedelta(seconds=grace_s)),
        "deletionGracePeriodSeconds": grace_s,
    }


def _key(pod: Pod) -> tuple[str, str, str]:
    return "pods", pod["metadata"]["namespace"], pod["metadata"]["name"]


def _conditions(pod: Pod, ready: bool, since: dict[str, Any]) -> list[dict[str, Any]]:
    tags = {tag_of(container) for container in pod["spec"]["containers"]}
    why = {} if ready else {"reason": "ContainersNotReady", "message": "containers with unready status"}
    at = {"lastTransitionTime": since["lastTransitionTime"]} if "lastTransitionTime" in since else {}
    found = [
        {"type": "PodReadyToStartContainers", "status": str(HOMELESS not in tags)},
        {"type": "Ready", "status": str(ready), **why, **at},
        {"type": "ContainersReady", "status": str(ready), **why, **at},
        {"type": "PodScheduled", "status": "True"},
    ]
    if HOMELESS in tags:
        text = "0/2 nodes are available: 2 Insufficient cpu."
        found[-1] |= {"status": "False", "reason": "Unschedulable", "message": text}
    return found


def _status(container: dict[str, Any], age: float) -> dict[str, Any]:
    """Return the status of a container at that age of its pod."""
    up, state, restarts = _state(tag_of(container), age)
    exit_code = 7 if tag_of(container) == EXITING else 3
    return {
        "name": container["name"],
        "image": container["image"],
        "imageID": digest_of(container["image"]) if "running" in state else "",
        "ready": up,
        "restartCount": restarts,
        "state": state,
        **({"lastState": ended_with(exit_code)} if restarts else {}),
    }


def _init_status(container: dict[str, Any], age: float) -> dict[str, Any]:
    """Return the status of a native sidecar, or of an init container that has done its work."""
    status = _status(container, age)
    if container.get("restartPolicy") != "Always" and status["ready"]:
        status["state"] = {"terminated": {"exitCode": 0, "reason": "Completed"}}
    return status


def _state(tag: str, age: float) -> tuple[bool, dict[str, Any], int]:
    """Return whether a container of that tag is ready at that age, its state, and its number of restarts."""
    creating: dict[str, Any] = {"waiting": {"reason": "ContainerCreating"}}
    running = {"running": {"startedAt": "2026-01-01T00:00:00Z"}}
    back_off = {"waiting": {"reason": "CrashLoopBackOff", "message": "back-off 10s restarting failed container"}}
    if age < _START_S or tag in (HOMELESS, PULLING):
        return False, creating, 0
    if tag == MISSING:
        reason = "ErrImagePull" if age < _START_S + _BACK_OFF_S else "ImagePullBackOff"
        return False, {"waiting": {"reason": reason, "message": "manifest unknown"}}, 0
    if tag == UNCONFIGURED:
        text = 'secret "key" not found'
        return False, {"waiting": {"reason": "CreateContainerConfigError", "message": text}}, 0
    if tag == BUSY and age < _START_S + _BUSY_S:
        text = "429 Too Many Requests: toomanyrequests"
        return False, {"waiting": {"reason": "ErrImagePull", "message": text}}, 0
    if tag == HANGING:
        return False, running, 0
    if tag == EXITING and age >= _START_S + _LAG_S:
        return False, ended_with(7), int((age - _START_S - _LAG_S) / _BACK_OFF_S)
    life_s = {CRASHING: 0.0, SHORT_LIVED: _LIFE_S}.get(tag, math.inf)
    if age >= _START_S + life_s:
        return False, back_off, 2
    return True, running, 0


def _stop_s(pod: Pod) -> float:
    """Return how long a pod takes to stop: its whole grace period if it hangs or is slow."""
    slow = any(tag_of(container) in (HANGING, SLOW) for container in pod["spec"]["containers"])
    return float(pod["spec"].get("terminationGracePeriodSeconds", _STOP_S)) if slow else _STOP_S


def tag_of(container: dict[str, Any]) -> str:
    """Return the tag of a container's image. The registry knows the digests of some tags."""
    name, _, digest = str(container["image"]).partition("@")
    return _TAGS.get(digest, MISSING) if digest else name.rpartition(":")[2]


_TAGS = {
    digest_of(f"{REPOSITORY}:{tag}").partition("@")[2]: tag for tag in ("v1", "v2", "v3", CRASHING, HANGING, EXITING)
}
