"""After real use of the dashboard no handler's URL, key, secret or token is on a page, in an address or in a log."""

import json
import re
import uuid
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import pytest

from tests.acceptance.accounts import add_login_link, add_member
from tests.acceptance.page_routes import FOR_ALL, PageRoute, page_routes
from tests.acceptance.sender_calls import send_payload
from tests.support.pages import Page, Visitor, signed_in
from tests.support.server import APIKEY, USER, LiveServer
from tests.support.waiting import wait_until

_UUID = re.compile(r"/webhook/(?:handler|group)/([0-9a-f-]{36})/")
LOUD = ("--engine", "local", "--access-log", "--log-level", "debug")


@dataclass(frozen=True, slots=True, kw_only=True)
class Used:
    """A server whose dashboard an admin has used: a handler was connected, called, rotated and changed.

    Attributes:
        secrets: What nobody may find, by what it is.
        values: The objects of the admin, by the names in paths of pages.
    """

    server: LiveServer
    visitor: Visitor
    secrets: Mapping[str, str]
    values: Mapping[str, str]
    responses: list[Page] = field(default_factory=list)

    def addresses(self) -> list[str]:
        """Return the address of each page that can be got, and of some with a query."""
        handler = self.fill("/service/{service_uuid}/handler/{number}/")
        more = ("?did=handler-created", "deliveries/?outcome=queued", "connect/?sender=ghcr&after=0", "try/?delivery=1")
        return [
            *(route.fill(self.values) for route in page_routes() if route.method == "GET"),
            *(handler + each for each in more),
            self.fill("/service/{service_uuid}/connect/?sender=ghcr"),
            "/services/?search=used",
        ]

    def fill(self, path: str) -> str:
        return PageRoute(method="GET", path=path).fill(self.values)

    def find_secrets(self, text: str) -> list[str]:
        """Return which secrets a text holds."""
        text = text.lower()
        return [what for what, secret in self.secrets.items() if secret.lower() in text]


@pytest.fixture(scope="module")
def used(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Used]:
    with LiveServer(tmp_path_factory.mktemp("used"), *LOUD) as server:
        yield use(server)


def use(server: LiveServer) -> Used:
    """Do with the dashboard what people do, and note what they were shown that is secret."""
    service = server.run_service("used")
    link = add_login_link(server, USER)
    visitor = Visitor(server.url)
    page = visitor.get(f"/sign-in/link/{link}/", X_Request_ID=f"id-{link}")
    assert page.title.startswith("Sign in")
    assert (page.headers["referrer-policy"], page.headers["cache-control"]) == ("no-referrer", "no-store")
    assert visitor.send("GET", f"/sign-in/link/{link}").status == 200, "without the slash"
    visitor.send("PUT", f"/sign-in/link/{link}/x")
    visitor.sign_in_by_link(link)
    made = visitor.get(f"/service/{service}/connect/?sender=ghcr").submit("Create the URL")
    url, secret = made.copies["Payload URL"], made.copies["Secret"]
    waiting = made.follow("Watch the first call arrive")
    assert waiting.submit("Show the URL again").find("input", aria_label="Payload URL")
    called = send_payload(server, url, "ghcr-registry-package", "ghcr", secret, key=str(uuid.uuid4()))
    assert called.status == 202, called
    server.wait_for_action(called.json["action"])
    assert send_payload(server, url, "ghcr-registry-package", "ghcr", "wrong", key=str(uuid.uuid4())).status == 401
    handler = visitor.get(waiting.path.partition("connect/")[0])
    assert url in handler.submit("Show the URL").copies.values()
    rotated = handler.submit("Make a new URL", grace="1d")
    (new_url,) = rotated.visitor.get(handler.path).submit("Show the URL").copies.values()
    assert new_url != url
    handler.visitor.get(f"{handler.path}try/").submit("Try this payload", body=json.dumps({"ref": "x"}))
    (key,) = visitor.get("/account/").submit("Make a key").copies.values()
    form = visitor.get("/notifications/new/")
    fields: dict[str, Any] = {"name": "used", "settings.url": "https://example.com/p4th-of-hook"}
    (signing,) = form.submit("Create the target", **fields).copies.values()
    [made_target] = server.objects("/api/v1/notification/target/")
    fields = {"name": "used", "services": "used"}
    group = visitor.get("/groups/new/").submit("Create the group", **fields)
    (group_url,) = group.submit("Show the URL").copies.values()
    assert server.post(group_url.removeprefix(server.url), b"{}").status == 202
    group = visitor.get(group.path)
    other = signed_in(server)
    tokens = {
        f"token of {who}": value for who, each in (("a", visitor), ("b", other)) for value in each.cookies.values()
    }
    secrets = {
        "old UUID": _UUID.search(url)[1],  # type: ignore[index] # it matches, or the test fails
        "new UUID": _UUID.search(new_url)[1],  # type: ignore[index] # it matches, or the test fails
        "UUID of a group": _UUID.search(group_url)[1],  # type: ignore[index] # it matches, or the test fails
        "secret": secret,
        "status token": called.json["status_url"].split("/")[-2],
        "API key": key,
        "API key of the setup": APIKEY,
        "login link": link,
        "signing secret": signing,
        "path of a webhook": "p4th-of-hook",
        **tokens,
    }
    values = {
        "service_uuid": service,
        "action_uuid": str(called.json["action"]).split("/")[-2],
        "number": handler.path.split("/")[-2],
        "delivery_number": "1",
        "group_number": group.path.split("/")[2],
        "call_number": group.follow("#1").path.split("/")[2],
        "group_delivery": re.findall(r"/delivery/(\d+)/", group.html)[0],
        "target_uuid": made_target["uuid"],
        "freeze_uuid": made_target["uuid"],
        "token": "x" * 43,
        "name": "mark.svg",
    }
    return Used(server=server, visitor=visitor, secrets=secrets, values=values)


