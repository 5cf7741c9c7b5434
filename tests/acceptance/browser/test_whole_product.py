"""The whole product as people meet it, to a revoked URL: on Docker, and without scripts."""

import re
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from tests.acceptance.accounts import run_tutumd
from tests.acceptance.sender_calls import send_payload
from tests.support.browser import Browser
from tests.support.docker_bed import ANONYMOUS, DockerBed
from tests.support.server import USER, Answer, LiveServer

pytestmark = pytest.mark.timeout(900)
_LIMIT_MS = 180_000
_PAYLOAD = "ghcr-registry-package"


@pytest.fixture
def new_server(clean_bed: DockerBed, tmp_path: Path) -> Iterator[LiveServer]:
    """An installation in which nothing has happened, on a Docker Engine without containers."""
    with LiveServer(tmp_path, "--engine", "docker", environment=clean_bed.environment) as server:
        yield server


@pytest.mark.slow
def test_from_a_login_link_to_a_revoked_url_on_docker(
    browser: Browser, new_server: LiveServer, clean_bed: DockerBed
) -> None:
    bed, server = clean_bed, new_server
    page = browser.open(server.url)
    made = run_tutumd(server.data, "login-link", USER, "--port", str(server.port))
    page.goto(made.stdout.split()[-1])
    page.get_by_role("button", name="Sign in").click()
    expect(page.get_by_role("heading", name="Connect your first sender")).to_be_visible()
    first = bed.push("app", "v1")
    bed.docker("run", "-d", "--name", "web", f"{ANONYMOUS}/app")
    server.find("web", running_num_containers=1)

    url, secret = connect(page, "web")
    second = bed.push("app", "v2")
    page.evaluate("window.sameDocument = true")
    assert call(server, url, secret).status == 202
    expect(page.get_by_role("heading", name="is connected")).to_be_visible(timeout=_LIMIT_MS)
    page.get_by_role("link", name="The action, live").wait_for()
    assert page.evaluate("window.sameDocument"), "the checks turned green in the page that was open"
    page.get_by_role("link", name="The action, live").click()
    expect_state(page, "Success")
    diff = page.get_by_label("Image", exact=True)
    expect(diff.locator("del")).to_contain_text(first.partition(":")[2][:12])
    expect(diff.locator("ins")).to_contain_text(second.partition(":")[2][:12])
    page.get_by_label("Breadcrumb").get_by_role("link", name="web").click()
    expect(page.locator(f'code.digest[title="{second}"]').first).to_be_visible(timeout=_LIMIT_MS)
    container = bed.inspect("container", "web")["Id"]

    bed.push("app", "v3-broken")
    page.goto(action_path(call(server, url, secret)))
    expect_failure(page, "fatal: v3-broken cannot start")
    assert bed.inspect("container", "web")["Id"] == container
    assert bed.docker("exec", "web", "wget", "-qO-", "127.0.0.1:8080") == "v2"

    revoke(page)
    assert call(server, url, secret).status == 404


def connect(page: Page, service: str) -> tuple[str, str]:
    """Go from any page to the one that waits for the first call; return the URL and the secret that were shown."""
    page.get_by_label("Pages").get_by_role("link", name="Connect").click()
    page.get_by_label("Search services").fill(service)
    page.get_by_role("button", name="Search").click()
    page.locator(".choices").get_by_role("link", name=service).click()
    page.get_by_role("link", name="GHCR").click()
    page.get_by_label("Image tag").fill("latest")
    page.get_by_role("button", name="Create the URL").click()
    url, secret = (page.get_by_label(name, exact=True).input_value() for name in ("Payload URL", "Secret"))
    page.get_by_role("link", name="Watch the first call arrive").click()
    expect(page.get_by_role("heading", name="Waiting for the first call")).to_be_visible()
    return url, secret


def call(server: LiveServer, url: str, secret: str) -> Answer:
    """Send what GHCR sends for a pushed image, signed, each time as another delivery."""
    return send_payload(server, url, _PAYLOAD, "ghcr", secret, key=str(uuid.uuid4()))


def action_path(called: Answer) -> str:
    assert called.status == 202, called
    return str(called.json["action"]).removeprefix("/api/v1")


def expect_state(page: Page, state: str) -> None:
    expect(page.locator(".head .state")).to_have_text(state, timeout=_LIMIT_MS)


def expect_failure(page: Page, last_line: str) -> None:
    """Wait until the page of an action says that it failed: the reason first, then what the container wrote."""
    expect_state(page, "Failed")
    expect(page.get_by_label("Last output of the container")).to_contain_text(last_line)
    shown = page.locator("main").inner_text()
    assert shown.index("It failed:") < shown.index(last_line) < shown.index("Steps")
    assert re.search("exit code 3|exited with 3", shown[: shown.index(last_line)])


def revoke(page: Page) -> None:
    """Go from the page of an action to the handler that `connect` made, and revoke it."""
    page.get_by_label("Breadcrumb").get_by_role("link").nth(1).click()
    page.locator("#handlers").get_by_role("link", name="ghcr").click()
    page.locator("summary", has_text="Revoke").click()
    page.get_by_role("button", name="Revoke it").click()
    expect(page.get_by_text("Nobody can call this service yet")).to_be_visible()
