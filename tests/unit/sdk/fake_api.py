"""A small Tutum API in memory, which the SDK reaches through a mock transport; and a clock that only counts."""

import json
from collections.abc import Iterable
from typing import Any
from urllib.parse import urlencode

import httpx2

from tutum import Client

WEB = "61a29874-9134-48f9-b460-f37d4bec4826"
OTHER_WEB = "61a2aaaa-0000-4000-8000-000000000002"
DB = "db000000-0000-4000-8000-000000000003"
DEPLOY = "7eaf7fff-882c-4f3d-9a8f-a22317ac00ce"
GROW = "0224815a-c156-44e4-92d7-997c69354438"
GROUP = "96047000-0000-4000-8000-00000000000a"
ROTATED = "5ec2e700-0000-4000-8000-000000000009"
ACTION = "ac000000-0000-4000-8000-000000000001"
BASE_URL = "http://tutum.test/api/v1/"


PLAN: dict[str, Any] = {
    "possible": True,
    "reason": "",
    "order": "start-first",
    "order_reason": "nothing forbids it",
    "image_name": "hello:latest",
    "image_before": f"sha256:{'1' * 64}",
    "image_after": f"sha256:{'2' * 64}",
    "steps": ["pull hello:latest", "start web-1", "stop the old web-1"],
    "notes": ["two containers share the volume data for a while"],
}


def service(uuid: str, name: str, **fields: Any) -> dict[str, Any]:
    """Return a service as the server describes it."""
    return {
        "uuid": uuid,
        "name": name,
        "resource_uri": f"/api/v1/service/{uuid}/",
        "state": "Running",
        "engine": "local",
        "image_name": "hello:latest",
        "running_num_containers": 2,
        "target_num_containers": 2,
        "current_num_containers": 2,
        "deployed_datetime": "Mon, 13 Oct 2014 11:01:43 +0000",
        "containers": [],
        **fields,
    }


class CountingClock:
    """A clock on which nothing but `sleep` takes time, unless the user interrupts it."""

    def __init__(self) -> None:
        self.slept: list[float] = []
        self.interrupts = False

    def monotonic(self) -> float:
        return sum(self.slept)

    def sleep(self, seconds: float) -> None:
        if self.interrupts:
            raise KeyboardInterrupt
        self.slept.append(seconds)


STARTED = "Mon, 13 Oct 2014 11:01:43 +0000"
LINES: list[dict[str, Any]] = [
    {"number": 1, "time": "2014-10-13T11:01:43.500Z", "text": "pulling app:v2"},
    {"number": 2, "time": "2014-10-13T11:01:55.000Z", "text": "\x1b[31mstarting web-2"},
]


