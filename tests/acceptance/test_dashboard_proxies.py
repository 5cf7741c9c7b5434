"""The dashboard behind proxies: users whom they name, networks that see it, TLS, and a path of the public URL."""

import json
import os
from collections.abc import Iterator
from ipaddress import ip_network
from pathlib import Path
from shlex import quote

import pytest

from tests.acceptance.accounts import add_login_link, add_member
from tests.acceptance.raw_http import CREDENTIALS, DISGUISED, exchange, request
from tests.support.api import Api
from tests.support.dashboard_bed import DashboardBed, serve_edge
from tests.support.nginx_bed import nginx_below_a_path
from tests.support.pages import Page, Visitor, signed_in
from tests.support.server import APIKEY, USER, LiveServer, free_port

STRANGER = "127.0.0.2"
HEADER = "X-Forwarded-User"


@pytest.fixture(scope="module")
def database(tmp_path_factory: pytest.TempPathFactory) -> str:
    return f"sqlite:///{tmp_path_factory.mktemp('proxies') / 'test.db'}"


@pytest.fixture(scope="module")
def named(database: str) -> Iterator[DashboardBed]:
    """A server that believes proxies at 127.0.0.1 about users."""
    with serve_edge(database, trusted_proxies=["127.0.0.1"], user_header=HEADER) as edge:
        yield edge


def who(page: Page) -> str:
    """Return the user that a page is for; empty if it leads to the sign-in."""
    if page.path.startswith("/sign-in/"):
        return ""
    assert page.status == 200, page.text
    return page.find("h1")[0].text


def test_a_user_whom_the_proxy_names_is_signed_in(named: DashboardBed) -> None:
    visitor = Visitor(named.url, X_Forwarded_User=USER, X_Forwarded_For="198.51.100.7")
    assert visitor.get("/").path == "/"
    page = visitor.get("/account/")
    assert who(page) == USER
    assert "Signed in by the proxy in front of this server" in page.text
    assert "198.51.100.7" in page.text
    assert visitor.get("/sign-in/?next=/audit/").path == "/audit/"
    assert page.submit("Make a key", scope="read").status == 201, "forms work"
    signed_out = page.submit("Sign out")
    assert signed_out.status == 409 and "sign out there" in signed_out.text
    assert visitor.send("GET", "/api/v1/service/").status == 401, "the header opens no route of the API"
    with named.accounts() as store:
        session = store.sessions(USER)[0]
        assert (session.credential, session.address) == ("proxy", "198.51.100.7")


def test_a_name_with_other_space_around_it_is_another_name(named: DashboardBed) -> None:
    for name in (
        "\u00a0username",
        "username\u3000",
        "\u2003username",
        "\u0085username",
        "\x1fusername",
        "\t username \t",
    ):
        sent = f"{HEADER}: {name.encode().decode('latin-1')}"
        answer = exchange(named, request("GET", "/account/", headers=[sent, "Accept: text/html"]))
        assert answer.status in ((200,) if name.startswith("\t") else (400, 403)), "only spaces and tabs do not count"


@pytest.mark.parametrize("path", DISGUISED)
def test_a_path_that_is_not_plain_is_no_page(named: DashboardBed, path: str) -> None:
    answer = exchange(named, request("GET", path, headers=[f"{HEADER}: {USER}", "Accept: text/html"]))
    assert answer.status in (404, 405)
    assert "set-cookie" not in answer.headers
    assert answer.headers["content-type"] == "application/json"


def test_a_browser_without_cookies_leaves_no_sessions(named: DashboardBed) -> None:
    member = add_member(named, "no-cookies")
    assert [who(Visitor(named.url, X_Forwarded_User=member.name).get("/account/")) for _ in "123"] == [member.name] * 3
    with named.accounts() as store:
        assert store.sessions(member.name) == ()


def test_a_session_by_key_does_not_outrank_the_proxy(named: DashboardBed) -> None:
    member, visitor = add_member(named, "outranked"), signed_in(named)
    assert who(visitor.get("/account/")) == USER
    assert who(visitor.get("/account/", X_Forwarded_User=member.name)) == member.name