@pytest.mark.slow
def test_no_response_to_a_get_holds_a_secret(used: Used) -> None:
    missing = set()
    for address in used.addresses():
        whole, part = used.visitor.send("GET", address), used.visitor.get_part(address)
        for page in (whole, part, used.visitor.send("GET", address, accept="application/json")):
            cookies = page.headers.get_all("set-cookie", [])
            del page.headers["set-cookie"]
            assert page.status in (200, 303, 404), (address, page.status)
            found = used.find_secrets(page.body.decode() + str(page.headers))
            assert not found, (address, page.headers, found)
            assert len(cookies) <= 1
            assert "/static/" in address or page.headers["cache-control"] == "no-store", address
            missing |= {address} if page.status == 404 else set()
    assert missing == {"/static/mark.svg"}, "it would find nothing on pages that do not exist"


def test_no_error_holds_a_secret(used: Used) -> None:
    new, old = used.secrets["new UUID"], used.secrets["old UUID"]
    for path in ("/", "/services/", used.fill("/service/{service_uuid}/")):
        page = used.visitor.send("POST", path, {"csrf": "wrong", "key": used.secrets["API key"]})
        assert page.status in (403, 404, 405)
        assert not used.find_secrets(page.html + str(page.headers))
    # A person may paste the URL into the wrong place. It is not kept there.
    for odd in (f"/service/{new}/", f"/action/{old}/", f"/service/{used.values['service_uuid']}/handler/{new}/"):
        assert used.visitor.get(odd).status == 404
    assert not used.find_secrets(used.server.log)


def test_the_log_holds_no_secret(used: Used) -> None:
    of_a_service = f"route=/service/{{uuid}}/ service={used.values['service_uuid']}"
    wanted = ("route=/sign-in/link/{token}/", "route=/account/", of_a_service)
    for path in ("/account/", used.fill("/service/{service_uuid}/")):
        assert used.visitor.get(path).status == 200

    def has_all() -> bool:
        return all(line in used.server.log for line in wanted)

    wait_until(has_all, f"the log has {wanted}")
    log = used.server.log
    lines = [line for line in log.splitlines() if used.find_secrets(line)]
    assert not lines, lines[:3]


@pytest.mark.slow
def test_a_second_user_finds_nothing_of_the_first(used: Used) -> None:
    member = add_member(used.server, f"ann-{uuid.uuid4().hex[:8]}")
    stranger = signed_in(used.server, member.name, member.key)
    csrf = stranger.get("/account/").form("Sign out").csrf
    owned = [
        route for route in page_routes() if route.path not in FOR_ALL and {"uuid", "service_uuid"} & {*route.names}
    ]
    assert len(owned) > 30
    for route in owned:
        address = route.fill(used.values)
        unknown = route.fill(dict(used.values) | {"service_uuid": str(uuid.uuid4()), "action_uuid": str(uuid.uuid4())})
        body = {"csrf": csrf, "target": "1"} if route.method == "POST" else ""
        page, missing = (stranger.send(route.method, each, body) for each in (address, unknown))
        assert page.status == 404, route
        assert (page.status, page.text) == (missing.status, missing.text), route
    for path in ("/", "/services/", "/services/?search=used", "/connect/?q=used", "/audit/", "/running/", "/account/"):
        page = stranger.get(path)
        assert page.status == 200
        assert not [each for each in (used.values["service_uuid"], used.values["action_uuid"]) if each in page.html]
        assert not used.find_secrets(page.html)
    assert used.visitor.get(used.fill("/service/{service_uuid}/handler/{number}/")).status == 200, (
        "it changed something"
    )
