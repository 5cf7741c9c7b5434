"""A small cluster in this process, with a real HTTP API for the official client."""

import json
import select
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import yaml

from tests.support.kubernetes.controllers import Controllers
from tests.support.kubernetes.kubelets import mark_deleted
from tests.support.kubernetes.rules import Permission, granted
from tests.support.kubernetes.store import Refusal, Store

TOKEN = "a-token-of-the-cluster"
# The roles of `deploy/kubernetes`, and what an admin may grant beyond them.
_GRANTED = granted("cluster.yaml") | {("", "nodes", "list")}


@dataclass(frozen=True)
class ApiRequest:
    """A request with what RBAC decides by, and its body."""

    verb: str
    group: str
    resource: str
    namespace: str
    name: str
    query: dict[str, str]
    content_type: str = ""
    body: Any = None

    @property
    def permission(self) -> Permission:
        return self.group, self.resource, self.verb


@dataclass
class FakeCluster:
    """The cluster. It refuses what the shipped rules do not grant, and what `allowed` returns False for.

    `before` and `after` are called around each request. They may raise Refusal or change objects.
    """

    store: Store = field(default_factory=Store)
    requests: list[ApiRequest] = field(default_factory=list)
    allowed: Callable[[ApiRequest], bool] = lambda request: True
    before: Callable[[ApiRequest], None] = lambda request: None
    after: Callable[[ApiRequest], None] = lambda request: None
    token: str = TOKEN
    url: str = ""

    def __post_init__(self) -> None:
        self.controllers = Controllers(self.store)

    def changes(self) -> list[ApiRequest]:
        """Return the requests that changed something."""
        return [request for request in self.requests if request.verb not in ("get", "list", "watch")]

    def write_kubeconfig(self, path: Path, *, user: dict[str, Any] | None = None, namespace: str = "shop") -> str:
        """Write a kubeconfig with one context, `test`."""
        content = {
            "apiVersion": "v1",
            "kind": "Config",
            "current-context": "test",
            "clusters": [{"name": "test", "cluster": {"server": self.url}}],
            "users": [{"name": "me", "user": user or {"token": self.token}}],
            "contexts": [{"name": "test", "context": {"cluster": "test", "user": "me", "namespace": namespace}}],
        }
        path.write_text(yaml.safe_dump(content))
        return str(path)


@contextmanager
def running() -> Iterator[FakeCluster]:
    """Yield a cluster whose API and controllers run."""
    cluster = FakeCluster()
    handler = type("Handler", (_Handler,), {"cluster": cluster})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.daemon_threads = True
    cluster.url = f"http://127.0.0.1:{server.server_port}"
    stop = threading.Event()

    def control() -> None:
        while not stop.wait(0.01):
            cluster.controllers.tick()

    threads = [
        threading.Thread(target=server.serve_forever, args=(0.05,), name="kubernetes api"),
        threading.Thread(target=control, name="kubernetes controllers"),
    ]
    for thread in threads:
        thread.start()
    try:
        yield cluster
    finally:
        stop.set()
        server.shutdown()
        server.server_close()
        for thread in threads:
            thread.join(timeout=60)