@pytest.mark.parametrize("name", [HEADER, HEADER.lower(), HEADER.upper()])
def test_a_header_of_anybody_else_names_nobody(named: DashboardBed, name: str) -> None:
    for forwarded in ({}, {"X-Forwarded-For": "127.0.0.1"}, {"Forwarded": "for=127.0.0.1"}):
        visitor = Visitor(named.url, address=STRANGER, **{name: USER}, **forwarded)
        assert who(visitor.get("/account/")) == ""
        assert visitor.sign_in(USER, APIKEY).path == "/", "a key does"
        visitor.sign_in_by_link(add_login_link(named, USER))


def test_headers_beside_the_proxys_own_count_for_nothing(named: DashboardBed) -> None:
    for other in (f"X-Forwarded-User: {USER}", "x-forwarded-user: bob"):
        headers = [other, f"X-Forwarded-User: {USER}", "Accept: text/html"]
        answer = exchange(named, request("GET", "/account/", headers=headers))
        assert answer.status == 403
        assert b"the proxy must replace what the client sends" in answer.body
    for header in ("X_Forwarded_User: {}", "X-Forwarded-User : {}", "X-Forwarded-Users: {}", "X-Forwarded-User:"):
        answer = exchange(named, request("GET", "/account/", headers=[header.format(USER)]))
        assert answer.status in (303, 400), header


@pytest.mark.parametrize(
    "name", ["nobody", "<b>x</b>", "$(reboot)", "a, b", "username,bob", "Username", "ä", "x" * 200, "\udcff"]
)
def test_a_user_who_is_not_known_is_told_how_to_become_one(named: DashboardBed, name: str) -> None:
    visitor = Visitor(named.url)
    page = visitor.send("GET", "/account/", X_Forwarded_User=os.fsencode(name).decode("latin-1"))
    assert page.status == 403
    assert page.text.count("the proxy has signed you in as") == 1
    assert not page.find("b", "x")
    assert f"tutumd user add {quote(name)}" in page.alert or name not in ("nobody", "$(reboot)")
    assert ("tutumd user add" in page.alert) == (name not in ("x" * 200, "\udcff"))
    answer = visitor.send("GET", "/", Accept="application/json", X_Forwarded_User="nobody")
    assert (answer.status, json.loads(answer.body).keys()) == (403, {"error"})


def test_a_session_of_the_proxy_ends_with_its_word(named: DashboardBed) -> None:
    member = add_member(named, "proxy-ends")
    visitor = Visitor(named.url, X_Forwarded_User=member.name)
    visitor.get("/")
    form = visitor.get("/account/").form("Make a key", scope="read")
    cookies = dict(visitor.cookies)
    nobody, stranger = Visitor(named.url), Visitor(named.url, address=STRANGER, X_Forwarded_User=member.name)
    other = Visitor(named.url, X_Forwarded_User=USER)
    for each in (nobody, stranger, other):
        each.cookies = dict(cookies)
        refused = each.send("POST", form.address, dict(form.fields))
        assert refused.status in (303, 403), "a form of one user is not one of another"
    assert [who(each.get("/account/")) for each in (nobody, stranger, other)] == ["", "", USER]
    assert other.cookies != cookies, "another user gets another cookie"
    assert who(visitor.get("/account/")) == member.name
    with named.accounts() as store:
        assert len(store.keys(member.name)) == 1
        store.remove_user(member.name)
    assert visitor.get("/account/").status == 403


def test_behind_tls_the_cookie_is_for_tls_and_this_host_only(database: str) -> None:
    with serve_edge(database, trusted_proxies=["127.0.0.1"], public_url="https://hooks.example.com") as server:
        for headers, is_secure in (
            ({"X-Forwarded-Proto": "https"}, True),
            ({"X-Forwarded-Proto": "http, https"}, True),
            ({"X-Forwarded-Proto": "http"}, False),
            ({}, True),
            ({"Host": "hooks.example.com"}, True),
        ):
            cookie = Visitor(server.url, **headers).send("GET", "/sign-in/").headers["set-cookie"]
            assert cookie.startswith("__Host-tutumd_session=") == is_secure, headers
            assert ("; secure" in cookie.lower()) == is_secure, headers
            assert "; path=/;" in cookie.lower()
            assert "domain" not in cookie.lower()
        direct = Visitor(server.url, address=STRANGER, X_Forwarded_Proto="https").send("GET", "/sign-in/")
        assert direct.headers["set-cookie"].startswith("tutumd_session="), "who comes past the proxy can sign in, too"


