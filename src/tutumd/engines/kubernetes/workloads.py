"""Workloads in the API's form: Deployments, StatefulSets and DaemonSets, and the selectors that name them."""

import hashlib
import json
import re
from dataclasses import dataclass
from enum import Enum
from typing import cast

from tutumd.engines.labels import IGNORE, STOPPED_REPLICAS, Json, is_true, written_number

# Annotation of the pod template that `kubectl rollout restart` sets.
RESTARTED_AT = "kubectl.kubernetes.io/restartedAt"


# Kubernetes: "Object Names and IDs". A name with a slash would refer to another object.
_NAME = re.compile(r"[a-z0-9]([a-z0-9.-]*[a-z0-9])?")


class Kind(Enum):
    """The kinds of workloads. The value is the API's word.

    Attributes:
        singular: The name for people and in selectors.
        plural: The name in paths and RBAC rules.
    """

    DEPLOYMENT = "Deployment"
    STATEFUL_SET = "StatefulSet"
    DAEMON_SET = "DaemonSet"

    @property
    def singular(self) -> str:
        return self.value.lower()

    @property
    def plural(self) -> str:
        return f"{self.singular}s"


@dataclass(frozen=True, slots=True)
class Address:
    """The identity of a workload. As text it is the selector of its service; `words` is its name for people."""

    kind: Kind
    namespace: str
    name: str

    def __str__(self) -> str:
        return f"{self.kind.singular}/{self.namespace}/{self.name}"

    @property
    def words(self) -> str:
        return f"the {self.kind.singular} {self.name}"


def read_address(selector: str) -> Address | None:
    """Return the address in a selector such as `deployment/shop/web`; None if it is not one."""
    parts = selector.split("/", 2)
    kind = next((kind for kind in Kind if kind.singular == parts[0]), None)
    if kind is None or len(parts) < 3 or not all(map(_NAME.fullmatch, parts)):
        return None
    return Address(kind, parts[1], parts[2])


