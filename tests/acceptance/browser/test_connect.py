"""Connecting a sender in a real browser: the checks turn green by themselves, and the browser keeps no secret."""

import uuid

import pytest
from playwright.sync_api import Page, expect

from tests.acceptance.sender_calls import send_payload
from tests.support.browser import PHONE, Browser, sign_in
from tests.support.server import APIKEY, USER, LiveServer


@pytest.fixture(scope="session")
def service(live_server: LiveServer) -> str:
    return live_server.run_service(f"browsed-{uuid.uuid4()}")


@pytest.mark.slow
def test_the_checks_turn_green_while_the_page_is_open(browser: Browser, live_server: LiveServer, service: str) -> None:
    page = browser.open(live_server.url, PHONE, is_dark=True)
    heads: list[str] = []
    page.on("response", lambda each: heads.append(f"{each.url} {each.headers} {each.request.headers.get('referer')}"))
    sign_in(page, USER, APIKEY)
    page.goto(f"/connect/?q={live_server.service(service)['name']}")
    with page.expect_navigation():
        page.locator(f'a[href="/service/{service}/connect/"]').first.click()
    page.get_by_role("link", name="GHCR").click()
    page.get_by_label("Image tag").fill("latest")
    page.get_by_role("button", name="Create the URL").click()
    url, secret = (page.get_by_label(name, exact=True).input_value() for name in ("Payload URL", "Secret"))
    page.get_by_role("link", name="Watch the first call arrive").click()
    page.get_by_role("heading", name="Waiting for the first call").wait_for()
    address, secrets = page.url, (url.split("/")[-3], secret)
    assert not [each for each in secrets if each in kept_by(page)]
    key = str(uuid.uuid4())
    send_payload(live_server, url, "github-ping", "ghcr", secret)
    page.get_by_role("heading", name="ping arrived: connected").wait_for()
    send_payload(live_server, url, "ghcr-registry-package", "ghcr", "another", key=key)
    page.get_by_role("heading", name="A call arrived with a wrong secret").wait_for()
    send_payload(live_server, url, "ghcr-registry-package", "ghcr", secret, key=key)
    page.get_by_role("heading", name="is connected").wait_for()
    expect(page.locator(".checks .word")).to_have_text(["Passed"] * 5)
    assert page.url == address
    with page.expect_navigation():
        page.get_by_role("link", name="What arrived").click()
    page.get_by_role("button", name="Redeliver", exact=True).click()
    page.get_by_text("This is what became of sending").wait_for()
    page.get_by_role("link", name="Deliveries").click()
    page.locator("tbody tr").nth(3).wait_for()
    tokens = [each["value"] for each in page.context.cookies()]
    sent = "\n".join(each for each in heads if "set-cookie" not in each)
    assert not [each for each in (*secrets, *tokens) if each in kept_by(page) + sent]


def kept_by(page: Page) -> str:
    """Return all that a browser keeps of a page."""
    return str(
        page.evaluate("""JSON.stringify([
            {...localStorage}, {...sessionStorage}, history.state, document.cookie, document.title, document.referrer,
            location.href, document.documentElement.outerHTML])""")
    )
