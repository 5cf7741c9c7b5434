"""The permissions of the engine `kubernetes`, each asked for with a review that changes nothing."""

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from email.utils import parsedate_to_datetime

from tutumd.engines.rollout.clock_skew import compare_clocks
from tutumd.model.findings import Finding, Level, ok

_KINDS = ("deployments", "statefulsets", "daemonsets")
_SCALED = ("deployments/scale", "statefulsets/scale")


@dataclass(frozen=True, slots=True, kw_only=True)
class Permission:
    """A permission of RBAC.

    Attributes:
        purpose: What does not work without it.
        is_vital: Whether a redeploy needs it.
    """

    group: str
    resource: str
    verb: str
    purpose: str
    is_vital: bool


_PERMISSIONS = (
    (True, "apps", _KINDS, "get list watch", "no {} are found"),
    (True, "apps", _KINDS, "patch", "{} cannot be redeployed"),
    (False, "apps", _SCALED, "get update", "nothing can be scaled"),
    (True, "", ("pods",), "list watch", "no redeploy can be judged"),
    (False, "", ("pods",), "delete", "a StatefulSet that is stuck stays so"),
    (False, "", ("pods/log",), "get", "no output can be shown"),
    (False, "", ("events",), "list", "it is told late why no pod is created"),
    (False, "autoscaling", ("horizontalpodautoscalers",), "list", "nothing can be scaled"),
    (False, "autoscaling", ("horizontalpodautoscalers",), "patch", "tutum.scale.hpa=raise-min has no effect"),
)
PERMISSIONS = tuple(
    Permission(group=group, resource=resource, verb=verb, purpose=purpose.format(resource), is_vital=is_vital)
    for is_vital, group, resources, verbs, purpose in _PERMISSIONS
    for resource in resources
    for verb in verbs.split()
)


def check_connection(subject: str, read_version: Callable[[], tuple[str, str]]) -> Iterator[Finding]:
    """Yield whether the cluster answers, and whether its clock is right."""
    before = time.time()
    version, date = read_version()
    yield ok(subject, f"answers: Kubernetes {version}".strip())
    if date:  # in whole seconds
        yield from compare_clocks(subject, parsedate_to_datetime(date).timestamp(), before - 1, time.time())


def check_permissions(
    subject: str, namespaces: Sequence[str], is_allowed: Callable[[Permission, str], bool]
) -> Iterator[Finding]:
    """Yield the permissions that are missing.

    Args:
        namespaces: Empty names stand for all.
        is_allowed: Asks for a permission in a namespace.
    """
    for namespace in namespaces:
        place = f"in the namespace {namespace}" if namespace else "in all namespaces"
        missing = [permission for permission in PERMISSIONS if not is_allowed(permission, namespace)]
        file = "namespace/namespace.yaml" if namespace else "cluster/cluster.yaml"
        option = f" --namespace {namespace}" if namespace else ""
        for permission in missing:
            yield Finding(
                subject=subject,
                level=Level.WRONG if permission.is_vital else Level.WARNING,
                text=f"may not {permission.verb} {permission.resource} {place}: {permission.purpose}",
                mend=f"kubectl apply{option} --filename deploy/kubernetes/{file}",
            )
        if not missing:
            yield ok(subject, f"has each of the {len(PERMISSIONS)} permissions {place}")
