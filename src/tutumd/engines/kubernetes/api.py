"""What is asked of a cluster; each request with a limit, each error in our words."""

import json
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import replace
from threading import Lock
from typing import Any

import urllib3.exceptions
from kubernetes.client.exceptions import ApiException

from tutumd.engines.kubernetes.connection import Client
from tutumd.engines.kubernetes.requests import FIELD_MANAGER, JSON_PATCH, MERGE, STRATEGIC_MERGE, Request
from tutumd.engines.kubernetes.workloads import Address, Workload
from tutumd.engines.labels import Json
from tutumd.errors import EngineRefusedError, EngineUnavailableError, TutumdError

PAGE = 500
WATCH_S = 50
_CONNECT_S, _READ_S, _WATCH_SILENCE_S = 5, 20, 60
_LOG_BYTES = _PART_BYTES = 64 * 1024
# 429: too many requests at once; the others: the API server, or what it needs itself, is on its way down or up.
_PASSING = (429, 500, 502, 503, 504)


class ChangedError(TutumdError):
    """Somebody changed the object since it was read: read it again."""


class NotAllowedError(EngineRefusedError):
    """The cluster does not allow it: for good, or for a moment, since an API server that begins knows no rules yet."""


class ExpiredError(TutumdError):
    """The API does not remember a list or a watch any more: begin again."""


