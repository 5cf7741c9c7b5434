"""A server of the `local` engine with one of everything that the dashboard shows, made once for many pages."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from fastapi.routing import APIRoute

from tests.acceptance.accounts import add_login_link, add_member
from tests.acceptance.sender_calls import send_payload
from tests.support.pages import Page, signed_in
from tests.support.server import PATIENT, USER, LiveServer
from tests.support.waiting import wait_until
from tutumd.web.pages.site import PAGES

SECRET = "the secret that GitHub signs with"
PARTS = frozenset({"/static/{name}", "/running/", "/action/{uuid}/log/"})
"""Routes whose responses are no pages of their own."""

_ABOUT = (
    ("/groups/{", "group"),
    ("/groupcall/{", "group"),
    ("/delivery/{", "delivery"),
    ("/handler/{", "handler"),
    ("/action/{", "action"),
    ("/service/{", "service"),
    ("/sign-in/link/{", "link"),
    ("/target/{", "target"),
)
Parameters = Mapping[str, object]


@dataclass(frozen=True, slots=True, kw_only=True)
class FilledServer:
    """The server, and what it has.

    Attributes:
        found: Of each kind of thing the parameters of its addresses; the first one has the most to show.
    """

    server: LiveServer
    found: Mapping[str, list[Parameters]]

    def addresses(self, of_each: int = 1000) -> Iterator[str]:
        """Yield the addresses of every page: those of so many things, and of pages below them those of the first."""
        for template in page_templates():
            kind = next((kind for part, kind in _ABOUT if part in template), "")
            things = self.found[kind][: of_each if template.endswith("}/") else 1] if kind else [{}]
            yield from (template.format_map(thing) for thing in things)

    def address(self, kind: str, index: int = 0, template: str = "") -> str:
        """Return the address of the page of one thing."""
        own = {
            "service": "/service/{uuid}/",
            "handler": "/service/{service_uuid}/handler/{number}/",
            "delivery": "/service/{service_uuid}/handler/{number}/delivery/{delivery_number}/",
            "action": "/action/{uuid}/",
        }
        return (template or own[kind]).format_map(self.found[kind][index])


def page_templates() -> list[str]:
    """Return the paths of all pages, from the routes of the site."""
    return [
        route.path
        for module in PAGES
        for route in module.router.routes
        if isinstance(route, APIRoute) and "GET" in (route.methods or ()) and route.path not in PARTS
    ]


@contextmanager
def filled_server(folder: Path) -> Iterator[FilledServer]:
    """Run a server with services, handlers, deliveries of each outcome, and actions in each state."""
    with LiveServer(folder, "--engine", "local", command=PATIENT) as server:
        gate = folder / "gate"
        gate.touch()
        web, handlers = _fill(server, gate)
        mailer = _fail(server)
        gate.unlink()
        running = _begin(server, web)
        try:
            yield FilledServer(server=server, found=_find(server, web, mailer, handlers))
        finally:
            server.request("POST", f"{running[0]}cancel/")
            gate.touch()
            for each in running:
                server.wait_for_action(each)


def _fill(server: LiveServer, gate: Path) -> tuple[str, list[str]]:
    """Make a service with handlers of all kinds, and deliveries of all outcomes. Its processes end at a gate."""
    at_the_gate = f"trap 'while test ! -e {gate}; do sleep 0.2; done; exit' TERM; while :; do sleep 0.2; done"
    web = _run(server, "shop-web", f"echo 'listening on :8080'; {at_the_gate}", containers=2)
    server.create_service("reports", "exec sleep 36000")
    add_member(server, "ann")
    # Its messages are refused: loopback is in no network of --notify-allow.
    oncall = {"name": "oncall", "kind": "webhook", "settings": {"url": "https://127.0.0.1:9/hook"}}
    made = server.request("POST", "/api/v1/notification/target/", oncall).json
    server.request("POST", f"{made['resource_uri']}test/")
    for window in (
        {"service": "shop-web", "from": "2090-12-24", "to": "2090-12-27", "tz": "Europe/Berlin", "reason": "holidays"},
        {"service": "reports", "from": "2026-01-01", "to": "2090-01-01", "reason": "nobody reads them"},
    ):
        assert server.request("POST", "/api/v1/freeze/", window).status == 201
    github = server.make_handler(
        web,
        name="github-main",
        verify={"preset": "github", "secrets": [SECRET]},
        filter={"preset": "branch", "branch": "main"},
        rate_limit="30/minute",
        show_log=True,
    )
    called = send_payload(server, github["url"], "github-push", "github", SECRET)
    server.wait_for_action(called.json["action"])
    send_payload(server, github["url"], "github-push", "github", SECRET)  # again: Repeated
    send_payload(server, github["url"], "github-push", "github", "another secret", key="1")  # Refused
    send_payload(server, github["url"], "github-push", "github", SECRET, replaced=("heads/main", "heads/dev"), key="2")
    group = {"name": "backend", "services": ["shop-web"], "sequence": "listed"}
    made = server.request("POST", "/api/v1/webhook/group/", group).json
    called = server.post(made["url"].removeprefix(server.url), b"{}")
    for each in called.json["actions"]:
        server.wait_for_action(each["action"])
    more = server.make_handler(web, name="alerts", operation="SCALEUP", max_containers=4)
    off = server.make_handler(web, name="old-ci", enabled=False)
    moved = server.make_handler(web, name="registry", tag={"allow": ["v*"]}, allow_from=["10.0.0.0/8"])
    assert server.request("POST", f"{moved['resource_uri']}rotate/", {"grace": 86_400}).status == 201
    return web, [each["name"] for each in (github, more, off, moved)]


def _run(server: LiveServer, name: str, command: str = "exec sleep 36000", containers: int = 1) -> str:
    """Run a service whose image has a name as they are; this engine does not use it."""
    definition = {"name": name, "image": f"ghcr.io/acme/{name}:1.8", "run_command": command}
    created = server.request("POST", "/api/v1/service/", definition | {"target_num_containers": containers})
    uuid = str(created.json["uuid"])
    assert server.request("POST", f"/api/v1/service/{uuid}/start/").status == 202
    server.wait_for_service(uuid, state="Running", running_num_containers=containers)
    return uuid


def _fail(server: LiveServer) -> str:
    """Make a service whose newest action failed."""
    mailer = _run(server, "mailer")
    broken = "echo 'reading mail.toml'; echo 'error: no relay is set' >&2; exit 3"
    server.request("PATCH", f"/api/v1/service/{mailer}/", {"run_command": broken})
    failed = server.request("POST", f"/api/v1/service/{mailer}/redeploy/")
    server.wait_for_action(failed.headers["x-tutum-action-uri"])
    return mailer


def _begin(server: LiveServer, web: str) -> list[str]:
    """Begin an action that runs, one that waits, and one that is canceled; return them with the newest first."""
    handler = server.make_handler(web, name="deploy-script", debounce=3600)
    running = server.request("POST", f"/api/v1/service/{web}/redeploy/").headers["x-tutum-action-uri"]
    wait_until(lambda: server.request("GET", running).json["state"] == "In progress", "the redeploy runs")
    path = handler["url"].removeprefix(server.url)
    canceled = str(server.post(path, User_Agent="deploy.sh").json["action"])
    assert server.request("POST", f"{canceled}cancel/").status in (200, 202)
    waiting = str(server.post(path, User_Agent="deploy.sh").json["action"])
    server.post(path, User_Agent="deploy.sh")  # Joined
    return [waiting, running]


def _find(server: LiveServer, web: str, mailer: str, handlers: list[str]) -> dict[str, list[Parameters]]:
    visitor = signed_in(server)
    page = visitor.get(f"/service/{web}/")
    paths = {name: page.find("a", name)[0].attributes["href"] for name in [*handlers, "deploy-script"]}
    found: dict[str, list[Parameters]] = {"service": [], "handler": [], "delivery": [], "action": []}
    services = server.objects("/api/v1/service/")
    uuids = [web, mailer, *(each["uuid"] for each in services if each["uuid"] not in (web, mailer))]
    found["service"] = [{"uuid": uuid, "service_uuid": uuid} for uuid in uuids]
    found["action"] = [{"uuid": each["uuid"]} for each in server.objects("/api/v1/action/")]
    for name in (handlers[0], "deploy-script", *handlers[1:]):
        _, _, uuid, _, number, _ = paths[name].split("/")
        handler = {"service_uuid": uuid, "uuid": uuid, "number": number}
        found["handler"].append(handler)
        found["delivery"] += [handler | {"delivery_number": each} for each in _deliveries(visitor.get(paths[name]))]
    found["target"] = [{"target_uuid": each["uuid"]} for each in server.objects("/api/v1/notification/target/")]
    page = visitor.get("/groups/").follow("backend")
    number, call = page.path.split("/")[2], page.follow("#1").path.split("/")[2]
    found["group"] = [{"number": number, "call_number": call, "delivery_number": _deliveries(page)[0]}]
    found["link"] = [{"token": add_login_link(server, USER)}]
    return found


def _deliveries(page: Page) -> list[str]:
    links = [link.attributes.get("href", "") for link in page.find("a")]
    return list(dict.fromkeys(link.split("/")[-2] for link in links if "/delivery/" in link))
