"""One Chromium and one filled server for all tests of this folder."""

from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser as PlaywrightBrowser

from tests.acceptance.browser.filled_server import FilledServer, filled_server
from tests.support import guards
from tests.support.browser import Browser, running_chromium


@pytest.fixture(scope="package")
def chromium() -> Iterator[PlaywrightBrowser]:
    """A running Chromium; see `tests/support/browser.py`. Playwright's event loop ends with this folder."""
    guards.require_part("chromium")
    with running_chromium() as started:
        yield started


@pytest.fixture
def browser(chromium: PlaywrightBrowser, request: pytest.FixtureRequest) -> Iterator[Browser]:
    """Chromium for one test, which fails if a page had errors or asked another server."""
    if "dashboard" in request.fixturenames:
        request.getfixturevalue("dashboard")  # made first, it ends last: an open page asks its server every second
    opened = Browser(chromium)
    yield opened
    opened.close()
    assert not opened.faults


@pytest.fixture(scope="package")
def filled(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FilledServer]:
    with filled_server(tmp_path_factory.mktemp("filled")) as made:
        yield made
