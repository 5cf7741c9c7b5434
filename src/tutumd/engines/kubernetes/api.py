"""Requests to the API of a cluster; each with a time limit, each error translated."""

import json
from collections.abc import Callable, Collection
from contextlib import closing, suppress
from dataclasses import replace
from datetime import datetime
from threading import Lock
from typing import Any

from tutumd.engines.kubernetes.access import Client
from tutumd.engines.kubernetes.requests import (
    AUTOSCALERS,
    FIELD_MANAGER,
    JSON_PATCH,
    MERGE,
    METHODS,
    VERSION,
    ExpiredError,
    Request,
    message_of,
    on_collection,
    on_workload,
    read,
    translated,
)
from tutumd.engines.kubernetes.view import Pod, WorkloadView, read_pod
from tutumd.engines.kubernetes.workloads import Address, Workload, label_query
from tutumd.engines.labels import IGNORE, Json
from tutumd.engines.rollout import DeniedError, StaleError
from tutumd.errors import EngineRefusedError, EngineUnavailableError, Reason, TutumdError

PAGE = 500
WATCH_S = 50
_CONNECT_S, _READ_S, _WATCH_SILENCE_S = 5, 20, 60
_PROBE_S = 2.5  # in all, for each of two attempts
_LOG_BYTES = 64 * 1024
# 429: too many simultaneous requests; from 500: the API server, or one of its dependencies, is starting or stopping.
_ERRORS: dict[int, type[TutumdError]] = {
    409: StaleError,
    410: ExpiredError,
    **dict.fromkeys((429, 500, 502, 503, 504), EngineUnavailableError),
}


