"""Signing in to the dashboard by a key or a link, and how sessions end."""

import re
from collections.abc import Iterator
from urllib.parse import quote

import pytest

from tests.acceptance.accounts import add_limited_key, add_login_link, add_member, key_id_of
from tests.acceptance.page_routes import FOR_ALL, NUMBERS, page_routes
from tests.acceptance.raw_http import UNKNOWN, other_address
from tests.support.dashboard_bed import DashboardBed, serve_edge
from tests.support.pages import Page, Visitor, signed_in
from tests.support.postgres_bed import PostgresBed
from tests.support.server import APIKEY, USER, LiveServer
from tutumd.application.digests import sha256_hex


def is_signed_in(visitor: Visitor) -> bool:
    """Return whether the visitor sees pages, and check that one who does not is led to the sign-in."""
    page = visitor.get("/account/")
    assert page.status == 200
    assert page.path in ("/account/", "/sign-in/?next=/account/")
    return page.path == "/account/"


def test_a_wrong_key_does_not_sign_in(live_server: LiveServer) -> None:
    visitor = Visitor(live_server.url, address=other_address())
    page = visitor.get("/sign-in/").submit("Sign in", user=USER, key="wrong")
    assert (page.status, page.alert) == (401, "wrong user or API key")
    assert page.form("Sign in").fields[2:4] == (("user", USER), ("key", "")), "the name stays, the key does not"
    assert not is_signed_in(visitor)
    assert page.submit("Sign in", key=APIKEY).path == "/"


def test_wrong_keys_and_links_are_throttled_together_and_per_address(live_server: LiveServer) -> None:
    visitor = Visitor(live_server.url, address=other_address())
    page = visitor.get("/sign-in/")
    statuses = [page.submit("Sign in", user=USER, key="wrong").status for _ in range(10)]
    link = visitor.get(f"/sign-in/link/{'x' * 43}/")
    statuses += [link.submit("Sign in").status for _ in range(10)]
    assert statuses == [401] * 20
    good = add_login_link(live_server, USER)
    for refused in (
        page.submit("Sign in", user=USER, key=APIKEY),
        visitor.get(f"/sign-in/link/{good}/").submit("Sign in"),
    ):
        assert refused.status == 429
        assert "try again in" in refused.alert
        assert 1 <= int(refused.headers["retry-after"]) <= 60
    assert Visitor(live_server.url).sign_in_by_link(good).path == "/", "a refused attempt does not use the link up"


def test_the_page_that_was_asked_for_comes_after_the_sign_in(live_server: LiveServer) -> None:
    page = Visitor(live_server.url).get("/audit/?before=12&user=%C3%A4")
    assert page.path == f"/sign-in/?next={quote('/audit/?before=12&user=%C3%A4')}".replace("%2F", "/")
    page = page.submit("Sign in", user=USER, key=APIKEY)
    assert page.path == "/audit/?before=12&user=%C3%A4"


FOREIGN = [
    "//evil.example/",
    "/\\evil.example",
    "\\\\evil.example",
    "https://evil.example/",
    "https:evil.example",
    "javascript:alert(1)",
    "evil.example",
    "/\t/evil.example",
    "/services/\r\nSet-Cookie: a=b",
    "/services/\nLocation: https://evil.example",
    " //evil.example",
    "///evil.example",
    "/@evil.example:80//",
    "/services/#@evil.example",
    "",
]
HARMLESS = ["/%2f%2fevil.example", "/%5cevil.example", "/.//evil.example", "/services/%0d%0aSet-Cookie:%20a=b"]
"""They stay on this server: browsers decode nothing of a path."""


def test_nobody_is_led_to_another_site(live_server: LiveServer) -> None:
    visitor = Visitor(live_server.url)
    for address in FOREIGN:
        page = sent_to(Visitor(live_server.url), address)
        assert (page.status, page.headers["location"]) == (303, "/"), address
        assert page.headers.get("set-cookie", "").count("a=b") == 0, address
    visitor.sign_in(USER, APIKEY)
    for address in FOREIGN:
        page = visitor.send("GET", f"/sign-in/?next={quote(address, safe='')}")
        assert (page.status, page.headers["location"]) == (303, "/"), address
    for address in HARMLESS:
        location = sent_to(Visitor(live_server.url), address).headers["location"]
        assert location in (address, "/")
        assert re.match(r"/(?![/\\])", location)


def sent_to(visitor: Visitor, address: str) -> Page:
    """Sign in with an address to go to, and return the response."""
    form = visitor.get("/sign-in/").form("Sign in", user=USER, key=APIKEY, next=address)
    return visitor.send("POST", form.address, dict(form.fields))


def test_a_link_signs_in_once(live_server: LiveServer) -> None:
    member = add_member(live_server, "link-once")
    token = add_login_link(live_server, member.name)
    previews = [Visitor(live_server.url).send(method, f"/sign-in/link/{token}/") for method in ("GET", "HEAD", "GET")]
    assert [page.status for page in previews] == [200] * 3, "previews of chats do not use it up"
    assert previews[1].body == b""
    visitor = Visitor(live_server.url)
    page = visitor.sign_in_by_link(token)
    assert page.path == "/"
    assert page.find("span", member.name)


