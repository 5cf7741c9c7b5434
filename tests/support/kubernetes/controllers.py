"""Controllers of a small cluster. They make pods, and roll workloads out as the real ones do."""

import contextlib
import hashlib
import itertools
import json
import math
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from tests.support.kubernetes.kubelets import HOMELESS, NODES, Kubelets, Pod, in_api, is_alive, mark_deleted
from tests.support.kubernetes.store import Refusal, Store

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
    pods that a namespace may have. `fitting` are the nodes that DaemonSets fit. `injected` are containers that an
    admission webhook adds to pods. `is_hasty` reports rollouts as complete once they are observed, whatever their pods
    do.
    """

    def __init__(self, store: Store) -> None:
        self.store = store
        self.kubelets = Kubelets(store)
        self.frozen = False
        self.is_hasty = False
        self.quota: int | None = None
        self.fitting: tuple[str, ...] = NODES
        self.injected: list[dict[str, Any]] = []
        self.image_of: Callable[[str, str], str] = lambda pod, image: image
        self.log: dict[str, str] = {}
        self._numbers, self._places = itertools.count(1), itertools.count()
        self._progress: dict[str, tuple[object, float]] = {}
        self._least_ready_s: dict[tuple[str, str], float] = {}
        self._refusals: dict[str, str] = {}

    def tick(self) -> None:
        """Let each controller and kubelet do one step."""
        with self.store.lock:
            for pod in self.store.list("pods"):
                self.kubelets.step(pod)
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
            "creationTimestamp": in_api(datetime.now(UTC)),
            **({"finalizers": [*finalizers]} if (finalizers := template["metadata"].get("finalizers")) else {}),
        }
        spec = {**template["spec"], "nodeName": node or NODES[next(self._places) % len(NODES)]}
        for part in ("containers", "initContainers"):
            spec[part] = [{**each, "image": self.image_of(name, each["image"])} for each in spec.get(part) or ()]
        spec["containers"] += self.injected
        if any(each["image"].endswith(f":{HOMELESS}") for each in spec["containers"]):
            spec["nodeName"] = ""
        self.kubelets.accept(self.store.create("pods", {"metadata": metadata, "spec": spec}))

    def _refuse(self, workload: Any, text: str) -> None:
        """Report a pod that may not be created: a Deployment by a condition, others by an event."""
        metadata = workload["metadata"]
        if "strategy" in workload["spec"]:
            self._refusals[metadata["uid"]] = text
            return
        key = ("events", metadata["namespace"], f"{metadata['name']}.1")
        seen = {"lastTimestamp": in_api(datetime.now(UTC)), "message": text}
        if key not in self.store.objects:
            event = {"metadata": {"name": key[2], "namespace": key[1]}, "involvedObject": {"uid": metadata["uid"]}}
            self.store.create("events", {**event, "reason": "FailedCreate", "type": "Warning"})
        self.store.change(key, lambda new: new.update(seen))

    def _kill(self, pod: Pod) -> None:
        metadata = pod["metadata"]
        with contextlib.suppress(Refusal):
            self.store.change(("pods", metadata["namespace"], metadata["name"]), mark_deleted)

    def _available(self, pod: Pod, min_ready_s: float) -> bool:
        return is_alive(pod) and self.kubelets.has_been_ready(pod, min_ready_s)

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
        alive = [pod for pod in pods if is_alive(pod)]
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
            for pod in sorted(new, key=self.kubelets.is_ready)[: max(0, len(new) - replicas)]:
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
            "readyReplicas": sum(self.kubelets.is_ready(pod) for pod in alive),
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
        alive = [pod for pod in pods if is_alive(pod)]
        updated = [pod for pod in alive if pod["metadata"]["labels"]["pod-template-hash"] == revision]
        ready = sum(self.kubelets.is_ready(pod) for pod in alive)
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
            if not self.kubelets.is_ready(by_number[number]):
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
        """Keep a pod on each node that fits. A dead node fits none, and keeps the one that it has.

        kubernetes: pkg/controller/daemon/daemon_controller.go `NodeShouldRunDaemonPod`, update.go `rollingUpdate`.
        """
        spec, min_ready_s = workload["spec"], workload["spec"].get("minReadySeconds", 0)
        wanted = [node for node in self.fitting if node not in self.kubelets.dead]
        by_node: dict[str, list[Pod]] = {node: [] for node in NODES}
        for pod in pods:
            by_node[pod["spec"]["nodeName"]].append(pod)
        new = [pod for pod in pods if pod["metadata"]["labels"]["pod-template-hash"] == revision]
        up = [pod for pod in pods if self._available(pod, min_ready_s)]
        for node, present in by_node.items():
            if node in wanted and not present:
                self._make_on(workload, revision, node)
            for pod in present if node not in (*wanted, *self.kubelets.dead) else ():
                self._kill(pod)
        if spec["updateStrategy"]["type"] == "RollingUpdate":
            old = sorted((pod for pod in pods if pod not in new and is_alive(pod)), key=lambda pod: pod in up)
            if spec["updateStrategy"]["rollingUpdate"].get("maxSurge"):
                self._surge(workload, revision, [by_node[pod["spec"]["nodeName"]] for pod in old], up)
            for pod in old if not spec["updateStrategy"]["rollingUpdate"].get("maxSurge") else ():
                if pod not in up or len(up) == len(wanted):
                    self._kill(pod)
                    break
        return {
            "desiredNumberScheduled": len(wanted),
            # Those that are on their way to a stop count, too.
            "updatedNumberScheduled": sum(pod["spec"]["nodeName"] in wanted for pod in new),
            "numberReady": sum(self.kubelets.has_been_ready(pod, 0.0) for pod in pods),
            "numberAvailable": sum(self.kubelets.has_been_ready(pod, min_ready_s) for pod in pods),
        }

    def _surge(self, workload: Any, revision: str, nodes: list[list[Pod]], up: list[Pod]) -> None:
        """Make a new pod beside the old one of one node, and stop the old one once the new one is available."""
        for present in nodes:
            old, *beside = sorted(present, key=lambda pod: pod["metadata"]["labels"]["pod-template-hash"] == revision)
            if beside and beside[0] in up:
                self._kill(old)
                continue
            if not beside:
                self._make_on(workload, revision, old["spec"]["nodeName"])
            return

    def _make_on(self, workload: Any, revision: str, node: str) -> None:
        name = workload["metadata"]["name"]
        self._make(workload, {"kind": "DaemonSet", "name": name}, f"{name}-{next(self._numbers)}", revision, node)

    def _autoscale(self, scaler: Any) -> None:
        spec = scaler["spec"]
        target = spec["scaleTargetRef"]
        key = (f"{target['kind'].lower()}s", scaler["metadata"]["namespace"], target["name"])
        with contextlib.suppress(Refusal):
            now = self.store.get(key)["spec"]["replicas"]
            wanted = min(max(now, spec.get("minReplicas") or 1), spec["maxReplicas"]) if now else 0
            self.store.change(key, lambda new: new["spec"].update(replicas=wanted))


def revision_of(template: Any) -> str:
    """Return a hash that differs for each template."""
    return hashlib.sha256(json.dumps(template, sort_keys=True).encode()).hexdigest()[:10]


def _share(value: int | str, total: int, rounded: Callable[[float], int]) -> int:
    if isinstance(value, str):
        return rounded(total * int(value.rstrip("%")) / 100)
    return value
