"""The pages of deliveries: the list, one of them with its content, and sending it again."""

import json
import uuid

import pytest

from tests.acceptance.accounts import add_limited_key, add_member
from tests.support.pages import Page, Visitor
from tests.support.server import APIKEY, USER, LiveServer
from tutumd.model import Scope

HOSTILE = "</code></pre><script>alert(1)</script>\"'><img src=x onerror=alert(1)>"


@pytest.fixture(scope="session")
def service(live_server: LiveServer) -> str:
    return live_server.run_service(f"delivered-{uuid.uuid4()}")


@pytest.fixture
def visitor(live_server: LiveServer) -> Visitor:
    visitor = Visitor(live_server.url)
    visitor.sign_in(USER, APIKEY)
    return visitor


class Hook:
    """A handler, its pages, and the calls to it."""

    def __init__(self, server: LiveServer, service: str, **fields: object) -> None:
        made = server.make_handler(service, **{"name": f"hook-{uuid.uuid4()}", **fields})
        self.url, self.resource, self.server = made["url"], made["resource_uri"], server
        visitor = Visitor(server.url)
        visitor.sign_in(USER, APIKEY)
        # The API names handlers by UUID, pages by number: the service's page links to it.
        [link] = [a for a in visitor.get(f"/service/{service}/").find("a") if a.text == made["name"]]
        self.page = link.attributes["href"]

    def call(self, body: bytes = b"", query: str = "", **headers: str) -> int:
        return self.server.post(self.url + query, body, **headers).status

    def newest(self, visitor: Visitor) -> Page:
        """Return the page of the newest delivery."""
        listed = visitor.get(f"{self.page}deliveries/")
        return visitor.get(listed.find("tbody")[0].find("a")[0].attributes["href"])


def test_deliveries_are_listed_newest_first_and_by_outcome(
    live_server: LiveServer, visitor: Visitor, service: str
) -> None:
    hook = Hook(live_server, service, filter={"preset": "branch", "branch": "main"})
    empty = visitor.get(f"{hook.page}deliveries/")
    assert "Nothing has arrived yet." in empty.text
    assert hook.call(b'{"ref": "refs/heads/dev"}', User_Agent="first") == 200
    assert hook.call(b'{"ref": "refs/heads/main"}', User_Agent="second") == 202
    page = visitor.get(f"{hook.page}deliveries/")
    rows = page.find("tbody")[0].find("tr")
    assert ["second" in rows[0].text, "first" in rows[1].text] == [True, True]
    assert "branch 'dev' is not 'main'" in rows[1].text
    skipped = page.follow("Skipped")
    assert [row.text.count("first") for row in skipped.find("tbody")[0].find("tr")] == [1]
    refused = page.follow("Refused")
    assert "No delivery here has this outcome." in refused.text
    assert visitor.get(f"{hook.page}deliveries/?outcome=nonsense").status == 200


def test_a_delivery_shows_what_was_sent_and_what_became_of_it(
    live_server: LiveServer, visitor: Visitor, service: str
) -> None:
    hook = Hook(live_server, service, tag={"allow": ["v*"]})
    body = b'{"ref":"refs/heads/main","n":1.0000000000000000001,"ref":"twice"}'
    status = hook.call(
        body,
        "?tag=v1&token=not-to-be-seen",
        X_Event="push",
        X_Api_Token="not-to-be-seen",
        Content_Type="application/json",
    )
    assert status == 202
    page = hook.newest(visitor)
    assert '"n": 1.0000000000000000001' in page.html.replace("&#34;", '"')
    assert page.text.count('"ref"') == 2
    for text in ("POST", "application/json", "x-event push", "?tag v1", "127.0.0.1"):
        assert text in page.text, text
    assert "It queued an action." in page.text or "It joined an action" in page.text
    assert "not-to-be-seen" not in page.html
    assert "Not stored: query parameter token." in page.text
    action = page.follow("The action")
    assert action.path.startswith("/action/")


