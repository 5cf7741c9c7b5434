"""Every route of the dashboard: only forms of our own pages change something, and every response is safe."""

import re
from collections.abc import Iterator
from dataclasses import replace
from itertools import product
from urllib.parse import quote

import pytest

from tests.acceptance.page_routes import page_routes
from tests.acceptance.raw_http import UNKNOWN, Target, exchange, holdings, other_address, request
from tests.support.dashboard_bed import DashboardBed, serve_edge
from tests.support.pages import Page, Visitor, signed_in
from tests.support.server import APIKEY, USER
from tutumd.web.pages.cookies import SAFETY

ROUTES = [(route.method, route.path) for route in page_routes()]
GETS = [path for method, path in ROUTES if method == "GET"]
POSTS = [path for method, path in ROUTES if method == "POST"]
TYPE = "application/x-www-form-urlencoded"


@pytest.fixture(scope="module")
def edge(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DashboardBed]:
    with serve_edge(f"sqlite:///{tmp_path_factory.mktemp('forms') / 'test.db'}") as started:
        started.make_handler(started.create_service("quiet")["uuid"])
        yield started


@pytest.fixture(scope="module")
def target(edge: DashboardBed) -> Iterator[Target]:
    """A service and its handler, which no test of the module may change."""
    (service,) = edge.objects("/api/v1/service/")
    (handler,) = edge.objects(f"{service['resource_uri']}webhook/handler/")
    before = holdings(edge)
    yield Target(server=edge, service=service["uuid"], handler=handler["uuid"], other_service="", scaling="")
    assert holdings(edge) == before


@pytest.fixture
def visitor(edge: DashboardBed) -> Visitor:
    return signed_in(edge)


def fill(path: str, target: Target) -> str:
    """Return a path of a route with the names of things that exist, where a route names one."""
    values = {"uuid": target.service, "service_uuid": target.service, "number": "1", "token": "x" * 43}
    return re.sub(r"\{(\w+)(:\w+)?\}", lambda match: values.get(match[1], UNKNOWN), path)


def csrf(visitor: Visitor) -> str:
    return visitor.get("/account/").form("Sign out").csrf


def test_routes_are_found() -> None:
    assert ("POST", "/sign-out/") in ROUTES
    assert ("GET", "/static/{name}") in ROUTES
    assert {method for method, _ in ROUTES} == {"GET", "POST"}


def test_a_form_without_the_token_of_the_session_changes_nothing(target: Target, visitor: Visitor) -> None:
    other = signed_in(target.server)
    for path, token in product(POSTS, (None, "", "0" * 64, "ä", csrf(other))):
        page = visitor.send("POST", fill(path, target), {} if token is None else {"csrf": token})
        assert page.status == 403, (path, token)
        assert "this form is out of date" in page.text, (path, token)
    assert visitor.get("/account/").path == "/account/"


def test_a_form_of_another_site_changes_nothing(target: Target, visitor: Visitor) -> None:
    token = csrf(visitor)
    cookie = "; ".join(f"{name}={value}" for name, value in visitor.cookies.items())
    for path in POSTS:
        for headers in (
            {"Origin": "https://evil.example", "Sec_Fetch_Site": "cross-site"},
            {"Origin": "null", "Sec_Fetch_Site": "cross-site"},
            {"Origin": "https://other.dashboard.example", "Sec_Fetch_Site": "same-site"},
        ):
            page = visitor.send("POST", fill(path, target), {"csrf": token}, **headers)
            assert page.status == 403, (path, headers)
            assert "another site" in page.text
        old_browser = [f"Cookie: {cookie}", "Origin: https://evil.example", f"Content-Type: {TYPE}"]
        raw = request("POST", fill(path, target), f"csrf={token}".encode(), old_browser)
        assert exchange(target.server, raw).status == 403, path


@pytest.mark.slow
def test_what_is_no_form_changes_nothing(target: Target, visitor: Visitor) -> None:
    token = csrf(visitor)
    bodies = {
        "text/plain": f"csrf={token}",
        "multipart/form-data; boundary=x": f"--x\r\nContent-Disposition: form-data; name=csrf\r\n\r\n{token}\r\n--x--",
        "application/json": f'{{"csrf": "{token}"}}',
        "": f"csrf={token}",
    }
    wrong = [f"csrf={token}&{each}".encode("latin-1") for each in ("a=%ff", "a=%00", "\xff", "a" + "&a" * 600)]
    for address in (fill(path, target) for path in POSTS):
        for content_type, body in bodies.items():
            page = visitor.send("POST", address, body, Content_Type=content_type)
            assert page.status == 400, (address, content_type)
            assert TYPE in page.text
        for each in wrong:
            assert visitor.send("POST", address, each).status == 400, (address, each[-20:])


@pytest.mark.slow
def test_a_get_changes_nothing(target: Target, visitor: Visitor) -> None:
    token = csrf(visitor)
    for path in POSTS:
        address = fill(path, target)
        # The address may be that of a page, too.
        expected = (200, 303, 404) if path in GETS else (404, 405)
        assert visitor.send("GET", f"{address}?csrf={token}").status in expected, path
        for method in ("PUT", "DELETE", "PATCH", "OPTIONS"):
            assert visitor.send(method, address, Content_Type=TYPE).status in (404, 405), (method, path)
    assert visitor.get("/account/").path == "/account/"


