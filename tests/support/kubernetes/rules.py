"""RBAC rules of `deploy/kubernetes`, as sets of permissions."""

from pathlib import Path
from typing import Any

import yaml

MANIFESTS = Path(__file__).parents[3] / "deploy" / "kubernetes"
Permission = tuple[str, str, str]
"""Group, resource with its subresource, verb."""


def rules(manifest: str) -> list[dict[str, Any]]:
    """Return the rules of a manifest's role, and check its binding."""
    role, binding = yaml.safe_load_all(_find(manifest).read_text())
    assert binding["roleRef"] == {
        "apiGroup": "rbac.authorization.k8s.io",
        "kind": role["kind"],
        "name": role["metadata"]["name"],
    }
    account = list(yaml.safe_load_all(_find("account.yaml").read_text()))[1]
    assert binding["subjects"] == [{"kind": account["kind"], **account["metadata"]}]
    return list(role["rules"])


def granted(manifest: str) -> frozenset[Permission]:
    """Return every permission that the rules of a manifest grant."""
    return frozenset(
        (group, resource, verb)
        for rule in rules(manifest)
        for group in rule["apiGroups"]
        for resource in rule["resources"]
        for verb in rule["verbs"]
    )


def _find(manifest: str) -> Path:
    (path,) = MANIFESTS.rglob(manifest)
    return path
