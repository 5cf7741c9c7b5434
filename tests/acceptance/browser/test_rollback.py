"""Rollbacks and holds in a browser: for everybody, by the keyboard alone, with places of images that a script adds."""

import pytest
from playwright.sync_api import Page, expect

from tests.acceptance.browser.test_accessible import NARROW, check
from tests.acceptance.browser.test_keyboard import Keyboard
from tests.support.api import APIKEY, USER
from tests.support.browser import DESK, Browser, sign_in
from tests.support.dashboard_bed import DashboardBed
from tests.support.history import look, redeploy
from tutumd.application import accounts

pytestmark = [pytest.mark.slow, pytest.mark.chromium, pytest.mark.timeout(2400)]


@pytest.fixture
def page(browser: Browser, dashboard: DashboardBed) -> Page:
    """A page of an admin; the service `web` ran seven images, and runs the eighth."""
    dashboard.bed.sync(look("a"))
    redeploy(dashboard.bed, *"bcdefgh")
    accounts.add_user(dashboard.bed.store, USER, is_admin=True, key=APIKEY)
    opened = browser.open(dashboard.url)
    sign_in(opened, USER, APIKEY)
    return opened


def test_each_page_with_images_and_holds_is_for_everybody(page: Page, dashboard: DashboardBed) -> None:
    bed, uuid = dashboard.bed, dashboard.bed.service_uuid("web")
    bed.store.hold(bed.admin, uuid, until=None, reason="incident 42")
    action = bed.call(bed.handler("web"))
    service = f"/service/{uuid}/"
    with dashboard.answering({"images": {"7": "registry", "6": "local", "5": "no"}}):
        page.goto(service)
        expect(page.get_by_text("Not found")).to_be_visible()
    bed.clock.move(60)  # no worker answers: the pages say so at once
    found: list[str] = []
    for screen, is_dark in ((NARROW, True), (DESK, False)):
        page.set_viewport_size({"width": screen.width, "height": screen.height})
        page.emulate_media(color_scheme="dark" if is_dark else "light")
        for address in (
            "/",
            service,
            f"{service}image/",
            f"{service}rollback/",
            f"{service}redeploy/",
            f"/action/{action}/",
        ):
            found += check(page, address, is_open=is_dark)
    assert not found, "\n".join(dict.fromkeys(found))


def test_a_script_adds_where_images_are_and_a_refresh_keeps_it(page: Page, dashboard: DashboardBed) -> None:
    bed, uuid = dashboard.bed, dashboard.bed.service_uuid("web")
    bed.call(bed.handler("web"))  # a page of work that waits refreshes itself soon
    with dashboard.answering({"images": {"7": "registry"}}):
        page.goto(f"/service/{uuid}/")
        expect(page.get_by_text("In the registry")).to_be_visible()
    bed.store.hold(bed.admin, uuid, until=None, reason="incident 42")
    expect(page.get_by_text("Redeploys are held.")).to_be_visible()
    expect(page.get_by_text("In the registry")).to_be_visible()
    bed.sync(look("i"))
    with dashboard.answering({"images": {"8": "local"}}):
        expect(page.get_by_text("9: iiiiiiiiiiii")).to_be_visible()
        expect(page.get_by_text("On its host")).to_be_visible()


def test_the_keyboard_rolls_back_and_resumes(page: Page, dashboard: DashboardBed) -> None:
    keyboard = Keyboard(page)
    dashboard.bed.clock.move(60)
    page.goto(f"/service/{dashboard.bed.service_uuid('web')}/")
    keyboard.press(page.get_by_role("link", name="Roll back to image 5"))
    keyboard.reach(page.get_by_label("Hold redeploys afterwards"))
    keyboard.type(page.get_by_label("Reason"), "incident 42")
    keyboard.press(page.get_by_role("button", name="Roll back now"))
    expect(page.get_by_role("heading", name="Roll back to image 5 web")).to_be_visible()
    keyboard.press(page.get_by_role("navigation", name="Breadcrumb").get_by_role("link", name="web"))
    expect(page.get_by_text("with a rollback: incident 42.")).to_be_visible()
    keyboard.press(page.get_by_role("button", name="Resume"))
    expect(page.get_by_text("The service is not held any more.")).to_be_visible()
    keyboard.press(page.locator("#hold > summary"))
    keyboard.type(page.get_by_label("Reason"), "a release")
    keyboard.press(page.get_by_role("button", name="Hold the redeploys"))
    expect(page.get_by_text(": a release.")).to_be_visible()
