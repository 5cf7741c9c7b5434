"""Requests to the API as values: where they go, which permission they need, and how people call them."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

FIELD_MANAGER = "tutumd"
"""Whom the API names as the owner of the fields that we set, also in conflicts of server-side apply."""

STRATEGIC_MERGE = "application/strategic-merge-patch+json"
MERGE = "application/merge-patch+json"
JSON_PATCH = "application/json-patch+json"

_METHODS = {"get": "GET", "list": "GET", "watch": "GET", "patch": "PATCH", "update": "PUT", "delete": "DELETE"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """One request.

    Attributes:
        verb: In the words of RBAC: get, list, watch, patch, update, delete.
        resource: With its subresource: `deployments`, `deployments/scale`.
        namespace: Empty means all.
        name: Of the object; empty for list and watch.
    """

    verb: str
    group: str
    version: str
    resource: str
    namespace: str = ""
    name: str = ""
    query: Mapping[str, str] = field(default_factory=dict)
    content_type: str = "application/json"
    body: Any = None

    @property
    def method(self) -> str:
        """The HTTP method."""
        return _METHODS[self.verb]

    @property
    def path(self) -> str:
        """The path below the API server's address (Kubernetes: API concepts, "Resource URIs")."""
        base = f"/apis/{self.group}/{self.version}" if self.group else f"/api/{self.version}"
        place = f"/namespaces/{self.namespace}" if self.namespace else ""
        resource, _, subresource = self.resource.partition("/")
        parts = "/".join(part for part in (resource, self.name, subresource) if part)
        return f"{base}{place}/{parts}"

    @property
    def permission(self) -> str:
        """What RBAC has to allow for it, as people write rules."""
        group = f'"{self.group}"' if self.group else '""'
        place = f"in the namespace {self.namespace}" if self.namespace else "in all namespaces"
        return f"verb {self.verb} on {self.resource} (apiGroup {group}) {place}"

    @property
    def words(self) -> str:
        """What it does, as words that follow "cannot"."""
        place = f" in the namespace {self.namespace}" if self.namespace else ""
        return f"{self.verb} {self.resource}{f' {self.name}' if self.name else ''}{place}"