def observed(server: Api, address: str, **headers: str) -> list[tuple[int, str]]:
    """Return what somebody sees at the addresses of the dashboard."""
    visitor = Visitor(server.url, address=address, **headers)
    paths = ["/", "/sign-in/", "/services/", "/account/", f"/sign-in/link/{'x' * 43}/", "/static/app.css", "/nothing/"]
    answers = [visitor.send(method, path) for path in paths for method in ("GET", "HEAD", "POST", "PUT")]
    return [(each.status, each.body.decode()) for each in answers]


@pytest.mark.slow
@pytest.mark.parametrize("is_trusted", [False, True], ids=["direct", "proxy"])
def test_for_other_networks_there_is_no_dashboard(database: str, is_trusted: bool) -> None:
    with serve_edge(database, has_dashboard=False) as off:
        without = observed(off, STRANGER)
    assert {status for status, _ in without} == {200, 404}
    assert "From here, there are no pages to sign in to" in " ".join(without[0][1].split())
    networks = [ip_network(each) for each in ("127.0.0.1", "192.0.2.0/24", "2001:db8::/32")]
    proxies = ["127.0.0.9"] if is_trusted else []
    with serve_edge(database, trusted_proxies=proxies, dashboard_networks=networks) as server:
        assert observed(server, STRANGER) == without
        assert observed(server, "127.0.0.1") != without
        for forwarded, is_shown in (
            ("192.0.2.7", is_trusted),
            ("::ffff:192.0.2.7", is_trusted),
            ("2001:db8::1", is_trusted),
            ("203.0.113.1, 192.0.2.7", is_trusted),
            ("192.0.2.7, 203.0.113.1", False),
            ("127.0.0.1", is_trusted),
            ("nonsense", False),
        ):
            seen = observed(server, "127.0.0.9", X_Forwarded_For=forwarded)
            assert (seen != without) == is_shown, forwarded
        assert observed(server, "127.0.0.1", X_Forwarded_For="192.0.2.7") == without, "that proxy is not trusted"
        elsewhere = Visitor(server.url, address=STRANGER)
        elsewhere.cookies = signed_in(server).cookies
        assert elsewhere.send("GET", "/account/").status == 404
        call = server.make_handler(server.create_service(f"web-{is_trusted}")["uuid"])["url"]
        for method, path in (("POST", call), ("GET", "/api/v1/service/"), ("GET", "/api/docs"), ("GET", "/healthz")):
            answer = exchange(server, request(method, path, headers=[CREDENTIALS]), STRANGER)
            assert answer.status in (200, 202), path


@pytest.mark.slow
@pytest.mark.parametrize("is_kept", [True, False], ids=["kept", "taken away"])
def test_the_dashboard_works_below_a_path(database: str, tmp_path: Path, is_kept: bool) -> None:
    port, public = free_port(), "/team/hooks"
    root = f"http://127.0.0.1:{port}{public}"
    with (
        serve_edge(database, public_url=root) as server,
        nginx_below_a_path(tmp_path / "nginx", port, public, server.port, is_kept=is_kept),
    ):
        visitor = Visitor(root)
        page = visitor.get("/account/")
        assert page.path == "/sign-in/?next=/account/"
        for link in page.find("link", rel="stylesheet"):
            assert link.attributes["href"].startswith(f"{public}/static/")
            assert visitor.send("GET", link.attributes["href"].removeprefix(public)).status == 200
        page = page.submit("Sign in", user=USER, key=APIKEY)
        assert page.path == "/account/"
        cookie = Visitor(root).send("GET", "/sign-in/").headers["set-cookie"]
        assert f"; Path={public};" in cookie
        assert visitor.get("/").submit("Sign out").path == "/sign-in/"
        page = visitor.get("/sign-in/").submit("Sign in", user=USER, key=APIKEY, next="//evil.example")
        assert page.path == "/"


@pytest.mark.slow
def test_the_options_of_the_server_reach_the_pages(tmp_path: Path) -> None:
    options = ("--trusted-proxies", "127.0.0.1", "--user-header", HEADER, "--public-url", "https://hooks.example.com")
    networks = {"TUTUMD_DASHBOARD_ALLOW_FROM": "192.0.2.0/24"}
    with LiveServer(tmp_path, "--engine", "local", *options, environment=networks) as server:
        assert Visitor(server.url, X_Forwarded_User=USER).send("GET", "/account/").status == 404
        page = Visitor(server.url, X_Forwarded_User=USER, X_Forwarded_For="192.0.2.7").send("GET", "/account/")
        assert page.find("h1", USER) and page.headers["set-cookie"].startswith("__Host-")
