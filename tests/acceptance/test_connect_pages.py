"""Connecting a sender by the dashboard, from the choice of a service to the first call and what became of it."""

import os
import uuid
from collections.abc import Mapping

import pytest

from tests.acceptance.sender_calls import send_payload
from tests.support.pages import Page, Visitor
from tests.support.programs import finished
from tests.support.server import LiveServer
from tests.support.waiting import wait_until

PREFIX = "/api/v1/service/"
CALLS = [  # of senders with a form and a secret, without a secret, and with a file: what to choose, and what counts
    ("ghcr", {"patterns": "latest"}, "ghcr-registry-package"),
    ("quay", {"patterns": "v3"}, "quay"),
    ("alertmanager", {"max_containers": "2"}, "alertmanager-firing"),
]


@pytest.fixture(scope="session")
def service(live_server: LiveServer) -> str:
    return live_server.run_service(f"connected-{uuid.uuid4()}")


def choose(visitor: Visitor, service: str, sender: str) -> Page:
    page = visitor.get(f"/service/{service}/connect/?sender={sender}")
    assert page.status == 200, page.text
    return page


def send(page: Page, fields: Mapping[str, str]) -> Page:
    """Fill in the form of a sender and press its button."""
    form = page.form("Create the URL")
    sent = dict(form.fields)
    assert fields.keys() <= sent.keys(), f"the form has no fields {fields.keys() - sent.keys()}"
    return page.visitor.post(form.address, sent | dict(fields))


def make(visitor: Visitor, service: str, sender: str, **fields: str) -> tuple[Page, str, str]:
    """Create a handler for a sender, and return the page that says what to enter, the URL and the secret."""
    page = send(choose(visitor, service, sender), {"name": f"{sender}-{uuid.uuid4()}", **fields})
    assert page.status == 200, page.text
    return page, read_url(page), read_secret(page)


def read_url(page: Page) -> str:
    found = [value for value in (*page.copies.values(), *page.text.split()) if "/webhook/handler/" in value]
    return found[0].strip("'\"").partition("?")[0] if found else ""


def read_secret(page: Page) -> str:
    named = {"Secret", "Secret token", "Auth Header"} & page.copies.keys()
    if named:
        return page.copies[named.pop()]
    return page.text.partition("credentials: ")[2].partition('"')[2].partition('"')[0]


def wait_for(page: Page, *words: str) -> Page:
    """Load a page until it has some words, as somebody without scripts does."""

    def has_words() -> Page | None:
        again = page.visitor.get(page.path)
        return again if all(word in again.text for word in words) else None

    return wait_until(has_words, f"{page.path} says {words}: {page.text}")


def checks(page: Page) -> list[str]:
    """Return the states of the checks on a page."""
    [listed] = page.find("ul", **{"class": "checks"})
    return [each.text for each in listed.find("span", **{"class": "word"})]


@pytest.mark.parametrize(("sender", "fields", "payload"), CALLS)
def test_a_sender_is_connected_and_its_first_call_passes_every_check(
    live_server: LiveServer, visitor: Visitor, service: str, sender: str, fields: dict[str, str], payload: str
) -> None:
    made, url, secret = make(visitor, service, sender, **fields)
    assert url.startswith(f"{live_server.url}{PREFIX}{service}/webhook/handler/")
    assert bool(secret) == (sender != "quay")
    waiting = made.follow("Watch the first call arrive")
    assert set(checks(waiting)) == {"Waiting"}
    assert send_payload(live_server, url, payload, sender, secret, key=str(uuid.uuid4())).status == 202
    done = wait_for(waiting, "is connected", "The action, live")
    done = wait_until(lambda: (page := visitor.get(done.path)) and "Waiting" not in checks(page) and page, "it ends")
    assert set(checks(done)) == ({"Passed"} if secret else {"Passed", "Skipped"})


def test_the_command_for_a_pipeline_works_as_it_is(live_server: LiveServer, visitor: Visitor, service: str) -> None:
    made, url, _ = make(visitor, service, "curl")
    [command] = [each.text for each in made.find("code") if each.text.startswith("curl ")]
    run = finished(["sh", "-c", command], env={**os.environ, "TUTUM_URL": url})
    assert run.returncode == 0, run
    waiting = made.follow("Watch the first call arrive")
    assert checks(waiting) == ["Passed", "Skipped", "Passed", "Passed", "Passed"]


def test_the_url_is_shown_again_and_a_new_secret_replaces_the_old_one(
    live_server: LiveServer, visitor: Visitor, service: str
) -> None:
    made, url, secret = make(visitor, service, "harbor", patterns="v1.*")
    waiting = made.follow("Watch the first call arrive")
    again = waiting.submit("Show the URL again")
    assert (read_url(again), read_secret(again)) == (url, "")
    replaced = waiting.submit("Make a new secret")
    new_secret = read_secret(replaced)
    assert read_url(replaced) == url
    assert new_secret not in ("", secret)
    # A page that is loaded again sends its form again.
    assert read_secret(waiting.submit("Make a new secret")) == ""
    assert waiting.visitor.get(f"{waiting.path.partition('?')[0]}secret/").path == waiting.path.partition("?")[0]
    statuses = [send_payload(live_server, url, "harbor-push", "harbor", each).status for each in (secret, new_secret)]
    assert statuses == [401, 202]


def test_a_job_with_identity_tokens_gets_no_secret(live_server: LiveServer, visitor: Visitor, service: str) -> None:
    page = choose(visitor, service, "github-actions")
    assert send(page, {"project": ""}).status == 400
    made, url, secret = make(visitor, service, "github-actions", project="me/shop", branch="main")
    assert (secret, "oidc: true" in made.text) == ("", True)
    assert "The URL is not a secret" in made.text
    verify = live_server.request("GET", url.removeprefix(live_server.url).removesuffix("call/")).json["verify"]
    assert verify["claims"] == {"repository": ["me/shop"], "ref": ["refs/heads/main"]}
    assert verify["audience"] == live_server.url, "it has no public URL"
    waiting = made.follow("Watch the first call arrive")
    assert "The identity token is correct" in waiting.text
    assert "Make a new secret" not in waiting.text
    assert live_server.post(url.removeprefix(live_server.url)).status == 401
    wait_for(waiting, "A call arrived without the identity token")
