"""Who sees and changes a handler on its pages."""

from collections.abc import Iterator

import pytest

from tests.acceptance.accounts import add_limited_key, add_member
from tests.acceptance.handler_pages.made import Made
from tests.support.pages import Page, Visitor
from tests.support.server import USER, LiveServer
from tutumd.model import Scope


@pytest.fixture(scope="session")
def others(live_server: LiveServer, service: str) -> Iterator[dict[str, Visitor]]:
    """Visitors who may less than the admin: by scope, and one who owns nothing."""
    found = {}
    for scope in (Scope.READ, Scope.CALL):
        key = add_limited_key(live_server, USER, scope=scope)
        found[scope.value] = Visitor(live_server.url)
        found[scope.value].sign_in(USER, key.key)
    elsewhere = live_server.create_service("handler-pages-other")["uuid"]
    key = add_limited_key(live_server, USER, service_uuid=elsewhere)
    found["narrow"] = Visitor(live_server.url)
    found["narrow"].sign_in(USER, key.key)
    member = add_member(live_server, "handler-pages-member")
    found["member"] = Visitor(live_server.url)
    found["member"].sign_in(member.name, member.key)
    yield found


def test_scopes_say_who_sees_the_url_and_who_changes(made: Made, visitor: Visitor, others: dict[str, Visitor]) -> None:
    paths = ("disable/", "enable/", "rotate/", "revoke/", "edit/")
    for scope, may_call in (("read", False), ("call", True)):
        guest = others[scope]
        page = guest.get(made.path)
        assert page.status == 200
        assert [bool(_has_button(page, name)) for name in ("Show the URL", "Disable", "Revoke it")] == [
            may_call,
            False,
            False,
        ]
        csrf = {"csrf": page.form("Sign out").csrf, "grace": "0"}
        assert guest.send("POST", f"{made.path}url/", csrf).status == (200 if may_call else 403)
        assert guest.send("GET", f"{made.path}try/").status == (200 if may_call else 403)
        for path in paths:
            assert guest.send("POST", made.path + path, csrf).status == 403
        assert guest.send("GET", f"{made.path}edit/").status == 403
        assert guest.send("GET", f"/service/{made.service}/handler/new/").status == 403
    assert visitor.get(made.path).status == 200 and made.call() == 202


def test_others_do_not_see_a_handler(made: Made, others: dict[str, Visitor]) -> None:
    for guest in (others["member"], others["narrow"]):
        csrf = {"csrf": guest.get("/").form("Sign out").csrf, "grace": "0"}
        for path in ("", "edit/", "try/"):
            page = guest.send("GET", made.path + path)
            assert page.status == 404 and not page.find("h1", "made") and "Handlers of" not in page.text
        for path in ("url/", "disable/", "rotate/", "revoke/", "edit/", "try/"):
            assert guest.send("POST", made.path + path, csrf).status == 404
    assert made.call() == 202


@pytest.mark.parametrize("number", ["0", "-1", "x", "9" * 30, "2147483648"])
def test_an_address_that_is_none_is_not_found(service: str, visitor: Visitor, number: str) -> None:
    assert visitor.get(f"/service/{service}/handler/{number}/").status == 404


def _has_button(page: Page, name: str) -> bool:
    return bool(page.find("button", name))
