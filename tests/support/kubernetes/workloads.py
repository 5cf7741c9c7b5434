"""Workloads as the API returns them, with its defaults filled in."""

from typing import Any

NAMESPACE = "shop"
REPOSITORY = "registry.test/app"


def container(name: str = "app", tag: str = "v1", *, probed: bool = False, **more: Any) -> dict[str, Any]:
    """Return a container of a pod template, with a readiness probe if `probed`."""
    probe = {"readinessProbe": {"httpGet": {"port": 80}}} if probed else {}
    return {"name": name, "image": f"{REPOSITORY}:{tag}", "imagePullPolicy": "IfNotPresent", **probe, **more}


def template(*containers: dict[str, Any], name: str = "web", **more: Any) -> dict[str, Any]:
    """Return a pod template."""
    spec = {"containers": list(containers) or [container()], "restartPolicy": "Always", **more}
    return {"metadata": {"labels": {"app": name}}, "spec": spec}


def probed(tag: str = "v1", **more: Any) -> dict[str, Any]:
    """Return a pod template of one container with a readiness probe."""
    return template(container(tag=tag, probed=True, **more))


def quick(name: str = "web", *, tag: str = "v1") -> dict[str, Any]:
    """Return a pod template with a probe, by which a pod is replaced within two seconds."""
    probe = {"periodSeconds": 1, "failureThreshold": 1}
    return template(container(tag=tag, readinessProbe=probe), name=name, terminationGracePeriodSeconds=1)


def _workload(
    kind: str, name: str, spec: dict[str, Any], annotations: dict[str, str] | None, labels: dict[str, str] | None
) -> dict[str, Any]:
    metadata: dict[str, Any] = {"name": name, "namespace": NAMESPACE}
    if annotations:
        metadata["annotations"] = annotations
    if labels:
        metadata["labels"] = labels
    common = {"selector": {"matchLabels": {"app": name}}, "template": template(name=name)}
    return {"apiVersion": "apps/v1", "kind": kind, "metadata": metadata, "spec": {**common, **spec}}


def deployment(
    name: str = "web",
    *,
    replicas: int = 2,
    annotations: dict[str, str] | None = None,
    labels: dict[str, str] | None = None,
    **spec: Any,
) -> dict[str, Any]:
    """Return a Deployment; `spec` overrides the defaults of the API."""
    strategy = {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": "25%", "maxUnavailable": "25%"}}
    defaults = {"replicas": replicas, "strategy": strategy, "progressDeadlineSeconds": 600}
    return _workload("Deployment", name, {**defaults, **spec}, annotations, labels)


def stateful_set(
    name: str = "db", *, replicas: int = 3, annotations: dict[str, str] | None = None, **spec: Any
) -> dict[str, Any]:
    """Return a StatefulSet."""
    strategy = {"type": "RollingUpdate", "rollingUpdate": {"partition": 0}}
    return _workload("StatefulSet", name, {"replicas": replicas, "updateStrategy": strategy, **spec}, annotations, None)


def daemon_set(name: str = "agent", *, annotations: dict[str, str] | None = None, **spec: Any) -> dict[str, Any]:
    """Return a DaemonSet."""
    strategy = {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 0, "maxUnavailable": 1}}
    return _workload("DaemonSet", name, {"updateStrategy": strategy, **spec}, annotations, None)


def autoscaler(target: str = "web", *, least: int = 2, most: int = 5, **metadata: Any) -> dict[str, Any]:
    """Return a HorizontalPodAutoscaler of a Deployment."""
    reference = {"apiVersion": "apps/v1", "kind": "Deployment", "name": target}
    spec = {"scaleTargetRef": reference, "minReplicas": least, "maxReplicas": most}
    return {"metadata": {"name": f"{target}-hpa", "namespace": NAMESPACE, **metadata}, "spec": spec}
