"""The pages of deliveries: the list, one of them with its content, and sending it again."""

import uuid

import pytest

from tests.acceptance.accounts import add_limited_key
from tests.support.pages import Page, Visitor, signed_in
from tests.support.server import USER, LiveServer
from tutumd.model import Scope


@pytest.fixture(scope="session")
def service(live_server: LiveServer) -> str:
    return live_server.run_service(f"delivered-{uuid.uuid4()}")


class Hook:
    """A handler, its pages, and the calls to it."""

    def __init__(self, server: LiveServer, service: str, **fields: object) -> None:
        made = server.make_handler(service, **{"name": f"hook-{uuid.uuid4()}", **fields})
        self.url, self.resource, self.server = made["url"], made["resource_uri"], server
        visitor = signed_in(server)
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


def test_a_delivery_is_one_of_its_handler_and_sent_again_by_those_who_may_call(
    live_server: LiveServer, visitor: Visitor, service: str
) -> None:
    hook, other = Hook(live_server, service), Hook(live_server, service)
    assert hook.call() == 202
    path = hook.newest(visitor).path
    reader = signed_in(live_server, USER, add_limited_key(live_server, USER, scope=Scope.READ).key)
    page = reader.get(path)
    assert "your key may not call handlers" in page.text and not page.find("button", "Redeliver")
    elsewhere, csrf = other.page + path.removeprefix(hook.page), visitor.get(path).form("Sign out").csrf
    assert visitor.get(elsewhere).status == visitor.post(f"{elsewhere}redeliver/", {"csrf": csrf}).status == 404
    for number in ("0", "x", str(10**40)):
        assert visitor.get(f"{hook.page}delivery/{number}/").status in (400, 404)
