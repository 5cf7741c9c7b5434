"""The tour of docs/tour.md on a real server: what it says is on its pages, and its pictures are of these pages.

TUTUMD_WRITE_SCREENSHOTS=1 draws the pictures of docs/images anew.
"""

import os
import re
from dataclasses import dataclass

import pytest

from tests.acceptance.accounts import add_limited_key
from tests.acceptance.browser.filled_server import FilledServer
from tests.support.browser import DESK, PHONE, Browser, Screen
from tests.support.documentation import ROOT
from tests.support.pages import Visitor, signed_in
from tutumd.application import accounts

pytestmark = pytest.mark.chromium  # beside the other tests of `filled`
IMAGES = ROOT / "docs" / "images"
ADMIN = "ada"
MAX_BYTES, MAX_BYTES_OF_ALL = 150 * 1024, 1024 * 1024
_IMAGE = re.compile(r"!\[([^\]]*)\]\((?:[\w./-]*/)?images/([\w.-]+)\)|<img[^>]*images/([\w.-]+)")


@dataclass(frozen=True, slots=True, kw_only=True)
class Stop:
    """A page of the tour, and what it shows.

    Attributes:
        kind: Of the thing whose page it is: the first one that the server has; empty: `template` needs none.
    """

    picture: str
    template: str
    texts: tuple[str, ...]
    kind: str = ""
    screen: Screen = DESK
    is_dark: bool = False


HANDLER = "/service/{service_uuid}/handler/{number}/"
STOPS = (
    Stop(
        picture="overview",
        template="/",
        texts=("Recent failures", "mailer", "Running", "Waiting", "Engines", "Recent actions"),
    ),
    Stop(
        picture="connected",
        template=f"{HANDLER}connect/?sender=github&after=0",
        kind="handler",
        texts=("The secret is correct", "Passed", "branch 'dev' is not 'main'"),
        is_dark=True,
    ),
    Stop(picture="failed", template="", kind="failed", texts=("It failed", "error: no relay is set", "Retry")),
    Stop(
        picture="plan",
        template="/service/{uuid}/redeploy/",
        kind="service",
        texts=("Nothing has been changed yet", "Steps", "Redeploy now"),
        is_dark=True,
    ),
    Stop(picture="service-phone", template="/service/{uuid}/", kind="service", texts=("Containers",), screen=PHONE),
    Stop(
        picture="handler",
        template=HANDLER,
        kind="handler",
        texts=("Deliveries", "Refused", "Skipped", "Queued", "What is set", "Show the URL", "Rotate", "Revoke"),
    ),
    Stop(
        picture="delivery-phone",
        template=f"{HANDLER}delivery/{{delivery_number}}/",
        kind="delivery",
        texts=("Skipped", "branch 'dev' is not 'main'", "Redeliver"),
        screen=PHONE,
        is_dark=True,
    ),
    Stop(picture="audit", template="/audit/", texts=("Who", "What", "Credentials", "handler", "nightly")),
)


@pytest.fixture(scope="module")
def visitor(filled: FilledServer) -> Visitor:
    """An admin who has done things that the audit log tells."""
    with filled.server.accounts() as store:
        accounts.add_user(store, ADMIN, is_admin=True)
    admin = add_limited_key(filled.server, ADMIN)
    handlers = f"/api/v1/service/{filled.found['service'][2]['uuid']}/webhook/handler/"
    made = admin.send("POST", handlers, {"name": "nightly", "rate_limit": "1/day"})
    assert admin.send("PATCH", made.json["resource_uri"], {"enabled": False}).status < 300
    assert admin.send("DELETE", made.json["resource_uri"]).status < 300
    return signed_in(filled.server, ADMIN, admin.key)


def test_the_tour_leads_through_pages_that_show_what_it_says(
    request: pytest.FixtureRequest, filled: FilledServer, visitor: Visitor
) -> None:
    for stop in STOPS:
        page = visitor.get(_address(filled, stop))
        assert page.status == 200
        (main,) = page.find("main")
        assert [text for text in stop.texts if text not in main.text] == [], stop.picture
    if os.environ.get("TUTUMD_WRITE_SCREENSHOTS"):
        _draw(request.getfixturevalue("browser"), filled, visitor)


def test_the_page_has_all_pictures_and_each_says_what_it_shows() -> None:
    named: dict[str, str] = {}
    for path in [*(ROOT / "docs").rglob("*.md"), ROOT / "README.md"]:
        for alternative, image, raw in _IMAGE.findall(path.read_text(encoding="utf-8")):
            assert raw or len(alternative) > 30, f"{path}: say what {image} shows"
            named[image or raw] = alternative
    files = {path.name: path.stat().st_size for path in IMAGES.iterdir()}
    assert files.keys() == named.keys() == {f"{stop.picture}.png" for stop in STOPS}
    assert max(files.values()) <= MAX_BYTES
    assert sum(files.values()) <= MAX_BYTES_OF_ALL


def _address(filled: FilledServer, stop: Stop) -> str:
    if stop.kind == "failed":
        actions = filled.server.objects("/api/v1/action/")
        return next(f"/action/{each['uuid']}/" for each in actions if each["state"] == "Failed")
    return filled.address(stop.kind, 0, stop.template) if stop.kind else stop.template


def _draw(browser: Browser, filled: FilledServer, visitor: Visitor) -> None:
    for stop in STOPS:
        page = browser.open(filled.server.url, stop.screen, is_dark=stop.is_dark)
        page.context.add_cookies(
            [{"name": name, "value": value, "url": filled.server.url} for name, value in visitor.cookies.items()]
        )
        page.goto(_address(filled, stop))
        page.wait_for_load_state()
        page.screenshot(path=IMAGES / f"{stop.picture}.png")