class Cluster:
    """The API of one cluster. Thread-safe."""

    def __init__(self, connect: Callable[[], Client]) -> None:
        self._connect = connect
        self._client: Client = None
        self._lock = Lock()

    def workload(self, address: Address) -> Workload | None:
        """Return one workload; None if it is gone. Raises EngineRefusedError if the workload must be ignored."""
        document = self._read(on_workload(address, "get"))
        if document is None:
            return None
        workload = Workload(address.kind, document)
        if not workload.is_shown:
            raise EngineRefusedError(f"{address.words} is left as it is: it has the annotation {IGNORE}")
        return workload

    def view(self, address: Address) -> WorkloadView | None:
        """Return one workload and its own pods, as `workload` does."""
        workload = self.workload(address)
        if workload is None:
            return None
        query = {"labelSelector": label_query(workload.spec.get("selector") or {})}
        page = self._read(replace(on_collection("list", "pods", address.namespace), query=query))
        if page is None:
            raise EngineUnavailableError(f"cannot list the pods of {address.words}: the API has no such list")
        pods = (read_pod(pod) for pod in page.get("items") or ())
        return WorkloadView(workload=workload, pods=tuple(pod for pod in pods if pod.owner == address))

    def require_view(self, address: Address) -> WorkloadView:
        """Return one workload and its own pods. Also raises EngineRefusedError if it is gone."""
        view = self.view(address)
        if view is None:
            raise EngineRefusedError(f"{address.words} is gone from the namespace {address.namespace}")
        return view

    def list_all(self, kind: str, namespace: str) -> tuple[list[Json], str]:
        """Return all deployments, statefulsets, daemonsets, pods or nodes, and the version at which a watch begins.

        Args:
            namespace: Empty means all.
        """
        request = on_collection("list", kind, namespace)
        objects: list[Json] = []
        query = {"limit": str(PAGE)}
        while True:
            try:
                page = self._call(replace(request, query=query))
            except ExpiredError:
                if "continue" not in query:
                    raise
                # The API has discarded the rest of the list: read it in one piece (client-go: tools/pager).
                objects, query = [], {}
                continue
            objects += page.get("items") or ()
            token = page["metadata"].get("continue")
            if not token:
                return objects, str(page["metadata"].get("resourceVersion") or "")
            query = {"limit": str(PAGE), "continue": token}

    def patch(self, request: Request, patch: Any) -> Json:
        """Patch an object and return it: by a list in JSON Patch, else in JSON Merge Patch. Raises StaleError if the
        version in the patch is out of date.
        """
        kind = JSON_PATCH if isinstance(patch, list) else MERGE
        return self._call(replace(request, query={"fieldManager": FIELD_MANAGER}, content_type=kind, body=patch))

    def scale(self, address: Address) -> Json | None:
        """Return the Scale object of a workload; None if the workload is gone."""
        return self._find(on_workload(address, "get", "/scale"))

    def set_scale(self, address: Address, version: str, replicas: int) -> None:
        """Set the number of replicas. Raises StaleError if the version of the Scale object is out of date."""
        body = {
            "apiVersion": "autoscaling/v1",
            "kind": "Scale",
            "metadata": {"name": address.name, "namespace": address.namespace, "resourceVersion": version},
            "spec": {"replicas": replicas},
        }
        self._call(replace(on_workload(address, "update", "/scale"), query={"fieldManager": FIELD_MANAGER}, body=body))

    def autoscaler(self, address: Address) -> Json | None:
        """Return the HorizontalPodAutoscaler whose target is the workload; None if there is none."""
        autoscalers: list[Json] = self._call(on_collection("list", AUTOSCALERS, address.namespace)).get("items") or []
        for autoscaler in autoscalers:
            target = autoscaler["spec"]["scaleTargetRef"]
            group = str(target.get("apiVersion")).partition("/")[0]
            if (group, target["kind"], target["name"]) == ("apps", address.kind.value, address.name):
                return autoscaler
        return None

    def delete_pod(self, pod: Pod) -> None:
        """Delete exactly this pod; a replacement with the same name stays."""
        body = {"apiVersion": "v1", "kind": "DeleteOptions", "preconditions": {"uid": pod.uid}}
        with suppress(StaleError):
            self._find(replace(on_collection("delete", "pods", pod.namespace), name=pod.name, body=body))

    def refused_creation(self, view: WorkloadView) -> str:
        """Return why the controller could not create a pod since our change of the workload; empty if it could."""
        workload = view.workload
        fields = {"involvedObject.uid": workload.metadata["uid"], "reason": "FailedCreate", "type": "Warning"}
        query = {"fieldSelector": ",".join(f"{name}={value}" for name, value in fields.items())}
        page = self._call(replace(on_collection("list", "events", workload.address.namespace), query=query))
        ours = (each for each in workload.metadata.get("managedFields") or () if each.get("manager") == FIELD_MANAGER)
        changed = max((str(each.get("time") or "") for each in ours), default="")
        # The API writes each time in UTC, in the same form.
        messages = {
            str(each.get("lastTimestamp") or each.get("eventTime")): str(each["message"])
            for each in page.get("items") or ()
        }
        latest = max(messages, default="")
        # A pod that was created after a refusal, or in the same second, shows that the refusal is over. The controller
        # tries again.
        is_over = any(pod.created and f"{pod.created:%Y-%m-%dT%H:%M:%SZ}" >= latest for pod in view.pods)
        return "" if is_over or latest < changed else messages.get(latest, "")

    def log(
        self,
        namespace: str,
        pod: str,
        container: str,
        *,
        lines: int,
        previous: bool = False,
        since: datetime | None = None,
    ) -> str:
        """Return the last lines of a container, each with its time; empty if there are none or the container is
        gone.
        """
        query = {
            "container": container,
            "tailLines": str(lines),
            "limitBytes": str(_LOG_BYTES),
            "timestamps": "true",
            **({"previous": "true"} if previous else {}),
            **({"sinceTime": since.isoformat()} if since else {}),
        }
        request = Request(verb="get", group="", resource="pods/log", namespace=namespace, name=pod, query=query)
        # 400: the container has not started, or has no previous instance.
        return self._text(request, 400, 404) or ""

    def watch(self, kind: str, namespace: str, version: str) -> Any:
        """Open a watch and return the response, to be read by `events` and closed; it ends by itself after a while."""
        query = {"resourceVersion": version, "timeoutSeconds": str(WATCH_S), "allowWatchBookmarks": "true"}
        request = replace(on_collection("watch", kind, namespace), query={"watch": "true", **query})
        return self._send(request, (_CONNECT_S, _WATCH_SILENCE_S))

    def version(self) -> tuple[str, str]:
        """Return the version of the cluster and the date of its response; both may be empty. It needs no permission."""
        with closing(self._send(VERSION, _PROBE_S)) as response:
            text = read(response, VERSION)
        told = json.loads(text) if text.startswith("{") else {}
        return str(told.get("gitVersion") or ""), str(response.headers.get("Date") or "")

    def is_allowed(self, wanted: Request) -> bool:
        """Query the cluster whether these credentials permit a request."""
        resource, _, subresource = wanted.resource.partition("/")
        attributes = {"group": wanted.group, "resource": resource, "subresource": subresource}
        body = {
            "apiVersion": "authorization.k8s.io/v1",
            "kind": "SelfSubjectAccessReview",
            "spec": {"resourceAttributes": {**attributes, "verb": wanted.verb, "namespace": wanted.namespace}},
        }
        request = Request(verb="create", group="authorization.k8s.io", resource="selfsubjectaccessreviews", body=body)
        return bool((self._call(request).get("status") or {}).get("allowed"))

    def close(self) -> None:
        """Close the connections."""
        with self._lock:
            if self._client is not None:
                self._client.close()
            self._client = None

    def _read(self, request: Request) -> Json | None:
        """Return an object that a change depends on; None if it is gone. A refusal is an EngineUnavailableError.

        A missing permission may be granted at any moment, and in the middle of a change the read must be repeated:
        otherwise the change would stay unfinished.
        """
        try:
            return self._find(request)
        except EngineRefusedError as error:
            raise EngineUnavailableError(str(error)) from error

    def _call(self, request: Request) -> Json:
        """Return the object of the response. Raises EngineRefusedError if there is none."""
        document = self._find(request)
        if document is None:
            raise EngineRefusedError(f"cannot {request.words}: it is not there")
        return document

    def _find(self, request: Request) -> Json | None:
        text = self._text(request, 404)
        with translated(f"cannot {request.words}: the response is no JSON", (ValueError,)):
            return None if text is None else json.loads(text)

    def _text(self, request: Request, *absent: int) -> str | None:
        """Return the text of the response; None for a status in `absent`."""
        with closing(self._send(request, (_CONNECT_S, _READ_S), absent)) as response:
            text = read(response, request)
        return None if response.status in absent else text

    def _send(self, request: Request, limits_s: float | tuple[float, float], accepted: Collection[int] = ()) -> Any:
        """Send a request, with a total limit, or one limit for connecting and one for silence.

        Args:
            accepted: Statuses of failures that are returned like successes.
        """
        with self._lock:
            if self._client is None:
                self._client = self._connect()
            api = self._client
        with translated(f"cannot {request.words}"):
            parameters = api.param_serialize(
                METHODS[request.verb],
                request.path,
                query_params=sorted(request.query.items()),
                header_params={"Accept": "application/json", "Content-Type": request.content_type},
                body=request.body,
                auth_settings=["BearerToken"],
            )
            response = api.call_api(*parameters, _request_timeout=limits_s).response
        if response.status < 300 or response.status in accepted:
            return response
        with closing(response):
            raise self._refusal(request, response.status, read(response, request))

    def _refusal(self, request: Request, status: int, text: str) -> TutumdError:
        message = message_of(text) or f"HTTP status {status}"
        if status == 401:
            # The next request reads the credentials again: they may have been renewed.
            self.close()
            return EngineUnavailableError(
                f"cannot {request.words}: the cluster refused the credentials: {message}",
                (Reason("credentials-refused", (message,)),),
            )
        if status == 403 and "system:anonymous" in message:
            self.close()
            return EngineUnavailableError(
                f"cannot {request.words}: no credentials were sent; if the kubeconfig names an exec plugin, see the "
                "server's output for why it gave none"
            )
        if status == 403:
            return DeniedError(
                f"cannot {request.words}: the cluster does not allow it. Missing permission: {request.permission}. "
                f"Rules are in deploy/kubernetes. The cluster says: {message}"
            )
        return _ERRORS.get(status, EngineRefusedError)(f"cannot {request.words}: {message}")
