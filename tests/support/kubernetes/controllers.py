"""Controllers and kubelets of a small cluster. They start pods, and roll workloads out as the real ones do."""

import contextlib
import hashlib
import itertools
import json
import math
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

from tests.support.kubernetes.store import Refusal, Store

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


_COUNTS = (
    "replicas",
    "updatedReplicas",
    "readyReplicas",
    "availableReplicas",
    "updatedNumberScheduled",
    "numberReady",
    "numberAvailable",
)


class Controllers:
    """All controllers and the kubelets; `tick` lets each do one step.

    `frozen` stops the controllers. `image_of` says which image a new pod of that name really gets. `quota` is the most
    pods that a namespace may have. `is_hasty` reports rollouts as complete once they are observed, whatever their pods
    do.
    """

    def __init__(self, store: Store) -> None:
        self.store = store
        self.frozen = False
        self.is_hasty = False
        self.quota: int | None = None
        self.image_of: Callable[[str, str], str] = lambda pod, image: image
        self.log: dict[str, str] = {}
        self._numbers = itertools.count(1)
        self._born: dict[str, float] = {}
        self._ready_since: dict[str, float] = {}
        self._dying: dict[str, float] = {}
        self._progress: dict[str, tuple[object, float]] = {}
        self._least_ready_s: dict[tuple[str, str], float] = {}
        self._refusals: dict[str, str] = {}

    def tick(self) -> None:
        """Let each controller and kubelet do one step."""
        with self.store.lock:
            for pod in self.store.list("pods"):
                self._kubelet(pod)
            for scaler in self.store.list("horizontalpodautoscalers"):
                self._autoscale(scaler)
            if self.frozen:
                return
            steps = (
                ("deployments", self._deployment),
                ("statefulsets", self._stateful_set),
                ("daemonsets", self._daemon_set),
            )
            for resource, step in steps:
                for workload in self.store.list(resource):
                    self._reconcile(resource, workload, step)

    # Pods

    def _kubelet(self, pod: Pod) -> None:
        uid, key = pod["metadata"]["uid"], ("pods", pod["metadata"]["namespace"], pod["metadata"]["name"])
        now = time.monotonic()
        if "deletionTimestamp" in pod["metadata"]:
            if now - self._dying.setdefault(uid, now) >= _stop_s(pod):
                self.store.delete(key)
            return
        age = now - self._born[uid]
        states = [self._state(container["image"].rpartition(":")[2], age) for container in pod["spec"]["containers"]]
        ready = all(ready for ready, *_ in states)
        if ready:
            self._ready_since.setdefault(uid, now)
        else:
            self._ready_since.pop(uid, None)
        tags = {container["image"].rpartition(":")[2] for container in pod["spec"]["containers"]}

        def change(new: Pod) -> None:
            conditions = [{"type": "Ready", "status": str(ready), "lastTransitionTime": self._since(uid)}]
            conditions.append({"type": "PodReadyToStartContainers", "status": str(HOMELESS not in tags)})
            if HOMELESS in tags:
                text = "0/2 nodes are available: 2 Insufficient cpu."
                conditions.append(
                    {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": text}
                )
            running = any("running" in state for _, state, _ in states)
            new["status"] = {
                "phase": "Running" if running or any(restarts for *_, restarts in states) else "Pending",
                "conditions": conditions,
                "containerStatuses": [
                    {
                        "name": container["name"],
                        "image": container["image"],
                        "imageID": digest_of(container["image"]) if "running" in state else "",
                        "ready": up,
                        "restartCount": restarts,
                        "state": state,
                        **({"lastState": ended_with(_exit_code(container["image"]))} if restarts else {}),
                    }
                    for container, (up, state, restarts) in zip(new["spec"]["containers"], states, strict=True)
                ],
            }

        self.store.change(key, change)

    def _since(self, uid: str) -> str:
        """Return when the pod became ready, or was made, in the whole seconds of the API."""
        ago = time.monotonic() - self._ready_since.get(uid, self._born[uid])
        at = datetime.now(UTC) - timedelta(seconds=ago)
        return at.strftime("%Y-%m-%dT%H:%M:%SZ")

    @staticmethod
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
            return False, ended_with(_exit_code(tag)), int((age - _START_S - _LAG_S) / _BACK_OFF_S)
        life_s = {CRASHING: 0.0, SHORT_LIVED: _LIFE_S}.get(tag, math.inf)
        if age >= _START_S + life_s:
            return False, back_off, 2
        return True, running, 0

    def _make(self, workload: Any, owner: Any, name: str, revision: str, node: str = "") -> None:
        if self.quota is not None and len(self.store.list("pods", workload["metadata"]["namespace"])) >= self.quota:
            text = f'pods "{name}" is forbidden: exceeded quota: q, used: pods={self.quota}, limited: pods={self.quota}'
            self._refuse(workload, text)
            return
        self._refusals.pop(workload["metadata"]["uid"], None)
        template = workload["spec"]["template"]
        metadata = {
            "name": name,
            "namespace": workload["metadata"]["namespace"],
            "labels": {**template["metadata"]["labels"], "pod-template-hash": revision},
            "annotations": dict(template["metadata"].get("annotations") or {}),
            "ownerReferences": [{**owner, "controller": True}],
            "creationTimestamp": "2026-01-01T00:00:00Z",
        }
        containers = [
            {**container, "image": self.image_of(name, container["image"])}
            for container in template["spec"]["containers"]
        ]
        spec = {**template["spec"], "containers": containers, "nodeName": node}
        pod = self.store.create("pods", {"metadata": metadata, "spec": spec})
        self._born[pod["metadata"]["uid"]] = time.monotonic()

    def _refuse(self, workload: Any, text: str) -> None:
        """Report a pod that may not be created: a Deployment by a condition, others by an event."""
        metadata = workload["metadata"]
        if "strategy" in workload["spec"]:
            self._refusals[metadata["uid"]] = text
            return
        key = ("events", metadata["namespace"], f"{metadata['name']}.1")
        seen = {"lastTimestamp": datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"), "message": text}
        if key not in self.store.objects:
            event = {"metadata": {"name": key[2], "namespace": key[1]}, "involvedObject": {"uid": metadata["uid"]}}
            self.store.create("events", {**event, "reason": "FailedCreate", "type": "Warning"})
        self.store.change(key, lambda new: new.update(seen))

    def _kill(self, pod: Pod) -> None:
        metadata = pod["metadata"]
        with contextlib.suppress(Refusal):
            self.store.change(
                ("pods", metadata["namespace"], metadata["name"]),
                lambda new: new["metadata"].update(deletionTimestamp="2026-01-01T00:00:00Z"),
            )

    def _ready(self, pod: Pod) -> bool:
        return pod["metadata"]["uid"] in self._ready_since and _alive(pod)

    def _available(self, pod: Pod, min_ready_s: float) -> bool:
        return _alive(pod) and self._has_been_ready(pod, min_ready_s)

    def _has_been_ready(self, pod: Pod, least_s: float) -> bool:
        return time.monotonic() - self._ready_since.get(pod["metadata"]["uid"], math.inf) >= least_s

    # Workloads

    def _reconcile(self, resource: str, workload: Any, step: Callable[..., dict[str, Any]]) -> None:
        metadata = workload["metadata"]
        labels = workload["spec"]["selector"]["matchLabels"].items()
        pods = [
            pod
            for pod in self.store.list("pods", metadata["namespace"])
            if labels <= pod["metadata"]["labels"].items()
            and pod["metadata"]["ownerReferences"][0]["name"]
            in (metadata["name"], f"{metadata['name']}-{pod['metadata']['labels']['pod-template-hash']}")
        ]
        status = step(workload, pods, revision_of(workload["spec"]["template"]))
        status["observedGeneration"] = metadata["generation"]
        if self.is_hasty:
            status |= {name: workload["spec"].get("replicas", len(NODES)) for name in _COUNTS}
        # Counts that are 0 are left out, as the API does.
        counted = {name: value for name, value in status.items() if value not in (0, [])}
        key = (resource, metadata["namespace"], metadata["name"])
        self.store.change(key, lambda new: new.update(status=counted))

    def _deployment(self, workload: Any, pods: list[Pod], revision: str) -> dict[str, Any]:
        spec, name = workload["spec"], workload["metadata"]["name"]
        alive = [pod for pod in pods if _alive(pod)]
        new = [pod for pod in alive if pod["metadata"]["labels"]["pod-template-hash"] == revision]
        old = [pod for pod in alive if pod not in new]
        replicas = spec["replicas"]
        self._least_ready_s[workload["metadata"]["uid"], revision] = spec.get("minReadySeconds", 0)
        owner = {"kind": "ReplicaSet", "name": f"{name}-{revision}"}
        recreate = spec["strategy"]["type"] == "Recreate"
        rolling = spec["strategy"].get("rollingUpdate") or {}
        surge = _share(rolling.get("maxSurge", 0), replicas, math.ceil)
        gap = _share(rolling.get("maxUnavailable", 0), replicas, math.floor)
        if not spec.get("paused"):
            if recreate:
                for pod in old:
                    self._kill(pod)
                room = 0 if len(pods) > len(new) else replicas - len(new)
            else:
                room = min(replicas - len(new), replicas + surge - len(alive))
            for _ in range(room):
                self._make(workload, owner, f"{name}-{revision}-{next(self._numbers)}", revision)
            self._replace(workload, old, new, replicas - gap)
            for pod in sorted(new, key=self._ready)[: max(0, len(new) - replicas)]:
                self._kill(pod)
        available = sum(self._available(pod, self._least_s(workload, pod)) for pod in alive)
        done = len(new) == len(alive) == replicas == available
        state = (revision, len(new), len(old), available)
        previous, since = self._progress.get(workload["metadata"]["uid"], (None, 0.0))
        if previous != state:
            _, since = self._progress[workload["metadata"]["uid"]] = (state, time.monotonic())
        late = not done and time.monotonic() - since > spec.get("progressDeadlineSeconds", 600)
        reason = "ProgressDeadlineExceeded" if late else "NewReplicaSetAvailable" if done else "ReplicaSetUpdated"
        return {
            "replicas": len(alive),
            "updatedReplicas": len(new),
            "readyReplicas": sum(self._ready(pod) for pod in alive),
            "availableReplicas": available,
            "conditions": [
                {"type": "Progressing", "status": str(not late), "reason": reason},
                *self._failures(workload),
            ],
        }

    def _failures(self, workload: Any) -> list[dict[str, str]]:
        text = self._refusals.get(workload["metadata"]["uid"])
        return [{"type": "ReplicaFailure", "status": "True", "reason": "FailedCreate", "message": text}] if text else []

    def _least_s(self, workload: Any, pod: Pod) -> float:
        """Return the minReadySeconds of a pod's ReplicaSet: those of earlier templates keep theirs."""
        return self._least_ready_s[workload["metadata"]["uid"], pod["metadata"]["labels"]["pod-template-hash"]]

    def _replace(self, workload: Any, old: list[Pod], new: list[Pod], least: int) -> None:
        """Stop old pods as reconcileOldReplicaSets does (kubernetes: pkg/controller/deployment/rolling.go)."""
        up = [pod for pod in (*old, *new) if self._available(pod, self._least_s(workload, pod))]
        room = len(old) + len(new) - least - sum(pod not in up for pod in new)
        spare = len(up) - least
        for pod in sorted(old, key=lambda pod: pod in up) if room > 0 else ():
            if spare > 0 if pod in up else room > 0:
                room, spare = room - 1, spare - (pod in up)
                self._kill(pod)

    def _stateful_set(self, workload: Any, pods: list[Pod], revision: str) -> dict[str, Any]:
        """Replace one pod at a time, and only while all others are ready (kubernetes: stateful_set_control.go)."""
        spec, status = workload["spec"], workload.get("status") or {}
        by_number = {int(pod["metadata"]["name"].rpartition("-")[2]): pod for pod in pods}
        replicas, partition = spec["replicas"], (spec["updateStrategy"].get("rollingUpdate") or {}).get("partition", 0)
        current = status.get("currentRevision") or revision
        self._step_stateful_set(workload, by_number, revision, partition)
        alive = [pod for pod in pods if _alive(pod)]
        updated = [pod for pod in alive if pod["metadata"]["labels"]["pod-template-hash"] == revision]
        ready = sum(self._ready(pod) for pod in alive)
        if len(updated) == len(alive) == replicas == ready:
            current = revision
        available = sum(self._available(pod, spec.get("minReadySeconds", 0)) for pod in alive)
        return {
            "replicas": len(alive),
            "updatedReplicas": len(updated),
            "readyReplicas": ready,
            "availableReplicas": available,
            "currentRevision": current,
            "updateRevision": revision,
        }

    def _step_stateful_set(self, workload: Any, by_number: dict[int, Pod], revision: str, partition: int) -> None:
        spec, name = workload["spec"], workload["metadata"]["name"]
        owner = {"kind": "StatefulSet", "name": name}
        for number in range(spec["replicas"]):
            if number not in by_number:
                self._make(workload, owner, f"{name}-{number}", revision)
                return
            if not self._ready(by_number[number]):
                return
        surplus = [number for number in by_number if number >= spec["replicas"]]
        if surplus:
            self._kill(by_number[max(surplus)])
            return
        if spec["updateStrategy"]["type"] == "OnDelete":
            return
        for number in range(spec["replicas"] - 1, partition - 1, -1):
            if by_number[number]["metadata"]["labels"]["pod-template-hash"] != revision:
                self._kill(by_number[number])
                return
            if not self._available(by_number[number], spec.get("minReadySeconds", 0)):
                return

    def _daemon_set(self, workload: Any, pods: list[Pod], revision: str) -> dict[str, Any]:
        spec, name = workload["spec"], workload["metadata"]["name"]
        by_node = {pod["spec"]["nodeName"]: pod for pod in pods}
        min_ready_s = spec.get("minReadySeconds", 0)
        for node in NODES:
            if node not in by_node:
                pod_name = f"{name}-{next(self._numbers)}"
                self._make(workload, {"kind": "DaemonSet", "name": name}, pod_name, revision, node)
        new = [pod for pod in pods if pod["metadata"]["labels"]["pod-template-hash"] == revision and _alive(pod)]
        old = [pod for pod in pods if pod not in new and _alive(pod)]
        up = [pod for pod in pods if self._available(pod, min_ready_s)]
        if spec["updateStrategy"]["type"] == "RollingUpdate":
            for pod in sorted(old, key=lambda pod: pod in up):
                if pod not in up or len(up) == len(NODES):
                    self._kill(pod)
                    break
        return {
            "desiredNumberScheduled": len(NODES),
            # Those that are on their way to a stop count, too.
            "updatedNumberScheduled": sum(pod["metadata"]["labels"]["pod-template-hash"] == revision for pod in pods),
            "numberReady": sum(pod["metadata"]["uid"] in self._ready_since for pod in pods),
            "numberAvailable": sum(self._has_been_ready(pod, min_ready_s) for pod in pods),
        }

    def _autoscale(self, scaler: Any) -> None:
        spec = scaler["spec"]
        target = spec["scaleTargetRef"]
        key = (f"{target['kind'].lower()}s", scaler["metadata"]["namespace"], target["name"])
        with contextlib.suppress(Refusal):
            now = self.store.get(key)["spec"]["replicas"]
            wanted = min(max(now, spec.get("minReplicas") or 1), spec["maxReplicas"]) if now else 0
            self.store.change(key, lambda new: new["spec"].update(replicas=wanted))


def digest_of(image: str) -> str:
    """Return the imageID that a node reports for an image."""
    return f"registry.test/app@sha256:{hashlib.sha256(image.encode()).hexdigest()}"


def ended_with(exit_code: int) -> dict[str, Any]:
    """Return the state of a container that has ended."""
    return {"terminated": {"exitCode": exit_code, "reason": "Error", "containerID": "containerd://ended"}}


def _exit_code(image: str) -> int:
    return 7 if image.endswith(EXITING) else 3


def revision_of(template: Any) -> str:
    """Return a hash that differs for each template."""
    return hashlib.sha256(json.dumps(template, sort_keys=True).encode()).hexdigest()[:10]


def _stop_s(pod: Pod) -> float:
    """Return how long a pod takes to stop: its whole grace period if it hangs or is slow."""
    slow = any(container["image"].endswith((f":{HANGING}", f":{SLOW}")) for container in pod["spec"]["containers"])
    return float(pod["spec"].get("terminationGracePeriodSeconds", _STOP_S)) if slow else _STOP_S


def _alive(pod: Pod) -> bool:
    return "deletionTimestamp" not in pod["metadata"]


def _share(value: int | str, total: int, rounded: Callable[[float], int]) -> int:
    if isinstance(value, str):
        return rounded(total * int(value.rstrip("%")) / 100)
    return value
