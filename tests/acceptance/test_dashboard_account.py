"""The account page: sessions and API keys of one's own; for admins, the keys of all users."""

import re
from datetime import UTC, datetime, timedelta

import pytest

from tests.acceptance.accounts import add_limited_key, add_login_link, add_member
from tests.support.dashboard_bed import DashboardBed, find_card
from tests.support.html_tree import Element
from tests.support.pages import Page, Visitor, signed_in
from tests.support.server import USER, LiveServer
from tutumd.application.digests import sha256_hex
from tutumd.model import NewSession, Scope


def rows(page: Page, caption: str) -> list[Element]:
    (table,) = (each for each in page.find("table") if each.find("caption", caption))
    return table.find("tr")[1:]


def test_the_page_says_who_and_how(live_server: LiveServer) -> None:
    member = add_member(live_server, "who")
    page = signed_in(live_server, member.name, member.key).get("/account/")
    assert page.find("h1", member.name)
    facts = {each.find("dt")[0].text: each.find("dd")[0].text for each in page.find("dl")[0].find("div")}
    assert facts == {"Signed in by": member.key[:12], "Scope": "admin", "From": "127.0.0.1"}
    assert not page.find("section", aria_label="Users")


def test_a_session_is_listed_and_ended_from_another_one(live_server: LiveServer) -> None:
    member = add_member(live_server, "two-sessions")
    android = "Mozilla/5.0 (Linux; Android 15) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0 Mobile Safari/537.36"
    phone = signed_in(live_server, member.name, member.key, User_Agent=android)
    desk = Visitor(live_server.url, User_Agent="Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0")
    desk.sign_in_by_link(add_login_link(live_server, member.name))
    page = desk.get("/account/")
    newest, oldest = rows(page, "Sessions")
    assert newest.text.startswith("Firefox on Linux, 127.0.0.1 login link")
    assert newest.text.endswith("this one")
    assert oldest.text.startswith(f"Chrome on Android, 127.0.0.1 {member.key[:12]}")
    assert page.submit("End", within=oldest).alert == "The session is ended."
    assert phone.get("/account/").path.startswith("/sign-in/")
    assert len(rows(desk.get("/account/"), "Sessions")) == 1


def test_all_other_sessions_are_ended_at_once(live_server: LiveServer) -> None:
    member = add_member(live_server, "many-sessions")
    others = [signed_in(live_server, member.name, member.key) for _ in range(3)]
    visitor = signed_in(live_server, member.name, member.key)
    assert len(rows(visitor.get("/account/"), "Sessions")) == 4
    assert visitor.get("/account/").submit("End all others").alert == "All other sessions are ended."
    assert all(other.get("/").path == "/sign-in/" for other in others)
    assert len(rows(visitor.get("/account/"), "Sessions")) == 1


def test_the_page_shows_the_newest_sessions_and_keys_and_all_when_asked(live_server: LiveServer) -> None:
    member = add_member(live_server, "many-of-all")
    keys = [add_limited_key(live_server, member.name, scope=Scope.READ).key for _ in range(21)]
    with live_server.accounts() as store:
        user = store.user_by_key(sha256_hex(member.key))
        assert user is not None
        for number in range(21):
            store.add_session(user, NewSession(token_sha256=f"{number:063d}a", expires=user.created.replace(year=2999)))
    visitor = signed_in(live_server, member.name, member.key)
    page = visitor.get("/account/")
    assert len(rows(page, "Sessions")) == len(rows(page, "API keys")) == 20
    assert "this one" in rows(page, "Sessions")[0].text
    assert rows(page, "API keys")[-1].text.startswith(keys[-1][:12])
    assert page.find("a", "Show all 22 sessions")
    whole = page.follow("Show all 22 keys")
    assert len(rows(whole, "Sessions")) == len(rows(whole, "API keys")) == 22
    assert not whole.find("a", "Show all 22 keys")
    assert signed_in(live_server).get("/account/?show=all").find("h3")
    less = "This session may do less."
    assert less in signed_in(live_server, member.name, keys[-1]).get("/account/").text and less not in page.text


def test_nobody_ends_the_session_of_another_user(live_server: LiveServer) -> None:
    one, two = add_member(live_server, "session-one"), add_member(live_server, "session-two")
    visitor, other = signed_in(live_server, one.name, one.key), signed_in(live_server, two.name, two.key)
    with live_server.accounts() as store:
        (session,) = store.sessions(two.name)
    token = visitor.get("/account/").form("Sign out").csrf
    for number in (str(session.number), "0", "99999999999999999999", "x"):
        page = visitor.post(f"/account/session/{number}/end/", {"csrf": token})
        assert page.status in (400, 404), number
    assert other.get("/account/").path == "/account/"


