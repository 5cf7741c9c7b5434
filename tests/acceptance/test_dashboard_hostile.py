"""Hostile text in every field that people or senders fill: on each page it stays text, and breaks no layout."""

import json
import shlex
import sqlite3
import uuid
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass
from urllib.parse import quote, urlencode

import pytest
from playwright.sync_api import Error, Page

from tests.acceptance.accounts import add_limited_key, add_member
from tests.acceptance.page_routes import page_routes
from tests.support.browser import Browser, Screen, sign_in
from tests.support.server import APIKEY, LIMIT_S, USER, LiveServer

NARROW = Screen(width=360, height=740, is_touched=True)
MARKUP = (  # all elements of it have the attribute `data-xss`, and all scripts set `window.xss`
    "<script data-xss>window.xss=1</script>",
    "<img data-xss src=x onerror=window.xss=1>",
    '"><svg data-xss onload=window.xss=1>',
    "' data-xss autofocus onfocus='window.xss=1",
    '" data-xss hx-get=/sign-in/ hx-trigger=load x="',
    "</textarea></title></script><b data-xss>",
    "<a data-xss href=javascript:window.xss=1>x</a>",
    "javascript:window.xss=1//",
    "<!--<b data-xss>--><base data-xss href=//evil.example/>",
    "<meta data-xss http-equiv=refresh content=0;url=//evil.example/>",
)
TEMPLATES = ("{{7*191}}", "{%raw%}${7*191}#{7*191}", "&lt;b data-xss&gt;&#60;i data-xss&#62;")
UNICODE = ("\u202etxt.exe\u202c", "z\u200bw\u200dj", "🏴‍☠️👩‍👩‍👧", "İıſK")  # fmt: skip
LONG = "W" * 120
ASCII = " ".join((*MARKUP, *TEMPLATES))
EVERYTHING = " ".join((ASCII, *UNICODE, LONG))
# A user's name has neither space nor colon nor backslash; a glob, a name and a marker are short.
SHORT = "<img/data-xss/src=x/onerror=window.xss=1>\"'{{7*191}}\u202e🏴‍☠️"
USER_NAME = "<img/data-xss/src=x/onerror=window.xss=1>\"'{{7*191}}&lt;b"