def test_hostile_content_stays_text(live_server: LiveServer, visitor: Visitor, service: str) -> None:
    hook = Hook(live_server, service, filter={"preset": "branch", "branch": "main"}, name=HOSTILE)
    for body in (
        json.dumps({"ref": f"refs/heads/{HOSTILE}", HOSTILE: HOSTILE}).encode(),
        HOSTILE.encode(),
        b"a=" + HOSTILE.encode(),
    ):
        query = "?" + HOSTILE.replace(" ", "+").replace('"', "%22") + "=1"
        headers = {
            "User_Agent": HOSTILE,
            "X-Event": HOSTILE,
            "Content_Type": f"application/x-www-form-urlencoded{HOSTILE}",
        }
        assert hook.call(body, query, **headers) == 200
        page = hook.newest(visitor)
        for each in (page, visitor.get(f"{hook.page}deliveries/")):
            assert (each.status, "<script>alert" in each.html, "<img" in each.html.partition("</header>")[2]) == (
                200,
                False,
                False,
            )
        assert page.text.count("alert(1)") >= 4


def test_a_delivery_is_sent_again(live_server: LiveServer, visitor: Visitor, service: str) -> None:
    hook = Hook(live_server, service, verify={"preset": "token", "secrets": ["the-secret-of-it"]}, filter="body.go")
    assert hook.call(b'{"go": true}', Authorization="Bearer the-secret-of-it") == 202
    first = hook.newest(visitor)
    again = first.submit("Redeliver")
    assert again.path.startswith(f"{hook.page}delivery/")
    assert again.path.partition("?")[0] != first.path
    assert "This is what became of sending #" in again.text
    assert "Mozilla/5.0 (test)" in again.text
    assert "It queued an action." in again.text or "It joined an action" in again.text
    resource = live_server.request("PATCH", hook.resource, {"filter": "body.stop"})
    assert resource.status == 200
    skipped = first.submit("Redeliver")
    assert "It was skipped: nothing runs." in skipped.text
    assert "the filter is not true for this payload" in skipped.text
    live_server.request("PATCH", hook.resource, {"enabled": False})
    refused = first.submit("Redeliver")
    assert refused.status == 409
    assert refused.alert.startswith("Not redelivered: the handler takes no calls now")
    # A claim in the address alone is not repeated.
    other = first.path.rsplit("/", 2)[0] + "/"
    number = int(skipped.path.partition("?")[0].rsplit("/", 2)[1])
    assert "sending #" not in visitor.get(f"{first.path}?again={number}").text
    assert "sending #" not in visitor.get(f"{other}{number}/?again=999999").text


def test_only_who_may_see_or_call_does(live_server: LiveServer, visitor: Visitor, service: str) -> None:
    hook = Hook(live_server, service)
    assert hook.call() == 202
    path = hook.newest(visitor).path
    member = add_member(live_server, f"d-{uuid.uuid4().hex[:8]}")
    stranger = Visitor(live_server.url)
    csrf = stranger.sign_in(member.name, member.key).form("Sign out").csrf
    assert stranger.get(path).status == stranger.get(f"{hook.page}deliveries/").status == 404
    assert stranger.post(f"{path}redeliver/", {"csrf": csrf}).status == 404
    reader = Visitor(live_server.url)
    csrf = reader.sign_in(USER, add_limited_key(live_server, USER, scope=Scope.READ).key).form("Sign out").csrf
    page = reader.get(path)
    assert (page.status, "your key may not call handlers" in page.text) == (200, True)
    assert reader.post(f"{path}redeliver/", {"csrf": csrf}).status == 403
    assert visitor.post(f"{path}redeliver/", {"csrf": "forged"}).status == 403
    other = Hook(live_server, service)
    assert visitor.get(other.page + path.removeprefix(hook.page)).status == 404
    csrf = visitor.get(path).form("Sign out").csrf
    assert visitor.post(other.page + path.removeprefix(hook.page) + "redeliver/", {"csrf": csrf}).status == 404
    for number in ("0", "x", str(10**40)):
        assert visitor.get(f"{hook.page}delivery/{number}/").status in (400, 404)