class Cluster:
    """The API of one cluster. Thread-safe."""

    def __init__(self, connect: Callable[[], Client]) -> None:
        self._connect = connect
        self._client: Client = None
        self._lock = Lock()

    def workload(self, address: Address) -> Workload | None:
        """Read one workload; None where it is gone."""
        found = self._find(_on(address, "get"))
        return None if found is None else Workload(address.kind, found)

    def all_of(self, kind: str, namespace: str) -> tuple[list[Json], str]:
        """List deployments, statefulsets, daemonsets or pods; return them and the version that a watch begins at.

        Args:
            namespace: Empty means all.
        """
        request = collection("list", kind, namespace)
        objects: list[Json] = []
        query = {"limit": str(PAGE)}
        while True:
            try:
                page = self.call(replace(request, query=query))
            except ExpiredError:
                if "continue" not in query:
                    raise
                # The API has forgotten the rest of the list: read it in one piece (client-go: tools/pager).
                objects, query = [], {}
                continue
            objects += page.get("items") or []
            following = page["metadata"].get("continue") or ""
            if not following:
                return objects, str(page["metadata"].get("resourceVersion") or "")
            query = {"limit": str(PAGE), "continue": following}

    def pods(self, workload: Workload) -> list[Json]:
        """List the pods that the workload's selector names."""
        request = collection("list", "pods", workload.address.namespace)
        page = self.call(replace(request, query={"labelSelector": workload.selector}))
        return list(page.get("items") or [])

    def restart(self, address: Address, body: Json) -> Json:
        """Send a strategic merge patch. Raises ChangedError where the version that the body names is not the last."""
        return self.call(_patch(_on(address, "patch"), STRATEGIC_MERGE, body))

    def put_back(self, address: Address, body: list[Json]) -> Json:
        """Send a JSON patch. Raises ChangedError as `restart` does."""
        return self.call(_patch(_on(address, "patch"), JSON_PATCH, body))

    def annotate(self, address: Address, body: Json) -> Json:
        """Send a merge patch. Raises ChangedError as `restart` does."""
        return self.call(_patch(_on(address, "patch"), MERGE, body))

    def scale(self, address: Address) -> Json | None:
        """Read the number of replicas; None where the workload is gone."""
        return self._find(_on(address, "get", "/scale"))

    def set_scale(self, address: Address, body: Json) -> Json:
        """Write the number of replicas. Raises ChangedError where it was written since it was read."""
        query = {"fieldManager": FIELD_MANAGER}
        return self.call(replace(_on(address, "update", "/scale"), query=query, body=body))

    def autoscalers(self, namespace: str) -> list[Json]:
        """List the HorizontalPodAutoscalers of a namespace."""
        return list(self.call(_autoscaling("list", namespace)).get("items") or [])

    def patch_autoscaler(self, namespace: str, name: str, body: Json) -> Json:
        """Send a merge patch to a HorizontalPodAutoscaler. Raises ChangedError as `restart` does."""
        return self.call(_patch(replace(_autoscaling("patch", namespace), name=name), MERGE, body))

    def delete_pod(self, namespace: str, name: str, uid: str) -> None:
        """Delete exactly this pod; one of the same name that has replaced it stays."""
        body = {"apiVersion": "v1", "kind": "DeleteOptions", "preconditions": {"uid": uid}}
        try:
            self._find(replace(_pod("delete", "pods", namespace, name), body=body))
        except ChangedError:
            return

    def log(self, namespace: str, pod: str, container: str, *, lines: int, previous: bool = False) -> str:
        """Read the last lines that a container wrote, each with its time; empty where it wrote none or is gone."""
        query = {
            "container": container,
            "tailLines": str(lines),
            "limitBytes": str(_LOG_BYTES),
            "timestamps": "true",
            **({"previous": "true"} if previous else {}),
        }
        request = replace(_pod("get", "pods/log", namespace, pod), query=query)
        response = self._send(request, _READ_S)
        with closing(response):
            text = _read(response, request).decode(errors="replace")
            # 400: the container has not started, or has no instance before this one.
            if response.status in (400, 404):
                return ""
            if response.status >= 300:
                raise self._refusal(request, response.status, text)
            return text

    def watch(self, kind: str, namespace: str, version: str) -> Any:
        """Open a watch and return the response, to be read by `events` and closed; it ends by itself after a while."""
        query = {"resourceVersion": version, "timeoutSeconds": str(WATCH_S), "allowWatchBookmarks": "true"}
        request = replace(collection("watch", kind, namespace), query={"watch": "true", **query})
        response = self._send(request, _WATCH_SILENCE_S)
        if response.status >= 300:
            with closing(response):
                raise self._refusal(request, response.status, _read(response, request).decode(errors="replace"))
        return response

    def close(self) -> None:
        """Let go of connections."""
        with self._lock:
            if self._client is not None:
                self._client.close()
            self._client = None

    def call(self, request: Request) -> Json:
        """Send a request and return the object that it answers. Raises EngineRefusedError where there is none."""
        answer = self._find(request)
        if answer is None:
            raise EngineRefusedError(f"cannot {request.words}: it is not there")
        return answer

    def _find(self, request: Request) -> Json | None:
        response = self._send(request, _READ_S)
        with closing(response):
            text = _read(response, request).decode(errors="replace")
        if response.status == 404:
            return None
        if response.status >= 300:
            raise self._refusal(request, response.status, text)
        try:
            answer: Json = json.loads(text)
        except ValueError as error:
            raise EngineUnavailableError(f"cannot {request.words}: the answer is no JSON") from error
        return answer

    def _send(self, request: Request, silence_s: float) -> Any:
        with self._lock:
            if self._client is None:
                self._client = self._connect()
            api = self._client
        try:
            parameters = api.param_serialize(
                request.method,
                request.path,
                query_params=sorted(request.query.items()),
                header_params={"Accept": "application/json", "Content-Type": request.content_type},
                body=request.body,
                auth_settings=["BearerToken"],
            )
            return api.call_api(*parameters, _request_timeout=(_CONNECT_S, silence_s)).response
        except ApiException as error:
            raise EngineUnavailableError(f"cannot {request.words}: {error.reason}") from error
        except (urllib3.exceptions.HTTPError, OSError) as error:
            raise EngineUnavailableError(f"cannot {request.words}: {_cause(error)}") from error

    def _refusal(self, request: Request, status: int, text: str) -> TutumdError:
        told = _message(text) or f"HTTP status {status}"
        if status == 401:
            # The next request reads the credentials afresh: they may have been renewed.
            self.close()
            return EngineUnavailableError(f"cannot {request.words}: the cluster refused the credentials: {told}")
        if status == 403 and "system:anonymous" in told:
            self.close()
            return EngineUnavailableError(
                f"cannot {request.words}: no credentials were sent; if the kubeconfig names an exec plugin, see the "
                "server's output for why it gave none"
            )
        if status == 403:
            return NotAllowedError(
                f"cannot {request.words}: the cluster does not allow it. Missing permission: {request.permission}. "
                f"Rules are in deploy/kubernetes. The cluster says: {told}"
            )
        if status == 409:
            return ChangedError(told)
        if status == 410:
            return ExpiredError(told)
        kind = EngineUnavailableError if status in _PASSING else EngineRefusedError
        return kind(f"cannot {request.words}: {told}")