def test_a_key_is_made_and_shown_once(live_server: LiveServer) -> None:
    member = add_member(live_server, "makes-keys")
    visitor = signed_in(live_server, member.name, member.key)
    page = visitor.get("/account/").submit("Make a key", scope="read", expires="7d")
    assert (page.status, page.headers["cache-control"]) == (201, "no-store")
    key = page.copies["Copy key"]
    assert len(rows(page, "API keys")) == 2
    row = rows(page, "API keys")[1].text
    assert re.match(rf"{key[:12]}… read everything (just now|\d+ s ago) never in 7 days", row), row
    authorization = f"ApiKey {member.name}:{key}"
    assert live_server.request("GET", "/api/v1/service/", authorization=authorization).status == 200
    assert live_server.request("GET", "/api/v1/webhook/handler/", authorization=authorization).status == 403
    assert key not in visitor.get("/account/").html
    page = visitor.get("/account/").submit("Revoke", within=rows(visitor.get("/account/"), "API keys")[1])
    assert page.alert == "The key is revoked: requests with it are refused."
    assert live_server.request("GET", "/api/v1/service/", authorization=authorization).status == 401


def test_a_key_lasts_no_longer_than_the_one_that_makes_it(live_server: LiveServer) -> None:
    add_member(live_server, "short-lived")
    member = add_limited_key(live_server, "short-lived", expires=datetime.now(UTC) + timedelta(days=30))
    page = signed_in(live_server, member.name, member.key).get("/account/").submit("Make a key", expires="90d")
    assert page.status == 403
    assert "your key expires at" in find_card(page, "Make a key").text


@pytest.mark.parametrize("path", ["/account/key/", "/account/key/{id}/revoke/"])
def test_a_member_makes_and_revokes_no_keys_of_others(live_server: LiveServer, path: str) -> None:
    member = add_member(live_server, f"no-admin-{len(path)}")
    visitor = signed_in(live_server, member.name, member.key)
    with live_server.accounts() as store:
        before = store.keys(USER)
    token = visitor.get("/account/").form("Sign out").csrf
    address = path.format(id=before[0].id)
    page = visitor.post(address, {"csrf": token, "owner": USER, "scope": "read", "expires": "7d"})
    assert page.status == 403
    assert "only admins may do this" in page.text
    assert visitor.post(address, {"csrf": token, "owner": "", "scope": "x"}).status in (400, 404)
    with live_server.accounts() as store:
        assert [key.id for key in store.keys(USER)] == [key.id for key in before]


@pytest.mark.parametrize("scope", list(Scope))
def test_a_session_may_do_what_its_key_may(live_server: LiveServer, scope: Scope) -> None:
    member = add_member(live_server, f"scope-{scope.value}")
    key = add_limited_key(live_server, member.name, scope=scope).key
    visitor = signed_in(live_server, member.name, key)
    page = visitor.get("/account/")
    assert (scope is Scope.ADMIN) == bool(page.find("button", "Make a key"))
    signed_in(live_server, member.name, member.key)
    page = visitor.get("/account/")
    assert (scope is Scope.ADMIN) == bool(page.find("button", "End all others"))
    assert page.submit("Sign out").path == "/sign-in/"


def test_a_session_of_a_narrow_key_shows_nothing_of_other_credentials(live_server: LiveServer) -> None:
    uuid = live_server.create_service("narrow-account")["uuid"]
    signed_in(live_server)
    key = add_limited_key(live_server, USER, service_uuid=uuid).key
    visitor = signed_in(live_server, USER, key)
    page = visitor.get("/account/")
    assert f"the service {uuid}" in page.text
    assert len(rows(page, "API keys")) == 1
    assert not page.find("section", aria_label="Sessions")
    assert not page.find("section", aria_label="Users")
    assert not page.find("button", "Make a key")
    token = page.form("Sign out").csrf
    for address in ("/account/key/", "/account/sessions/end/", "/account/session/1/end/"):
        assert visitor.post(address, {"csrf": token, "scope": "read"}).status == 403, address


def test_a_key_has_a_name_and_may_call_unless_told_otherwise(dashboard: DashboardBed) -> None:
    visitor = dashboard.visit()
    page = visitor.get("/account/").submit("Make a key", name="gitlab")
    row = rows(page, "API keys")[1].text
    assert row.startswith(f"{page.copies['Copy key'][:12]}… gitlab call everything")
    assert "gitlab" in visitor.get("/audit/").text
    wrong = visitor.get("/account/").submit("Make a key", name="x" * 51)
    assert (wrong.status, len(rows(wrong, "API keys"))) == (400, 2)
    assert "name must have at most 50 printable characters" in find_card(wrong, "Make a key").text