class FakeApi:
    """Responds to requests from its lists, and records them."""

    def __init__(self, *, page_size: int = 100) -> None:
        self.page_size = page_size
        self.services: list[dict[str, Any]] = [service(WEB, "web")]
        self.handlers: list[dict[str, Any]] = [
            self.handler(DEPLOY, "deploy", "REDEPLOY"),
            self.handler(GROW, "grow", "SCALEUP"),
        ]
        self.groups: list[dict[str, Any]] = [self.group(GROUP, "shop", stack="shop", engine="docker")]
        self.group_calls: list[dict[str, Any]] = []
        self.progress: list[dict[str, Any]] = []
        self.deliveries: list[dict[str, Any]] = []
        self.actions: list[dict[str, Any]] = []
        self.states: list[str] = ["Pending", "In progress", "Success"]
        self.plan: dict[str, Any] = {}
        self.outcome: dict[str, Any] = {}
        self.requests: list[httpx2.Request] = []
        self.scripted: list[httpx2.Response | Exception] = []
        self.clock = CountingClock()
        self.transport = httpx2.MockTransport(self._respond)

    def client(self, **options: Any) -> Client:
        """Return a client of this API."""
        settings = {"user": "bob", "apikey": "s3cret-key", "base_url": BASE_URL, **options}
        return Client(transport=self.transport, clock=self.clock, **settings)

    def script(self, responses: Iterable[httpx2.Response | Exception]) -> None:
        """Send these responses to the next requests, whatever they are."""
        self.scripted = list(responses)

    def sent(self) -> list[str]:
        """Return method and path below the API's root of each request."""
        return [f"{request.method} {request.url.path.removeprefix('/api/v1')}" for request in self.requests]

    def body(self, index: int = -1) -> Any:
        """Return the decoded body of a request."""
        return json.loads(self.requests[index].content)

    @staticmethod
    def handler(uuid: str, name: str | None, operation: str) -> dict[str, Any]:
        """Return a handler as the server describes it."""
        uri = f"/api/v1/service/{WEB}/webhook/handler/{uuid}/"
        return {
            "uuid": uuid,
            "name": name,
            "operation": operation,
            "resource_uri": uri,
            "url": f"{uri}call/",
            "created_datetime": "Mon, 13 Oct 2014 11:01:43 +0000",
            "last_called_datetime": None,
            "calls": 0,
            "rotation": None,
        }

    @staticmethod
    def group(uuid: str, name: str | None, **fields: Any) -> dict[str, Any]:
        """Return a group as the server describes it."""
        uri = f"/api/v1/webhook/group/{uuid}/"
        selector = dict.fromkeys(("services", "stack", "engine", "match"))
        handler = {**FakeApi.handler(uuid, name, ""), "resource_uri": uri, "url": f"{uri}call/", "call_url": None}
        del handler["operation"]
        own = {"number": 7, "owner": "bob", "sequence": "none", "on_failure": "cancel", "enabled": True, "verify": None}
        return {**handler, **selector, **own, **fields}

    def _respond(self, request: httpx2.Request) -> httpx2.Response:
        self.requests.append(request)
        if self.scripted:
            response = self.scripted.pop(0)
            if isinstance(response, Exception):
                raise response
            return response
        parts = request.url.path.removeprefix("/api/v1/").strip("/").split("/")
        match parts:
            case ["auth"]:
                return httpx2.Response(200, json={"objects": [{"username": "bob", "key": "s3cret-key"}]})
            case ["service"] if request.method == "GET":
                return self._page(request, self.services)
            case ["service"]:
                created = {**service(OTHER_WEB, "new"), **json.loads(request.content)}
                self.services.append(created)
                return httpx2.Response(201, json=created)
            case ["service", uuid, *rest]:
                return self._service(request, uuid, rest)
            case ["webhook", "handler"]:
                listed = [{**handler, "service": f"/api/v1/service/{WEB}/"} for handler in self.handlers]
                return httpx2.Response(200, json={"meta": {"next": None}, "objects": listed})
            case ["webhook", "group", *below]:
                return self._groups(request, below)
            case ["notification", "target"] | ["freeze"]:
                return self._page(request, [])
            case ["webhook", "groupcall"]:
                return httpx2.Response(200, json={"meta": {"next": None}, "objects": self.group_calls})
            case ["status", _]:
                return httpx2.Response(200, json=self.progress.pop(0))
            case ["action"]:
                return self._page(request, self.actions)
            case ["action", _, "logs"]:
                lines = [line for line in LINES if line["number"] > int(request.url.params["after"])]
                return httpx2.Response(200, json={"logs": "", "lines": lines})
            case ["whoami"]:
                return httpx2.Response(200, json={"user": "bob", "role": "admin", "scope": "call", "stack": None})
            case ["action", uuid]:
                return httpx2.Response(200, json=self._action(uuid))
        return httpx2.Response(404, json={"error": "not found"})

    def _service(self, request: httpx2.Request, uuid: str, rest: list[str]) -> httpx2.Response:
        found = next((each for each in self.services if each["uuid"] == uuid), None)
        if found is None:
            return httpx2.Response(404, json={"error": "no such service"})
        match (request.method, *rest):
            case ("GET",):
                return httpx2.Response(200, json=found)
            case ("PATCH",):
                found.update(json.loads(request.content))
                return httpx2.Response(200, json=found)
            case ("GET", "logs"):
                return httpx2.Response(200, json={"logs": "one\ntwo\n"})
            case ("POST", "forget"):
                self.services.remove(found)
                return httpx2.Response(200, json=found)
            case ("POST", "redeploy") if request.url.params.get("dry_run") == "1" and self.plan:
                return httpx2.Response(200, json=self.plan)
            case ("DELETE",) | ("POST", "start" | "stop" | "redeploy" | "rollback" | "scale"):
                return self._accepted(found)
            case (_, "webhook", "handler", *below):
                return self._handlers(request, below)
        return httpx2.Response(405, json={"error": "method not allowed"})

    def _handlers(self, request: httpx2.Request, below: list[str]) -> httpx2.Response:
        if not below and request.method == "GET":
            return self._page(request, self.handlers)
        if not below and request.method == "POST":
            sent = json.loads(request.content)
            created = [
                {
                    **self.handler(f"c0ffee00-0000-4000-8000-{index:012}", None, "REDEPLOY"),
                    **{name: value for name, value in entry.items() if value is not None},
                }
                for index, entry in enumerate(sent if isinstance(sent, list) else [sent])
            ]
            self.handlers += created
            return httpx2.Response(201, json=created if isinstance(sent, list) else created[0])
        if below[-1] == "plan":
            return httpx2.Response(200, json={"name": None, "operation": "REDEPLOY", "changes": {}})
        found = next((each for each in self.handlers if below and each["uuid"] == below[0]), None)
        if found is None:
            return httpx2.Response(404, json={"error": f"no such webhook handler: {''.join(below[:1])}"})
        match (request.method, *below[1:]):
            case ("DELETE",):
                self.handlers.remove(found)
                return httpx2.Response(204)
            case ("PATCH",):
                found.update(json.loads(request.content))
                return httpx2.Response(200, json=found)
            case ("POST", "rotate"):
                fresh = self.handler(ROTATED, found["name"], found["operation"])
                found.update({**fresh, "rotation": {"old_until": "Mon, 13 Oct 2099 11:01:43 +0000"}})
                return httpx2.Response(201, json=found)
            case ("GET", "delivery"):
                return self._page(request, self.deliveries)
            case ("GET", "delivery", number):
                kept = next((each for each in self.deliveries if str(each["id"]) == number), None)
                return httpx2.Response(200 if kept else 404, json=kept or {"error": "no such delivery"})
        return self._accepted({**found, "action": f"/api/v1/action/{ACTION}/"})

    def _groups(self, request: httpx2.Request, below: list[str]) -> httpx2.Response:
        sent = json.loads(request.content or b"null")
        if not below and request.method == "GET":
            return self._page(request, self.groups)
        if not below:
            self.groups.append(self.group(f"c0ffee00-0000-4000-8000-{len(self.groups):012}", **{"name": None, **sent}))
            return httpx2.Response(201, json=self.groups[-1])
        found = next((each for each in self.groups if each["uuid"] == below[0]), None)
        if below[-1] == "plan":
            before = found or self.group("", "")
            changes = {name: value for name, value in sent.items() if value not in (None, before.get(name))}
            return httpx2.Response(200, json={"name": None, "changes": changes})
        if found is None:
            return httpx2.Response(404, json={"error": f"no such group: {below[0]}"})
        match (request.method, *below[1:]):
            case ("DELETE",):
                self.groups.remove(found)
                return httpx2.Response(204)
            case ("PATCH",):
                found.update(sent)
            case ("POST", "rotate"):
                rotation = {"old_until": "2099-10-13T11:01:43Z"}
                found.update(self.group(ROTATED, found["name"], rotation=rotation, stack=found["stack"]))
            case ("POST", "call"):
                return httpx2.Response(202, json=self.progress.pop(0))
        return httpx2.Response(200, json=found)

    def _accepted(self, body: dict[str, Any]) -> httpx2.Response:
        return httpx2.Response(202, json=body, headers={"X-Tutum-Action-URI": f"/api/v1/action/{ACTION}/"})

    def _action(self, uuid: str) -> dict[str, Any]:
        state = self.states.pop(0) if len(self.states) > 1 else self.states[0]
        fields = {"uuid": uuid, "action": "Service Redeploy", "state": state, "object": f"/api/v1/service/{WEB}/"}
        return {
            **fields,
            "start_date": STARTED,
            "deliveries": 1,
            **(self.outcome if state in {"Pending", "Success", "Failed"} else {}),
        }

    def _page(self, request: httpx2.Request, objects: list[dict[str, Any]]) -> httpx2.Response:
        filters = dict(request.url.params)
        limit = min(int(filters.pop("limit", "25")), self.page_size)
        offset = int(filters.pop("offset", "0"))
        found = [each for each in objects if all(_matches(each, *entry) for entry in filters.items())]
        following = offset + limit
        query = urlencode({**filters, "limit": limit, "offset": following})
        path = f"{request.url.path}?{query}" if following < len(found) else None
        meta = {"limit": limit, "offset": offset, "next": path, "previous": None, "total_count": len(found)}
        return httpx2.Response(200, json={"meta": meta, "objects": found[offset:following]})


def _matches(fields: dict[str, Any], name: str, value: str) -> bool:
    if name == "reference":
        names = (fields["name"], fields.get("full_name"), fields.get("selector"))
        return value in names or _matches(fields, "uuid__startswith", value.lower())
    key, _, test = name.partition("__")
    have = str(fields.get(key) or "")
    return have.startswith(value) if test == "startswith" else have == value
