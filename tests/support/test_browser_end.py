"""Chromium ends with its module."""

import asyncio

from tests.support import guards
from tests.support.browser import Browser, running_chromium


def test_other_event_loops_run_after_chromium_has_ended() -> None:
    guards.require_part("chromium")
    with running_chromium() as chromium:
        browser = Browser(chromium)
        browser.open("http://127.0.0.1").set_content("<p>text")
        browser.close()
    assert asyncio.run(asyncio.sleep(0, "done")) == "done"