@dataclass(frozen=True, slots=True)
class Workload:
    """One workload at one moment, around the API's own object."""

    kind: Kind
    json: Json

    @property
    def metadata(self) -> Json:
        return cast(Json, self.json["metadata"])

    @property
    def spec(self) -> Json:
        return cast(Json, self.json["spec"])

    @property
    def status(self) -> Json:
        """The last status from the controller. It is out of date until `observed`."""
        return self.json.get("status") or {}

    @property
    def template(self) -> Json:
        return cast(Json, self.spec["template"])

    @property
    def address(self) -> Address:
        return Address(self.kind, self.metadata["namespace"], self.metadata["name"])

    @property
    def annotations(self) -> dict[str, str]:
        """Annotations of the workload, not of its pods."""
        return dict(self.metadata.get("annotations") or {})

    @property
    def is_shown(self) -> bool:
        """Whether no annotation excludes it."""
        return not is_true(self.annotations.get(IGNORE))

    @property
    def version(self) -> str:
        """The resourceVersion. A change that names it is rejected if the workload changed in between."""
        return str(self.metadata["resourceVersion"])

    @property
    def observed(self) -> bool:
        """Whether the controller has observed the current specification."""
        return self.count("observedGeneration") >= int(self.metadata["generation"])

    @property
    def replicas(self) -> int:
        """The number of pods that it should have; for a DaemonSet as counted by its controller."""
        if self.kind is Kind.DAEMON_SET:
            return self.count("desiredNumberScheduled")
        return int(self.spec.get("replicas", 1))

    @property
    def is_stopped(self) -> bool:
        """Whether it should have no pod."""
        return self.kind is not Kind.DAEMON_SET and self.replicas == 0

    @property
    def replicas_before_stop(self) -> int:
        """The replicas that it had when it was stopped; 0 if no annotation has them."""
        return written_number(self.annotations, STOPPED_REPLICAS)

    @property
    def main(self) -> Json:
        """The main container: the container in the default-container annotation, else the first."""
        name = ((self.template.get("metadata") or {}).get("annotations") or {}).get(
            "kubectl.kubernetes.io/default-container"
        )
        containers: list[Json] = self.template["spec"]["containers"]
        return next((container for container in containers if container["name"] == name), containers[0])

    @property
    def progress_deadline_s(self) -> int:
        """The seconds without progress after which the cluster gives a Deployment up (DeploymentSpec, its default)."""
        return int(self.spec.get("progressDeadlineSeconds") or 600)

    @property
    def strategy(self) -> Json:
        return self.spec.get("strategy" if self.kind is Kind.DEPLOYMENT else "updateStrategy") or {}

    @property
    def rolling(self) -> Json:
        return self.strategy.get("rollingUpdate") or {}

    @property
    def adds_pods(self) -> bool:
        """Whether it is a DaemonSet that creates a new pod beside the old pod: its maxSurge is not 0."""
        return self.kind is Kind.DAEMON_SET and self.rolling.get("maxSurge") not in (None, 0, "0", "0%")

    @property
    def moving(self) -> int:
        """The number of pods that a restart replaces: all, but in a StatefulSet only those from its partition on."""
        if self.kind is not Kind.STATEFUL_SET:
            return self.replicas
        first = int((self.spec.get("ordinals") or {}).get("start") or 0)
        return max(0, min(self.replicas, first + self.replicas - int(self.rolling.get("partition") or 0)))

    @property
    def refusal(self) -> str:
        """Why a redeploy would replace no pod; empty if it would."""
        name = self.address.words
        if self.metadata.get("deletionTimestamp"):
            return f"{name} is being deleted"
        if self.spec.get("paused"):
            # kubectl: pkg/polymorphichelpers/objectrestarter.go refuses this too.
            return f"{name} is paused: resume it first (kubectl rollout resume)"
        if self.strategy.get("type") == "OnDelete":
            return (
                f"{name} has the update strategy OnDelete: its pods are replaced only when somebody deletes them, so a "
                "redeploy would change nothing; use RollingUpdate"
            )
        if self.kind is Kind.DAEMON_SET and self.observed and not self.replicas:
            # Nor does its controller want a pod on a node that is not ready.
            return (
                f"no node fits {name}, or the nodes that fit are not ready (kubectl get nodes): nothing would run the "
                "new version; the service was left as it is"
            )
        if self.replicas and not self.moving:
            return (
                f"{name} has the partition {self.rolling.get('partition')} and {self.replicas} replicas: a "
                "redeploy would replace none of them; lower the partition"
            )
        return ""

    def count(self, name: str) -> int:
        """Return a number of the status. The API omits numbers that are 0."""
        return int(self.status.get(name) or 0)


def is_sidecar(init: Json) -> bool:
    """Return whether an init container runs as long as its pod does (Kubernetes: "Sidecar Containers")."""
    return bool(init.get("restartPolicy") == "Always")


def find_unprobed(pod_spec: Json) -> str:
    """Return the name of a lasting container without a readiness probe; empty if there is none.

    Such a container is ready as soon as it runs, or after its startup probe has succeeded. A liveness probe only
    restarts it.
    """
    lasting: list[Json] = [*pod_spec["containers"], *filter(is_sidecar, pod_spec.get("initContainers") or [])]
    return next((str(container["name"]) for container in lasting if not container.get("readinessProbe")), "")


def restarted_at(json: Json) -> str:
    """Return the time of the restart that created this pod template, or this pod; empty if there was none."""
    return str(((json.get("metadata") or {}).get("annotations") or {}).get(RESTARTED_AT) or "")


def fingerprint(template: Json) -> str:
    """Return a hash that identifies a pod template without revealing it."""
    return hashlib.sha256(json.dumps(template, sort_keys=True).encode()).hexdigest()


def label_query(selector: Json) -> str:
    """Return a label selector as the API's query parameter (Kubernetes: Labels and Selectors)."""
    parts = [f"{name}={value}" for name, value in sorted((selector.get("matchLabels") or {}).items())]
    parts += [
        _EXPRESSIONS[each["operator"]].format(key=each["key"], values=",".join(sorted(each.get("values") or ())))
        for each in selector.get("matchExpressions") or ()
    ]
    return ",".join(parts)


_EXPRESSIONS = {
    "In": "{key} in ({values})",
    "NotIn": "{key} notin ({values})",
    "Exists": "{key}",
    "DoesNotExist": "!{key}",
}
