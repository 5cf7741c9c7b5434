"""Hostile text that people, senders and containers give, on every page: it is shown, and does nothing else.

What markup becomes is seen in the HTML. A browser looks at the same pages with `--all`.
"""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from playwright.sync_api import Error

from tests.acceptance.browser.hostile import ASCII, EVERYTHING, SHORT, USER_NAME, Hostile, fill, forms
from tests.support.browser import Browser, Screen
from tests.support.dashboard_bed import serve_edge
from tests.support.html_tree import Element, parse
from tests.support.pages import Visitor, signed_in
from tests.support.server import APIKEY, USER

NARROW = Screen(width=360, height=740, is_touched=True)
ADDRESSES = ("href", "src", "action", "formaction", "hx-get", "hx-post")
FOREIGN = re.compile(r"\s*(javascript|data|vbscript|https?):|//", re.IGNORECASE)
_WIDE = """() => document.documentElement.scrollWidth <= innerWidth ? [] : [...document.querySelectorAll("*")].filter(
    e => e.getBoundingClientRect().right > innerWidth && !e.children.length).map(e => e.outerHTML.slice(0, 99))"""


@pytest.fixture(scope="module")
def hostile(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hostile]:
    with serve_edge(f"sqlite:///{tmp_path_factory.mktemp('hostile') / 'test.db'}") as edge:
        yield fill(edge)


def check_html(root: Element, at: str, *shown: str) -> None:
    """Fail if hostile text became anything but text in the HTML of a page."""
    elements = [each for each in root.walk() if each.tag != "#page"]
    made = [each for each in elements if "data-xss" in each.attributes or each.tag == "base"]
    scripts = [each for each in elements if each.tag == "script" and "src" not in each.attributes]
    handlers = [each for each in elements for name in each.attributes if name.startswith("on")]
    addresses = [each.attributes.get(name, "") for each in elements for name in ADDRESSES]
    assert not made + scripts + handlers, (at, made, scripts, handlers)
    assert not [each for each in addresses if FOREIGN.match(each)], at
    text = " ".join(" ".join(written(each) for each in elements).split())
    assert "1337" not in text, f"{at} evaluated a template"
    for each in shown:
        assert " ".join(each.split()) in text, (at, each)


def written(element: Element) -> str:
    """Return what is written in an element itself, and in a field."""
    return (
        "".join(each for each in element.children if isinstance(each, str)) + " " + element.attributes.get("value", "")
    )


def test_hostile_text_stays_text_on_every_page(hostile: Hostile) -> None:
    visitor = signed_in(hostile.edge)
    for address, shown in (*hostile.visits(), *hostile.queries()):
        with hostile.answering(address):
            page = visitor.get(address)
        if page.headers["content-type"].startswith("text/html"):
            check_html(page.root, address, *shown)


def test_hostile_text_stays_text_in_answers_to_forms(hostile: Hostile) -> None:
    visitor = Visitor(hostile.edge.url)
    refused = visitor.get("/sign-in/").submit("Sign in", user=USER_NAME, key=EVERYTHING, next=ASCII)
    assert refused.status == 401
    check_html(refused.root, "the refusal", USER_NAME, ASCII)
    signed = Visitor(hostile.edge.url).sign_in(USER_NAME, hostile.member_key)
    check_html(signed.root, "the first page", USER_NAME)
    visitor.sign_in(USER, APIKEY)
    for address, button, is_filled, shown in forms(hostile):
        page = visitor.get(address)
        names = {name for name, _ in page.form(button).fields if is_filled(name)}
        typed: Any = dict.fromkeys(names, SHORT)
        assert names, address
        check_html(page.submit(button, **typed).root, address, *shown)


@contextmanager
def led_nowhere() -> Iterator[None]:
    """Fail if a page leaves for another one, as markup in it can say, while it is loaded and looked at."""
    try:
        yield
    except Error as error:
        raise AssertionError(f"the page left: {error}") from error


@pytest.mark.slow
def test_hostile_text_does_nothing_in_a_browser(browser: Browser, hostile: Hostile) -> None:
    page = browser.open(hostile.edge.url, NARROW)
    page.on("dialog", lambda dialog: browser.faults.append(f"a page opened {dialog.message!r}"))
    page.goto("/sign-in/?next=javascript:window.xss=1//")
    page.get_by_label("User").fill(USER)
    page.get_by_label("API key").fill(APIKEY)
    page.get_by_role("button", name="Sign in").click()
    page.get_by_role("heading", name="Overview").wait_for()
    for address, shown in (*hostile.visits(), *hostile.queries()):
        with led_nowhere(), hostile.answering(address):
            page.goto(address)
            page.wait_for_load_state()
            assert page.evaluate("window.xss === undefined"), f"{address} ran a script"
            check_html(parse(page.content()), address, *shown)
            wide = page.evaluate(_WIDE)
            assert not wide, f"{address} scrolls sideways: {wide[:5]}"