@pytest.mark.parametrize("token", ["expired", "used", "x", "x" * 5000])
def test_a_wrong_link_says_how_to_get_another_one(live_server: LiveServer, token: str) -> None:
    if token in ("expired", "used"):
        lasts_s, is_used = (-1, False) if token == "expired" else (3600, True)
        token = add_login_link(live_server, USER, lasts_s=lasts_s)
        assert not is_used or Visitor(live_server.url).sign_in_by_link(token).path == "/"
    visitor = Visitor(live_server.url, address=other_address())
    page = visitor.get(f"/sign-in/link/{token}/").submit("Sign in")
    assert page.status == 401
    assert "it was used or has expired" in page.alert and "tutumd login-link USER" in page.alert
    assert not is_signed_in(visitor)


def test_a_sign_in_makes_a_new_token_and_ends_the_session_before(live_server: LiveServer) -> None:
    visitor = Visitor(live_server.url)
    visitor.get("/sign-in/")
    planted = dict(visitor.cookies)
    visitor.sign_in(USER, APIKEY)
    first = dict(visitor.cookies)
    assert planted.keys() == first.keys() == {"tutumd_session"}
    assert planted != first
    visitor.sign_in_by_link(add_login_link(live_server, USER))
    second = dict(visitor.cookies)
    assert second != first
    for cookies, is_valid in ((planted, False), (first, False), (second, True)):
        visitor.cookies = cookies
        assert is_signed_in(visitor) == is_valid


def test_the_cookie_is_hidden_from_scripts_and_other_sites(live_server: LiveServer) -> None:
    (cookie,) = sent_to(Visitor(live_server.url), "/").headers.get_all("set-cookie", [])
    name, _, rest = cookie.partition("=")
    assert name == "tutumd_session"
    assert sorted(rest.lower().split("; ")[1:]) == ["httponly", "max-age=1209600", "path=/", "samesite=lax"]


def test_signing_out_ends_the_session(live_server: LiveServer) -> None:
    visitor = signed_in(live_server)
    stolen = dict(visitor.cookies)
    assert visitor.get("/").submit("Sign out").path == "/sign-in/"
    assert visitor.cookies != stolen
    visitor.cookies = stolen
    assert not is_signed_in(visitor)


def test_a_session_ends_with_its_key_and_with_its_user(live_server: LiveServer) -> None:
    member = add_member(live_server, "key-ends")
    other_key = add_limited_key(live_server, member.name)
    by_key, by_other = (signed_in(live_server, member.name, each) for each in (member.key, other_key.key))
    by_link = Visitor(live_server.url)
    by_link.sign_in_by_link(add_login_link(live_server, member.name))
    with live_server.accounts() as store:
        store.revoke_key(member.name, key_id_of(member))
    assert [is_signed_in(each) for each in (by_key, by_other, by_link)] == [False, True, True]
    with live_server.accounts() as store:
        store.remove_user(member.name)
    assert [is_signed_in(each) for each in (by_key, by_other, by_link)] == [False, False, False]


@pytest.fixture(scope="module")
def replicas(postgres_bed: PostgresBed) -> Iterator[tuple[DashboardBed, ...]]:
    database = postgres_bed.new_database()
    with serve_edge(database) as one, serve_edge(database) as two:
        yield one, two


@pytest.mark.slow
@pytest.mark.parametrize("ends", ["session", "key"])
def test_what_has_ended_shows_and_changes_nothing_on_another_replica(
    replicas: tuple[DashboardBed, ...], ends: str
) -> None:
    admin = signed_in(replicas[0])
    (key,) = admin.get("/account/").submit("Make a key", scope="admin").copies.values()
    visitor = signed_in(replicas[1], USER, key)
    csrf = csrf_of(visitor)
    if ends == "key":
        assert admin.post(f"/account/key/{sha256_hex(key)[:16]}/revoke/", {"csrf": csrf_of(admin)}).status == 200
    else:
        assert admin.post("/account/sessions/end/", {"csrf": csrf_of(admin)}).status == 200
    for route in page_routes():
        if route.path not in FOR_ALL:
            unknown: dict[str, object] = dict.fromkeys((*route.names, "service_uuid", "action_uuid"), UNKNOWN)
            path = route.fill(unknown | dict.fromkeys(NUMBERS, 1))
            page = visitor.send(route.method, path, {"csrf": csrf} if route.method == "POST" else "")
            assert (page.status, page.headers["location"].partition("?")[0]) == (303, "/sign-in/"), route


def csrf_of(visitor: Visitor) -> str:
    return visitor.get("/").form("Sign out").csrf


def test_a_made_up_cookie_is_no_session(live_server: LiveServer) -> None:
    for cookie in ("", "x", "x" * 43, "x" * 8000, "ä" * 43, "'; DROP TABLE sessions --"):
        visitor = Visitor(live_server.url, Cookie=f"tutumd_session={cookie}")
        page = visitor.send("GET", "/account/", Accept="text/html")
        assert (page.status, page.headers["location"]) == (303, "/sign-in/?next=/account/"), cookie


def test_a_session_opens_no_route_of_the_api(live_server: LiveServer) -> None:
    visitor = signed_in(live_server)
    paths = ("/api/v1/service/", "/api/v1/auth/", "/api/v1/webhook/handler/")
    assert [visitor.send("GET", path).status for path in paths] == [401] * 3
    assert visitor.send("POST", "/api/v1/service/", '{"name": "x"}').status == 401