class _Handler(BaseHTTPRequestHandler):
    cluster: FakeCluster
    protocol_version = "HTTP/1.1"

    def log_message(self, format: str, *arguments: object) -> None:
        pass

    def do_GET(self) -> None:
        self._answer()

    do_POST = do_PATCH = do_PUT = do_DELETE = do_GET

    def _answer(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        try:
            if self.headers.get("Authorization") != f"Bearer {self.cluster.token}":
                raise Refusal(401, "Unauthorized")
            if self.path == "/version":
                self.cluster.before(ApiRequest("get", "", "version", "", "", {}))
                return self._send(200, b"{}")
            if self.path.rstrip("/").endswith("/selfsubjectaccessreviews"):
                allowed = self._is_allowed(json.loads(body)["spec"]["resourceAttributes"])
                return self._send(201, json.dumps({"status": {"allowed": allowed}}).encode())
            request = self._seen(json.loads(body) if body else None)
            self.cluster.requests.append(request)
            if request.permission not in _GRANTED or not self.cluster.allowed(request):
                group, resource, verb = request.permission
                raise Refusal(
                    403,
                    f'{resource} is forbidden: User "system:serviceaccount:tutumd:tutumd" cannot {verb} '
                    f'resource "{resource}" in API group "{group}" in the namespace "{request.namespace}"',
                )
            self.cluster.before(request)
            if request.verb == "watch":
                self._watch(request)
            else:
                answer = self._perform(request)
                self.cluster.after(request)
                text = answer.encode() if isinstance(answer, str) else json.dumps(answer).encode()
                self._send(200, text)
        except Refusal as refusal:
            status = {"kind": "Status", "status": "Failure", "message": refusal.message, "code": refusal.status}
            self._send(refusal.status, json.dumps(status).encode())

    def _is_allowed(self, told: dict[str, str]) -> bool:
        resource = "/".join(filter(None, (told["resource"], told["subresource"])))
        request = ApiRequest(told["verb"], told["group"], resource, told["namespace"], "", {})
        return request.permission in _GRANTED and self.cluster.allowed(request)

    def _seen(self, body: Any) -> ApiRequest:
        parts = urlsplit(self.path)
        query = dict(parse_qsl(parts.query))
        words = parts.path.strip("/").split("/")
        group, version, words = ("", words[1], words[2:]) if words[0] == "api" else (words[1], words[2], words[3:])
        if version != "v1":
            # Kubernetes before 1.23 has no autoscaling/v2.
            raise Refusal(404, "404 page not found")
        namespace = ""
        if words[0] == "namespaces":
            namespace, words = words[1], words[2:]
        resource, name = words[0], words[1] if len(words) > 1 else ""
        if len(words) > 2:
            resource = f"{resource}/{words[2]}"
        verbs = {"PATCH": "patch", "PUT": "update", "DELETE": "delete"}
        verb = verbs.get(self.command) or ("get" if name else "watch" if query.get("watch") else "list")
        content_type = self.headers.get("Content-Type") or "" if body is not None else ""
        return ApiRequest(verb, group, resource, namespace, name, query, content_type, body)

    def _perform(self, request: ApiRequest) -> Any:
        store = self.cluster.store
        resource, _, part = request.resource.partition("/")
        key = (resource, request.namespace, request.name)
        with store.lock:
            if request.verb == "list":
                return self._list(request)
            if part == "log":
                return self._log(store.get(("pods", request.namespace, request.name)), request.query)
            if part == "scale":
                return self._scale(request, key)
            if request.verb == "patch":
                self._check(new := store.patch(key, request.content_type, request.body))
                self._sign(request, key)
                return new
            if request.verb == "delete":
                return self._delete(request, key)
            return store.get(key)

    def _sign(self, request: ApiRequest, key: tuple[str, str, str]) -> None:
        """Note who changed an object, and when (Kubernetes: "Server-Side Apply", managedFields)."""
        now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        managed = [{"manager": request.query["fieldManager"], "operation": "Update", "time": now}]
        self.cluster.store.change(key, lambda new: new["metadata"].update(managedFields=managed))

    def _log(self, pod: Any, query: dict[str, str]) -> str:
        """Return the output of a container: what runs wrote `log[NAME]`, and what ended wrote `log["NAME before"]`.

        kubernetes: pkg/kubelet/kubelet_pods.go validateContainerLogStatus; kuberuntime removes all but the last one
        that has ended, and answers for the others with a sentence.
        """
        name, log = query["container"], self.cluster.controllers.log
        statuses = (pod.get("status") or {}).get("containerStatuses") or ()
        status: Any = next((each for each in statuses if each["name"] == name), {"state": {}})
        state, last = status["state"], (status.get("lastState") or {}).get("terminated")
        if query.get("previous"):
            if last is None:
                raise Refusal(400, f'previous terminated container "{name}" in pod "{query["container"]}" not found')
            if "terminated" in state:
                return f"unable to retrieve container logs for {last['containerID']}"
            return log.get(f"{name} before", "")
        if "running" in state:
            lines = log.get(name, "").splitlines(keepends=True)
            return "".join(line for line in lines if line[:19] >= query.get("sinceTime", "")[:19])
        if "terminated" not in state and last is None:
            raise Refusal(400, f'container "{name}" is waiting to start')
        return log.get(f"{name} before", "")

    @staticmethod
    def _check(new: Any) -> None:
        spec = new["spec"]
        if spec.get("minReadySeconds", 0) >= spec.get("progressDeadlineSeconds", 600):
            raise Refusal(422, "progressDeadlineSeconds: must be greater than minReadySeconds")

    def _list(self, request: ApiRequest) -> Any:
        found = self.cluster.store.list(request.resource, request.namespace)
        if wanted := request.query.get("labelSelector"):
            labels = dict(part.split("=") for part in wanted.split(","))
            found = [item for item in found if labels.items() <= item["metadata"]["labels"].items()]
        if selector := request.query.get("fieldSelector"):
            wanted_fields = dict(part.split("=") for part in selector.split(","))
            uid = wanted_fields.pop("involvedObject.uid")
            found = [
                item for item in found if item["involvedObject"]["uid"] == uid and wanted_fields.items() <= item.items()
            ]
        first, size = int(request.query.get("continue") or 0), int(request.query.get("limit") or len(found))
        metadata: dict[str, str] = {"resourceVersion": str(self.cluster.store.version)}
        if len(found) > first + size:
            metadata["continue"] = str(first + size)
        return {"metadata": metadata, "items": found[first : first + size]}

    def _scale(self, request: ApiRequest, key: tuple[str, str, str]) -> Any:
        workload = self.cluster.store.get(key)
        if request.verb == "update":
            workload["metadata"]["resourceVersion"] = request.body["metadata"]["resourceVersion"]
            workload["spec"]["replicas"] = request.body["spec"]["replicas"]
            workload = self.cluster.store.replace(key, workload)
            self._sign(request, key)
        names = ("name", "namespace", "resourceVersion", "uid")
        replicas = workload["spec"]["replicas"]
        metadata = {name: workload["metadata"][name] for name in names}
        return {"kind": "Scale", "metadata": metadata, "spec": {"replicas": replicas} if replicas else {}}

    def _delete(self, request: ApiRequest, key: tuple[str, str, str]) -> Any:
        pod = self.cluster.store.get(key)
        if request.body["preconditions"]["uid"] != pod["metadata"]["uid"]:
            raise Refusal(409, "Precondition failed: UID in precondition differs")
        self.cluster.store.change(key, mark_deleted)
        return pod

    def _watch(self, request: ApiRequest) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        ends = time.monotonic() + min(float(request.query["timeoutSeconds"]), 3.0)
        try:
            self._follow(request, ends)
            self.wfile.write(b"0\r\n\r\n")
        except OSError:
            self.close_connection = True

    def _follow(self, request: ApiRequest, ends: float) -> None:
        version = int(request.query["resourceVersion"])
        name = request.query.get("fieldSelector", "").removeprefix("metadata.name=")
        try:
            for event in self.cluster.store.follow(request.resource, request.namespace, version, ends, self._is_closed):
                if name in ("", event.key[2]):
                    self._line({"type": event.what, "object": event.object})
        except Refusal as refusal:
            self._line({"type": "ERROR", "object": {"code": refusal.status, "message": refusal.message}})

    def _is_closed(self) -> bool:
        """Return whether the client has closed the connection."""
        readable, _, _ = select.select([self.connection], [], [], 0)
        return bool(readable) and not self.connection.recv(1, socket.MSG_PEEK)

    def _line(self, event: Any) -> None:
        text = json.dumps(event).encode() + b"\n"
        self.wfile.write(b"%x\r\n%s\r\n" % (len(text), text))
        self.wfile.flush()

    def _send(self, status: int, text: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)