_FIND = """() => {
    const all = [...document.querySelectorAll("*")];
    const addresses = ["href", "src", "action", "formaction", "hx-get", "hx-post"];
    const text = document.documentElement.textContent + " "
        + [...document.querySelectorAll("input,textarea,select")].map(e => e.value).join(" ");
    return {
        ran: window.xss !== undefined,
        made: all.filter(e => e.hasAttribute("data-xss") || e.tagName === "BASE").map(e => e.outerHTML),
        handlers: all.filter(e => [...e.attributes].some(a => a.name.startsWith("on"))).map(e => e.outerHTML),
        addresses: all.flatMap(e => addresses.map(n => e.getAttribute(n) || "")).filter(
            a => /^\\s*(javascript|data|vbscript|https?):|^\\/\\//i.test(a)),
        wide: document.documentElement.scrollWidth <= innerWidth ? [] : all.filter(
            e => e.getBoundingClientRect().right > innerWidth && !e.children.length).map(e => e.outerHTML.slice(0, 99)),
        text: text.replace(/\\s+/g, " "),
    }
}"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Hostile:
    """A server full of hostile text, and its objects by the names in paths of pages."""

    server: LiveServer
    values: Mapping[str, object]
    quiet: Mapping[str, object]
    """As `values`, of a handler that skipped the call."""
    labeled: str
    """UUID of a service with hostile labels."""
    member_key: str


@pytest.fixture(scope="module")
def hostile(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hostile]:
    with LiveServer(tmp_path_factory.mktemp("hostile"), "--engine", "local") as server:
        try:
            yield fill(server)
        finally:
            forget_labeled(server)


def fill(server: LiveServer) -> Hostile:
    """Put hostile text wherever the API, the senders and the containers can put any."""
    member = add_member(server, USER_NAME)
    print_all = f"printf '%s\\n' {shlex.quote(EVERYTHING)}"
    service = server.run_service(f"web-{SHORT}", f"{print_all}; exec sleep 36000")
    change = {"image": SHORT, "run_command": f"{print_all}; exit 3"}
    assert server.request("PATCH", f"/api/v1/service/{service}/", change).status in (200, 202)
    plain = server.make_handler(service, name=SHORT)
    for each in MARKUP:
        server.make_handler(service, name=each)
    strict = server.make_handler(
        service,
        name=f"strict {SHORT}",
        filter=[
            f"body.ref != {json.dumps(SHORT, ensure_ascii=False).join('``')}",
            {"preset": "branch", "branch": [SHORT]},
            {"preset": "tag", "tag": [SHORT], "repository": SHORT},
            {"preset": "paths", "paths": [SHORT]},
            {"preset": "skip", "marker": SHORT},
        ],
        tag={"allow": [SHORT, LONG]},
        verify={"preset": "hmac", "header": "X-Sign", "prefix": "<b data-xss>\"'", "secrets": [MARKUP[0]]},
    )
    loose = server.make_handler(service, name=f"loose {SHORT}", filter={"preset": "branch", "branch": [SHORT]})
    actions = [send(server, str(each["url"])) for each in (plain, strict, loose)]
    action = actions[0]
    ended = server.wait_for_action(action)
    assert "data-xss" in ended["log_tail"], ended
    labeled = add_labeled(server, service)
    add_limited_key(server, USER_NAME, stack=SHORT)
    values = {
        "service_uuid": service,
        "action_uuid": action.split("/")[-2],
        "number": number_of(server, str(plain["uuid"])),
        "delivery_number": 1,
        "token": quote("<b data-xss>'\"", safe=""),
        "name": quote("<b data-xss>'\"", safe=""),
    }
    # Deliveries are numbered per handler, or for all: the last one of the skipping handler is what counts.
    quiet = values | {"number": number_of(server, str(loose["uuid"]))}
    return Hostile(server=server, values=values, quiet=quiet, labeled=labeled, member_key=member.key)


def add_labeled(server: LiveServer, service: str) -> str:
    """Add a service whose labels, image and container are hostile, as an engine would show it; return its UUID."""
    with closing(sqlite3.connect(server.data / "tutumd.db", timeout=LIMIT_S)) as connection, connection:
        connection.row_factory = sqlite3.Row
        row = dict(connection.execute("SELECT * FROM services WHERE uuid = ?", (service,)).fetchone())
        lists = {key: json.dumps([EVERYTHING]) for key in ("warnings", "variables")}
        row |= {"uuid": str(uuid.uuid4()), "engine": "far", "engine_kind": "docker", "selector": EVERYTHING} | lists
        row |= {"name": f"far-{SHORT}", "stack": SHORT, "owner": USER_NAME, "image_name": EVERYTHING}
        row |= {"notes": EVERYTHING, "settings": json.dumps([[SHORT, EVERYTHING]]), "image_digest": SHORT}
        insert(connection, "services", row)
        query = "SELECT * FROM containers WHERE service_uuid = ?"
        container = dict(connection.execute(query, (service,)).fetchone())
        new = {"uuid": str(uuid.uuid4()), "service_uuid": row["uuid"], "name": EVERYTHING, "image_name": SHORT}
        insert(connection, "containers", container | new | {"present": 1, "object_id": SHORT, "image_digest": SHORT})
    return str(row["uuid"])


def insert(connection: sqlite3.Connection, table: str, row: Mapping[str, object]) -> None:
    columns, marks = ", ".join(row), ", ".join("?" * len(row))
    connection.execute(f"INSERT INTO {table} ({columns}) VALUES ({marks})", tuple(row.values()))


def forget_labeled(server: LiveServer) -> None:
    """Remove what no engine could terminate."""
    with closing(sqlite3.connect(server.data / "tutumd.db", timeout=LIMIT_S)) as connection, connection:
        connection.execute("PRAGMA foreign_keys = ON")
        connection.execute("DELETE FROM services WHERE engine = 'far'")


def send(server: LiveServer, url: str) -> str:
    """Call a handler with hostile text in all parts of the call, and return the path of the action."""
    body = {
        "ref": f"refs/heads/{EVERYTHING}",
        EVERYTHING: [EVERYTHING],
        "nul": "a\0b",
        "head_commit": {"message": SHORT},
    }
    query = urlencode({"x": EVERYTHING, ASCII[:100]: "1"})
    called = server.post(
        f"{url.removeprefix(server.url)}?{query}",
        json.dumps(body).encode(),
        User_Agent=ASCII,
        X_Hostile=ASCII,
        X_GitHub_Event="push",
        X_GitHub_Delivery=str(uuid.uuid4()),
        X_Forwarded_For="<b data-xss>",
        Content_Type="application/json",
    )
    assert called.status in (200, 202, 401), called
    return str(called.json.get("action") or "")


def number_of(server: LiveServer, handler: str) -> int:
    with closing(sqlite3.connect(server.data / "tutumd.db", timeout=LIMIT_S)) as connection:
        return int(connection.execute("SELECT seq FROM handlers WHERE uuid = ?", (handler,)).fetchone()[0])


def check(page: Page, *shown: str) -> None:
    """Fail if hostile text did anything on a page but show itself."""
    page.wait_for_load_state()
    found = page.evaluate(_FIND)
    at = page.url[:200]
    assert not found["ran"], at
    assert not found["made"] + found["handlers"] + found["addresses"], at
    assert "1337" not in found["text"], f"{at} evaluated a template"
    assert not found["wide"], f"{at} scrolls sideways: {found['wide'][:5]}"
    for text in shown:
        assert " ".join(text.split()) in found["text"], (at, text)


@contextmanager
def led_nowhere() -> Iterator[None]:
    """Fail if a page leaves for another one, as markup in it can say, while it is loaded and looked at."""
    try:
        yield
    except Error as error:
        raise AssertionError(f"the page left: {error}") from error


def open_page(browser: Browser, server: LiveServer) -> Page:
    page = browser.open(server.url, NARROW)
    page.on("dialog", lambda dialog: browser.faults.append(f"a page opened {dialog.message!r}"))
    return page


def test_hostile_text_stays_text_on_every_page(browser: Browser, hostile: Hostile) -> None:
    page = open_page(browser, hostile.server)
    sign_in(page, USER, APIKEY)
    shown = {
        "/services/": [f"web-{SHORT}", f"{SHORT}/far-{SHORT}", EVERYTHING],
        "/service/{uuid}/": [f"web-{SHORT}", *MARKUP],
        "/service/{uuid}/logs/": [EVERYTHING],
        "/connect/": [f"web-{SHORT}"],
        "/service/{service_uuid}/connect/": [f"web-{SHORT}"],
        "/service/{service_uuid}/handler/{number}/": [f"web-{SHORT}", SHORT],
        "/service/{service_uuid}/handler/{number}/edit/": [SHORT],
        "/service/{service_uuid}/handler/{number}/deliveries/": [SHORT],
        "/service/{service_uuid}/handler/{number}/delivery/{delivery_number}/": [ASCII, EVERYTHING],
        "/action/{uuid}/": [ASCII, EVERYTHING],
        "/account/": [USER_NAME],
    }
    for route in page_routes():
        # Files are no pages, and a part of one has no page around it.
        if route.method == "GET" and route.path not in ("/static/{name}", "/running/", "/action/{uuid}/log/"):
            with led_nowhere():
                page.goto(route.fill(hostile.values))
                check(page, *shown.get(route.path, ()))
                if "{number}" in route.path and "{delivery_number}" not in route.path:
                    page.goto(route.fill(hostile.quiet))
                    check(page, *([f"loose {SHORT}"] if route.path in shown else ()))


def test_hostile_labels_stay_text(browser: Browser, hostile: Hostile) -> None:
    page = open_page(browser, hostile.server)
    sign_in(page, USER, APIKEY)
    for route in page_routes():
        if route.method == "GET" and {"service_uuid", "uuid"} & {*route.names} and "action" not in route.path:
            page.goto(route.fill(dict(hostile.values) | {"service_uuid": hostile.labeled}))
            is_handler = "{number}" in route.path
            check(page, *([] if is_handler else [f"{SHORT}/far-{SHORT}"]))
            if route.path == "/service/{uuid}/":
                check(page, EVERYTHING)


def test_hostile_text_stays_text_in_queries_and_paths(browser: Browser, hostile: Hostile) -> None:
    page = open_page(browser, hostile.server)
    page.goto(f"/sign-in/?next={quote(ASCII)}")
    check(page)
    page.get_by_label("User").fill(USER_NAME)
    page.get_by_label("API key").fill(EVERYTHING)
    with page.expect_navigation():
        page.get_by_role("button", name="Sign in").click()
    check(page, USER_NAME)
    sign_in(page, USER_NAME, hostile.member_key)
    check(page, USER_NAME)
    page.context.clear_cookies()
    page.goto("/sign-in/?next=javascript:window.xss=1//")
    page.get_by_label("User").fill(USER)
    page.get_by_label("API key").fill(APIKEY)
    page.get_by_role("button", name="Sign in").click()
    page.get_by_role("heading", name="Overview").wait_for()
    handler = "/service/{service_uuid}/handler/{number}/".format_map(dict(hostile.values))
    for each in (EVERYTHING, *MARKUP):
        text = quote(each, safe="")
        page.goto(f"/services/?search={text}")
        check(page, each)
        page.goto(f"/services/?state={text}&stack={text}&engine={text}&after={text}")
        check(page)
        page.goto(f"/connect/?q={text}")
        check(page)
    text = quote(ASCII, safe="")
    for path in (
        f"/service/{hostile.values['service_uuid']}/connect/?sender={text}",
        f"{handler}?did={text}&outcome={text}",
        f"{handler}deliveries/?outcome={text}&before={text}",
        f"{handler}connect/?sender={text}&after={text}",
        f"{handler}try/?delivery={text}",
        f"/audit/?before={text}",
        f"/service/{text}/",
        f"/action/{text}/",
        f"{handler}{text}/",
        f"/{text}",
    ):
        page.goto(path)
        check(page)


def test_hostile_text_stays_text_in_forms(browser: Browser, hostile: Hostile) -> None:
    page = open_page(browser, hostile.server)
    sign_in(page, USER, APIKEY)
    service = hostile.values["service_uuid"]
    page.goto(f"/service/{service}/connect/?sender=ghcr")
    page.get_by_label("Image tag").fill(SHORT)
    check(page)
    page.locator("input[name=name]").fill(SHORT)
    with page.expect_navigation():
        page.get_by_role("button", name="Create the URL").click()
    check(page)
    page.goto(f"/service/{service}/handler/new/")
    for control in page.locator("form.handler-form input:not([type=hidden]), form.handler-form textarea").all():
        if control.get_attribute("type") in (None, "text", "search"):
            control.evaluate("(control, text) => { control.value = text }", SHORT)
    page.locator("form.handler-form textarea").evaluate_all(
        "(all, text) => all.forEach(each => { each.value = text })", SHORT
    )
    page.get_by_role("button", name="Create the handler").press("Enter")
    page.get_by_text("Not saved.").wait_for()
    check(page, SHORT)
    page.goto("/service/{service_uuid}/handler/{number}/try/".format_map(dict(hostile.values)))
    for label in ("Headers", "Query", "Body", "Address of the caller"):
        page.get_by_label(label, exact=True).fill(EVERYTHING)
    with page.expect_navigation():
        page.get_by_role("button", name="Try this payload").press("Enter")
    check(page, EVERYTHING)
    page.goto("/account/")
    page.get_by_label("Only for the service").fill(EVERYTHING)
    page.get_by_label("Only for the stack").fill(EVERYTHING)
    with page.expect_navigation():
        page.get_by_role("button", name="Make a key", exact=True).click()
    check(page, EVERYTHING)