def events(response: Any) -> Iterator[tuple[str, Json]]:
    """Read the events of a watch until it ends: what happened, and to which object.

    Raises:
        ExpiredError: The API does not remember what came after the version that the watch began at.
        EngineUnavailableError: The connection broke, or the API ended the watch for another reason.
    """
    rest = b""
    try:
        while part := response.read1(_PART_BYTES):
            *lines, rest = (rest + part).split(b"\n")
            for line in filter(None, lines):
                event = json.loads(line)
                if event["type"] == "ERROR":
                    raise _trouble(event["object"])
                yield event["type"], event["object"]
    except (urllib3.exceptions.HTTPError, OSError, ValueError) as error:
        raise EngineUnavailableError(f"watching the cluster was interrupted: {_cause(error)}") from error


def _trouble(status: Json) -> TutumdError:
    """Tell what the Status object of a watch's ERROR event means. Only with 410 does it help to list anew at once."""
    told = str(status.get("message") or status.get("reason") or "no reason was given")
    if status.get("code") == 410:
        return ExpiredError(told)
    return EngineUnavailableError(f"the cluster ended a watch: {told}")


def collection(verb: str, kind: str, namespace: str) -> Request:
    """Name all objects of a kind: `pods`, or what `Kind` has."""
    group = "" if kind == "pods" else "apps"
    return Request(verb=verb, group=group, version="v1", resource=kind, namespace=namespace)


def _on(address: Address, verb: str, subresource: str = "") -> Request:
    return Request(
        verb=verb,
        group="apps",
        version="v1",
        resource=f"{address.kind.plural}{subresource}",
        namespace=address.namespace,
        name=address.name,
    )


def _patch(request: Request, content_type: str, body: Any) -> Request:
    return replace(request, query={"fieldManager": FIELD_MANAGER}, content_type=content_type, body=body)


def _autoscaling(verb: str, namespace: str) -> Request:
    # v1 has all that we read and set, and is served by every cluster; v2 only since 1.23.
    resource = "horizontalpodautoscalers"
    return Request(verb=verb, group="autoscaling", version="v1", resource=resource, namespace=namespace)


def _pod(verb: str, resource: str, namespace: str, name: str) -> Request:
    return Request(verb=verb, group="", version="v1", resource=resource, namespace=namespace, name=name)


def _read(response: Any, request: Request) -> bytes:
    try:
        data: bytes = response.read()
    except (urllib3.exceptions.HTTPError, OSError) as error:
        raise EngineUnavailableError(f"cannot {request.words}: {_cause(error)}") from error
    return data


def _message(text: str) -> str:
    """Read the API's own words from its Status object."""
    try:
        return str(json.loads(text).get("message") or "")
    except (ValueError, AttributeError):
        return text.strip()[:200]


def _cause(error: BaseException) -> str:
    innermost = error
    while (following := innermost.__cause__ or innermost.__context__) is not None:
        innermost = following
    if isinstance(innermost, TimeoutError):
        return "the cluster did not answer in time"
    return str(innermost) or type(innermost).__name__
