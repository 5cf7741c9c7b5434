"""Deployments, StatefulSets and DaemonSets as the API shows them, and the words by which we find them again."""

import hashlib
import json
from collections.abc import Iterable
from dataclasses import dataclass
from enum import Enum
from typing import Any

from tutumd.engines.labels import Json, read_stopped

RESTARTED_AT = "kubectl.kubernetes.io/restartedAt"
"""Annotation of the pod template that `kubectl rollout restart` sets."""

DEFAULT_CONTAINER = "kubectl.kubernetes.io/default-container"


class Kind(Enum):
    """The kinds that keep pods running. The value is the kind in the API's word."""

    DEPLOYMENT = "Deployment"
    STATEFUL_SET = "StatefulSet"
    DAEMON_SET = "DaemonSet"

    @property
    def plural(self) -> str:
        """Its name in paths and rules."""
        return f"{self.value.lower()}s"

    @property
    def singular(self) -> str:
        """Its name for people and in selectors."""
        return self.value.lower()


_SINGULAR = {kind.singular: kind for kind in Kind}


@dataclass(frozen=True, slots=True)
class Address:
    """What a workload is bound by."""

    kind: Kind
    namespace: str
    name: str

    def __str__(self) -> str:
        return f"{self.kind.singular}/{self.namespace}/{self.name}"

    @property
    def words(self) -> str:
        """What people call it."""
        return f"the {self.kind.singular} {self.name}"


def read_address(selector: str) -> Address | None:
    """Read `deployment/shop/web` back; None where it is nothing of ours."""
    kind, _, rest = selector.partition("/")
    namespace, _, name = rest.partition("/")
    if kind not in _SINGULAR or not namespace or not name:
        return None
    return Address(_SINGULAR[kind], namespace, name)


@dataclass(frozen=True, slots=True)
class Workload:
    """One workload at one moment, around the API's own object."""

    kind: Kind
    json: Json

    @property
    def address(self) -> Address:
        """What it is bound by."""
        return Address(self.kind, self.metadata["namespace"], self.metadata["name"])

    @property
    def metadata(self) -> Json:
        """Its metadata."""
        found: Json = self.json["metadata"]
        return found

    @property
    def annotations(self) -> dict[str, str]:
        """Its annotations, not those of its pods."""
        return dict(self.metadata.get("annotations") or {})

    @property
    def spec(self) -> Json:
        """What is wanted."""
        found: Json = self.json["spec"]
        return found

    @property
    def status(self) -> Json:
        """What its controller last found. Stale until `observed`."""
        return self.json.get("status") or {}

    @property
    def template(self) -> Json:
        """What its pods are made of."""
        found: Json = self.spec["template"]
        return found

    @property
    def version(self) -> str:
        """What a change names to be accepted only if nothing changed in between."""
        return str(self.metadata["resourceVersion"])

    @property
    def observed(self) -> bool:
        """Its controller has seen the present specification."""
        return int(self.status.get("observedGeneration") or 0) >= int(self.metadata["generation"])

    @property
    def restarted_at(self) -> str:
        """The time of its last restart, as it was written; empty where it had none."""
        return restarted_at(self.template)

    @property
    def replicas(self) -> int:
        """Containers that it should have; a DaemonSet's is what its controller counted."""
        if self.kind is Kind.DAEMON_SET:
            return int(self.status.get("desiredNumberScheduled") or 0)
        wanted = self.spec.get("replicas")
        return 1 if wanted is None else int(wanted)

    @property
    def is_stopped(self) -> bool:
        """Nothing of it shall run."""
        return self.kind is not Kind.DAEMON_SET and self.replicas == 0

    @property
    def stopped_replicas(self) -> int:
        """How many replicas it had when we stopped it; 0 where nobody noted it."""
        return read_stopped(self.annotations)

    @property
    def main(self) -> Json:
        """The container that people mean: the one that the default-container annotation names, else the first."""
        named = ((self.template.get("metadata") or {}).get("annotations") or {}).get(DEFAULT_CONTAINER)
        containers: list[Json] = self.template["spec"]["containers"]
        return next((one for one in containers if one["name"] == named), containers[0])

    @property
    def has_probe(self) -> bool:
        """Its main container is asked whether it is ready; without that a pod is ready as soon as it runs."""
        return bool(self.main.get("readinessProbe") or self.main.get("startupProbe"))

    @property
    def grace_s(self) -> int:
        """How long its pods may take to stop, in seconds (Kubernetes: PodSpec, terminationGracePeriodSeconds)."""
        given = self.template["spec"].get("terminationGracePeriodSeconds")
        return 30 if given is None else int(given)

    @property
    def strategy(self) -> Json:
        """How its pods are replaced."""
        found: Json = self.spec.get("strategy" if self.kind is Kind.DEPLOYMENT else "updateStrategy") or {}
        return found

    @property
    def rolling(self) -> Json:
        """The parameters of a rolling update."""
        found: Json = self.strategy.get("rollingUpdate") or {}
        return found

    @property
    def moving(self) -> int:
        """How many pods a restart replaces: all of them, but for a StatefulSet only from its partition on."""
        if self.kind is not Kind.STATEFUL_SET:
            return self.replicas
        first = int((self.spec.get("ordinals") or {}).get("start") or 0)
        return max(0, min(self.replicas, first + self.replicas - int(self.rolling.get("partition") or 0)))

    @property
    def selector(self) -> str:
        """Its label selector as a query parameter."""
        return selector_text(self.spec.get("selector") or {})


def restarted_at(template: Json) -> str:
    """Read when pods of this template, or this pod, were ordered anew."""
    return str(((template.get("metadata") or {}).get("annotations") or {}).get(RESTARTED_AT) or "")


def fingerprint(template: Json) -> str:
    """Return what tells one pod template from another, without what is in it."""
    return hashlib.sha256(json.dumps(template, sort_keys=True).encode()).hexdigest()


def selector_text(selector: Json) -> str:
    """Write a label selector as the API's query parameter (Kubernetes: Labels and Selectors)."""
    parts = [f"{name}={value}" for name, value in sorted((selector.get("matchLabels") or {}).items())]
    for one in selector.get("matchExpressions") or ():
        parts.append(_EXPRESSIONS[one["operator"]].format(key=one["key"], values=",".join(_sorted(one.get("values")))))
    return ",".join(parts)


def _sorted(values: Iterable[Any] | None) -> list[str]:
    return sorted(str(value) for value in values or ())


_EXPRESSIONS = {
    "In": "{key} in ({values})",
    "NotIn": "{key} notin ({values})",
    "Exists": "{key}",
    "DoesNotExist": "!{key}",
}