def test_a_stranger_changes_nothing_with_a_token_of_no_session(target: Target) -> None:
    stranger = Visitor(target.server.url, address=other_address())
    token = stranger.get("/sign-in/").form("Sign in").csrf
    for path in POSTS:
        page = stranger.send("POST", fill(path, target), {"csrf": token})
        if path.startswith("/sign-in/"):
            assert page.status in (401, 429), path
        else:
            assert (page.status, page.headers["location"]) == (303, "/sign-in/"), path
        refused = Visitor(target.server.url).send("POST", fill(path, target), {"csrf": token})
        assert refused.status == 403, path
        assert "sent no cookie" in refused.text


def responses(target: Target, visitor: Visitor) -> Iterator[Page]:
    """Yield responses of all kinds."""
    stranger = Visitor(target.server.url)
    for who in (visitor, stranger):
        for path in GETS:
            yield who.send("GET", fill(path, target))
        for path in POSTS:
            yield who.send("POST", fill(path, target))
    odd = ("/nothing/", f"/{UNKNOWN}/", "/static/none.js", "/service/x/", "/audit/?before=x", "/audit/?before=-1")
    for path, method in product(odd, ("GET", "HEAD", "PUT")):
        yield visitor.send(method, path)
        yield visitor.send(method, path, Accept="application/json")
    yield visitor.send("GET", "/account/", HX_Request="true")
    yield stranger.send("GET", "/account/", HX_Request="true")


@pytest.mark.slow
def test_every_response_keeps_browsers_from_harm(target: Target, visitor: Visitor) -> None:
    statuses = set()
    for page in responses(target, visitor):
        statuses.add(page.status)
        for name, value in SAFETY.items():
            found = page.headers.get_all(name, [])
            if name == "Cache-Control" and page.path.startswith("/static/") and page.status == 200:
                value = "public, max-age=31536000, immutable"
            assert found == [value], (page, name)
    assert {200, 303, 400, 401, 403, 404, 405} <= statuses
    policy = SAFETY["Content-Security-Policy"]
    assert "unsafe" not in policy
    assert "frame-ancestors 'none'" in policy


@pytest.mark.nightly
def test_head_is_get_without_a_body(target: Target, visitor: Visitor) -> None:
    for path in GETS:
        address = fill(path, target)
        head, get = visitor.send("HEAD", address), visitor.send("GET", address)
        assert (head.status, head.body) == (get.status, b""), path
        assert head.headers["content-type"] == get.headers["content-type"], path


def test_what_is_not_there_is_told_as_by_the_api(target: Target, visitor: Visitor) -> None:
    text = "there is nothing at this path: the routes are listed at /api/docs"
    for who in (visitor, Visitor(target.server.url)):
        for path in ("/nothing", "/nothing/", "/sign-in/x/", "/service/", "/api", "/apis", "/static/", "/.git/config"):
            page = who.send("GET", path, Accept="*/*")
            assert (page.status, page.headers["content-type"]) == (404, "application/json"), path
            assert text in page.html
    page = visitor.send("GET", "/nothing/")
    assert (page.status, page.headers["content-type"]) == (404, "text/html; charset=utf-8")
    assert "there is no such page" in page.text and "/api/docs" not in page.find("main")[0].text


def test_a_wrong_method_names_the_right_ones(visitor: Visitor) -> None:
    for path, allowed in (("/sign-out/", "POST"), ("/sign-in/", "GET, HEAD, POST"), ("/account/", "GET, HEAD")):
        page = visitor.send("DELETE", path)
        assert (page.status, page.headers["allow"]) == (405, allowed)
        assert f"use {allowed}" in page.text


def test_a_stranger_sends_short_forms_only(edge: DashboardBed, visitor: Visitor) -> None:
    long = {"user": "x" * 20_000}
    stranger = Visitor(edge.url)
    token = stranger.get("/sign-in/").form("Sign in").csrf
    assert stranger.send("POST", "/sign-in/", {"csrf": token, **long}).status == 413
    assert visitor.send("POST", "/sign-in/", {"csrf": csrf(visitor), **long}).status == 401
    assert visitor.send("POST", "/sign-in/", {"user": "x" * 1_100_000}).status == 413


def test_the_last_of_repeated_fields_counts(edge: DashboardBed) -> None:
    visitor = Visitor(edge.url)
    form = visitor.get("/sign-in/").form("Sign in", user=["nobody", USER], key=["x", APIKEY])
    fields = [("next", "//evil.example"), *form.fields]
    page = visitor.post(form.address, "&".join(f"{name}={quote(value, safe='')}" for name, value in fields))
    assert (page.status, page.path) == (200, "/")


def test_forms_of_a_session_that_ended_lead_to_the_sign_in(edge: DashboardBed) -> None:
    visitor = Visitor(edge.url)
    page = visitor.sign_in(USER, APIKEY)
    form = page.form("Sign out")
    cookies = dict(visitor.cookies)
    page.submit("Sign out")
    visitor.cookies = cookies
    ended = replace(form, address="/account/sessions/end/")
    assert visitor.post(ended.address, dict(ended.fields)).path == "/sign-in/"
    visitor.cookies = {}  # the browser's own has expired, too
    for _ in ("expired", "signed out in another tab, which shows the sign-in"):
        refused = visitor.send("POST", ended.address, dict(ended.fields), Accept="text/html")
        assert refused.status == 403 and "sign in" in refused.text.lower(), refused.text
        assert refused.follow("Sign in").path == "/sign-in/"
