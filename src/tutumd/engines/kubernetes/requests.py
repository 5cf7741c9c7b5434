"""Requests to the API as values: path, permission and name for people; and the interpretation of their responses."""

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import urllib3.exceptions
from kubernetes.client.exceptions import ApiException

from tutumd.engines.faults import causes, explain
from tutumd.engines.kubernetes.workloads import Address
from tutumd.engines.labels import Json
from tutumd.errors import EngineUnavailableError

# The API names it as the owner of the fields that we set, also in conflicts of server-side apply.
FIELD_MANAGER = "tutumd"

MERGE = "application/merge-patch+json"
JSON_PATCH = "application/json-patch+json"

METHODS = {
    "get": "GET",
    "list": "GET",
    "watch": "GET",
    "patch": "PATCH",
    "update": "PUT",
    "delete": "DELETE",
    "create": "POST",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """One request.

    Attributes:
        verb: The verb of RBAC: get, list, watch, patch, update, delete, create.
        resource: With its subresource: `deployments`, `deployments/scale`.
        namespace: Empty means all.
        name: Name of the object; empty for list and watch.
        path: The path below the API server's address (Kubernetes: API concepts, "Resource URIs").
        permission: The RBAC permission that it needs.
        words: Phrase that follows "cannot".
    """

    verb: str
    group: str
    resource: str
    namespace: str = ""
    name: str = ""
    query: Mapping[str, str] = field(default_factory=dict)
    content_type: str = "application/json"
    body: Any = None

    @property
    def path(self) -> str:
        if self.resource == VERSION.resource:
            return "/version"
        base = f"/apis/{self.group}/v1" if self.group else "/api/v1"
        place = f"/namespaces/{self.namespace}" if self.namespace else ""
        resource, _, subresource = self.resource.partition("/")
        parts = "/".join(filter(None, (resource, self.name, subresource)))
        return f"{base}{place}/{parts}"

    @property
    def permission(self) -> str:
        place = f"in the namespace {self.namespace}" if self.namespace else "in all namespaces"
        return f'verb {self.verb} on {self.resource} (apiGroup "{self.group}") {place}'

    @property
    def words(self) -> str:
        place = f" in the namespace {self.namespace}" if self.namespace else ""
        return f"{self.verb} {self.resource}{f' {self.name}' if self.name else ''}{place}"


# What every API server answers, whatever the permissions.
VERSION = Request(verb="get", group="", resource="version")


AUTOSCALERS = "horizontalpodautoscalers"
# Their v1 has all fields that are read and set here, and every cluster serves it; v2 is available only since 1.23.
_GROUPS = {"pods": "", "nodes": "", "events": "", AUTOSCALERS: "autoscaling"}


def on_collection(verb: str, kind: str, namespace: str) -> Request:
    """Return the request for all objects of a kind: the plural of a `Kind`, or a name in `_GROUPS`."""
    return Request(verb=verb, group=_GROUPS.get(kind, "apps"), resource=kind, namespace=namespace)


def on_workload(address: Address, verb: str, subresource: str = "") -> Request:
    """Return the request for one workload, or for a subresource such as `/scale`."""
    return Request(
        verb=verb,
        group="apps",
        resource=f"{address.kind.plural}{subresource}",
        namespace=address.namespace,
        name=address.name,
    )


CONNECTION_ERRORS = (ApiException, urllib3.exceptions.HTTPError, OSError)
_PART_BYTES = 64 * 1024


class ExpiredError(EngineUnavailableError):
    """The API has discarded the rest of a list, or the changes since the start version of a watch: list again."""


def events(response: Any) -> Iterator[tuple[str, Json]]:
    """Yield the events of a watch until it ends: the kind of event and its object.

    Raises:
        ExpiredError: The API has discarded the changes since the start version of the watch.
        EngineUnavailableError: The connection broke, or the API ended the watch for another reason.
    """
    rest = b""
    with translated("watching the cluster was interrupted", (*CONNECTION_ERRORS, ValueError)):
        while part := response.read1(_PART_BYTES):
            *lines, rest = (rest + part).split(b"\n")
            for event in map(json.loads, filter(None, lines)):
                changed = event["object"]
                if event["type"] == "ERROR":
                    message = changed.get("message") or changed.get("reason") or "no reason was given"
                    kind = ExpiredError if changed.get("code") == 410 else EngineUnavailableError
                    raise kind(f"the cluster ended a watch: {message}")
                yield event["type"], changed


@contextmanager
def translated(what: str, errors: tuple[type[Exception], ...] = CONNECTION_ERRORS) -> Iterator[None]:
    """Turn these errors into EngineUnavailableError."""
    try:
        yield
    except errors as error:
        raise EngineUnavailableError(f"{what}: {_cause(error)}", explain(error)) from error


def read(response: Any, request: Request) -> str:
    """Return the text of the response to a request."""
    with translated(f"cannot {request.words}"):
        return str(response.read(), errors="replace")


def message_of(text: str) -> str:
    """Return the message of the API's Status object, else the start of the text."""
    try:
        return str(json.loads(text).get("message") or "")
    except (ValueError, AttributeError):
        return text.strip()[:200]


def _cause(error: BaseException) -> str:
    innermost = causes(error)[-1]
    if isinstance(innermost, TimeoutError):
        return "the cluster did not respond in time"
    return str(innermost) or type(innermost).__name__
