"""A real Chromium for tests of the dashboard, by the fixture `browser`.

    def test_the_menu_opens(browser: Browser, live_server: LiveServer) -> None:
        page = browser.open(live_server.url)               # a desk screen; Playwright's `Page`, signed in to nothing
        page = browser.open(live_server.url, PHONE, is_dark=True, has_scripts=False)
        sign_in(page, USER, APIKEY)                        # then `page.goto("/services/")`: addresses are the server's

Each `open` is a browser of its own, with its own cookies. When the test ends, all are closed, and the test fails if a
page had an error in a script, broke the Content-Security-Policy, or wanted something from another server. A test that
causes such an error on purpose takes it out of `browser.faults`.

Playwright has an event loop in the thread of the test as long as it runs. So the browser is that of the folder
`tests/acceptance/browser`, and a test there cannot call `asyncio.run`.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from urllib.parse import urlsplit

import psutil
from playwright.sync_api import Browser as PlaywrightBrowser
from playwright.sync_api import BrowserContext, ConsoleMessage, Page, Request, expect, sync_playwright

from tests.support import processes
from tests.support.waiting import wait_until

CHROMIUM = "/usr/bin/chromium"
_LIMIT_MS = 180_000
expect.set_options(timeout=_LIMIT_MS)
_ARGUMENTS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    # Chromium is no part of the process that the rule against networks beyond loopback holds for.
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1, EXCLUDE localhost, EXCLUDE *.localhost",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Screen:
    """Size in CSS pixels, and whether it is one to touch."""

    width: int
    height: int
    is_touched: bool = False


DESK = Screen(width=1280, height=800)
PHONE = Screen(width=390, height=844, is_touched=True)


class Browser:
    """Chromium for one test.

    Attributes:
        faults: What no page of ours may cause: errors of scripts, breaches of the policy, foreign requests.
    """

    def __init__(self, chromium: PlaywrightBrowser) -> None:
        self._chromium = chromium
        self._contexts: list[BrowserContext] = []
        self.faults: list[str] = []

    def open(
        self,
        url: str,
        screen: Screen = DESK,
        *,
        is_dark: bool = False,
        has_scripts: bool = True,
        locale: str = "en-GB",
        time_zone: str = "UTC",
        headers: dict[str, str] | None = None,
    ) -> Page:
        """Open an empty page of a new browser, whose addresses are those of the server at `url`."""
        context = self._chromium.new_context(
            base_url=url,
            viewport={"width": screen.width, "height": screen.height},
            is_mobile=screen.is_touched,
            has_touch=screen.is_touched,
            color_scheme="dark" if is_dark else "light",
            reduced_motion="reduce",
            java_script_enabled=has_scripts,
            locale=locale,
            timezone_id=time_zone,
            extra_http_headers=headers,
        )
        self._contexts.append(context)
        context.set_default_timeout(_LIMIT_MS)
        host = urlsplit(url).netloc

        def note_request(request: Request) -> None:
            parts = urlsplit(request.url)
            if parts.scheme not in ("data", "blob") and parts.netloc != host:
                self.faults.append(f"a page asked for {request.url}")

        def note_message(message: ConsoleMessage) -> None:
            # A response with an error status is an error in the console, too; tests look at these themselves.
            if message.type == "error" and not message.text.startswith("Failed to load resource"):
                self.faults.append(message.text)

        context.on("request", note_request)
        context.on("console", note_message)
        context.on("weberror", lambda error: self.faults.append(str(error.error)))
        return context.new_page()

    def close(self) -> None:
        """Close all that was opened."""
        for context in self._contexts:
            context.close()


@contextmanager
def running_chromium() -> Iterator[PlaywrightBrowser]:
    """Run Chromium. All its processes have ended at the end of the block."""
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=CHROMIUM, args=list(_ARGUMENTS), timeout=_LIMIT_MS)
        try:
            yield chromium
        finally:
            started = _processes_of_playwright()
            chromium.close()
    wait_until(lambda: not any(map(processes.runs, started)), "Chromium's processes have ended")


def sign_in(page: Page, user: str, key: str) -> None:
    """Sign in with an API key, as people do."""
    page.goto("/sign-in/")
    page.get_by_label("User").fill(user)
    page.get_by_label("API key").fill(key)
    page.get_by_role("button", name="Sign in").click()
    page.wait_for_url(lambda url: "/sign-in/" not in url)


def _processes_of_playwright() -> list[psutil.Process]:
    return [
        below
        for each in psutil.Process().children()
        if any("playwright" in part for part in processes.command(each))
        for below in (each, *processes.below(each.pid))
    ]
