"""Connecting a sender by the dashboard, from the choice of a service to the first call and what became of it."""

import subprocess
import uuid
from collections.abc import Mapping

import pytest

from tests.acceptance.accounts import add_limited_key, add_member
from tests.acceptance.sender_calls import send_payload
from tests.support.pages import Page, Visitor
from tests.support.server import APIKEY, LIMIT_S, USER, LiveServer
from tests.support.waiting import wait_until
from tutumd.model import Scope

PREFIX = "/api/v1/service/"
CALLS = [  # of each sender, what to choose, and a payload that counts
    ("github", {"patterns": "main"}, "github-push"),
    ("gitlab", {"patterns": "main"}, "gitlab-push"),
    ("gitlab", {"patterns": "v*", "kind": "tag"}, "gitlab-tag"),
    ("gitea", {"patterns": "develop"}, "gitea-push"),
    ("bitbucket", {"patterns": "master"}, "bitbucket-push"),
    ("dockerhub", {"patterns": "latest"}, "dockerhub"),
    ("ghcr", {"patterns": "latest"}, "ghcr-registry-package"),
    ("harbor", {"patterns": "v1.*", "repository": "library/app"}, "harbor-push"),
    ("quay", {"patterns": "v3"}, "quay"),
    ("alertmanager", {"max_containers": "2"}, "alertmanager-firing"),
]


@pytest.fixture(scope="session")
def service(live_server: LiveServer) -> str:
    return live_server.run_service(f"connected-{uuid.uuid4()}")


@pytest.fixture
def visitor(live_server: LiveServer) -> Visitor:
    visitor = Visitor(live_server.url)
    visitor.sign_in(USER, APIKEY)
    return visitor


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


def shown_values(page: Page) -> dict[str, str]:
    """Return the values to copy, by the names of their fields."""
    return {
        each.attributes["aria-label"]: each.attributes["value"]
        for each in page.find("input")
        if "readonly" in each.attributes
    }


def read_url(page: Page) -> str:
    found = [value for value in (*shown_values(page).values(), *page.text.split()) if "/webhook/handler/" in value]
    return found[0].strip("'\"").partition("?")[0] if found else ""


def read_secret(page: Page) -> str:
    named = {"Secret", "Secret token", "Auth Header"} & shown_values(page).keys()
    if named:
        return shown_values(page)[named.pop()]
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
    assert bool(secret) == (sender not in ("dockerhub", "quay"))
    waiting = made.follow("Watch the first call arrive")
    assert set(checks(waiting)) == {"Waiting"}
    assert send_payload(live_server, url, payload, sender, secret, key=str(uuid.uuid4())).status == 202
    done = wait_for(waiting, "is connected", "The action, live")
    done = wait_until(lambda: (page := visitor.get(done.path)) and "Waiting" not in checks(page) and page, "it ends")
    assert set(checks(done)) == ({"Passed"} if secret else {"Passed", "Skipped"})


def test_the_command_for_a_pipeline_works_as_it_is(live_server: LiveServer, visitor: Visitor, service: str) -> None:
    made, _, _ = make(visitor, service, "curl")
    [command] = [each.text for each in made.find("code") if each.text.startswith("curl ")]
    run = subprocess.run(["sh", "-c", command], capture_output=True, text=True, timeout=LIMIT_S, check=False)
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


def test_the_url_is_in_the_response_to_a_form_and_nowhere_else(
    live_server: LiveServer, visitor: Visitor, service: str
) -> None:
    made, url, secret = make(visitor, service, "github")
    handler = url.split("/")[-3]
    assert (made.path, made.headers["cache-control"]) == (f"/service/{service}/connect/", "no-store")
    assert handler not in made.title
    assert not [each for each in made.root.walk() if handler in each.attributes.get("href", "")]
    assert not [each for each in made.root.walk() if handler in each.attributes.get("id", "")]
    waiting = made.follow("Watch the first call arrive")
    for page in (waiting, visitor.get(f"/service/{service}/connect/"), choose(visitor, service, "github")):
        assert handler not in page.html + page.path
        assert secret not in page.html + page.path
    assert handler not in live_server.log
    assert secret not in live_server.log


def test_another_user_sees_and_makes_nothing(live_server: LiveServer, visitor: Visitor, service: str) -> None:
    made, _, _ = make(visitor, service, "github")
    waiting = made.follow("Watch the first call arrive")
    member = add_member(live_server, f"m-{uuid.uuid4().hex[:8]}")
    stranger = Visitor(live_server.url)
    home = stranger.sign_in(member.name, member.key)
    assert service not in stranger.get("/connect/").html
    token = {"csrf": home.form("Sign out").csrf, "sender": "github", "patterns": "main"}
    for path in (waiting.path, f"/service/{service}/connect/"):
        assert stranger.get(path).status == 404
    for path in (
        waiting.path.partition("?")[0],
        waiting.path.partition("?")[0] + "secret/",
        f"/service/{service}/connect/",
    ):
        assert stranger.post(path, token).status == 404
    assert Visitor(live_server.url).get(waiting.path).path.startswith("/sign-in/")


def test_each_scope_may_what_it_is_for(live_server: LiveServer, visitor: Visitor, service: str) -> None:
    made, url, _ = make(visitor, service, "github")
    path = made.follow("Watch the first call arrive").path.partition("?")[0]
    allowed: dict[Scope, list[int]] = {}
    for scope in Scope:
        key = add_limited_key(live_server, USER, scope=scope)
        limited = Visitor(live_server.url)
        csrf = limited.sign_in(USER, key.key).form("Sign out").csrf
        assert limited.get(path).status == limited.get(f"/service/{service}/connect/?sender=curl").status == 200
        posts: tuple[tuple[str, dict[str, str]], ...] = (
            (path, {}),
            (f"{path}secret/", {}),
            (f"/service/{service}/connect/", {"sender": "curl", "name": f"by {scope.value}"}),
        )
        answers = [limited.post(to, {"csrf": csrf, **fields}) for to, fields in posts]
        allowed[scope] = [answer.status for answer in answers]
        assert (url in answers[0].html) == (scope is not Scope.READ)
    assert allowed == {
        Scope.READ: [403, 403, 403],
        Scope.CALL: [200, 403, 403],
        Scope.OPERATE: [200, 200, 200],
        Scope.ADMIN: [200, 200, 200],
    }


def test_hostile_names_and_user_agents_stay_text(live_server: LiveServer, visitor: Visitor, service: str) -> None:
    hostile = "\"><script>alert(1)</script>'{{7*7}}"
    made, url, _ = make(visitor, service, "curl", name=hostile)
    waiting = made.follow("Watch the first call arrive")
    assert live_server.post(url.removeprefix(live_server.url), User_Agent=hostile).status == 202
    arrived = wait_for(waiting, "A call arrived")
    for page in (made, waiting, arrived):
        assert "<script>alert" not in page.html
    assert hostile in arrived.text
    wrong = visitor.get(f"{waiting.path.partition('?')[0]}?sender={'%22%3E%3Cscript%3E'}&after=0")
    assert (wrong.status, "<script>" in wrong.html.partition("</head>")[2]) == (200, False)
    for query in ("after=-1", "after=x", f"after={10**40}"):
        assert visitor.get(f"{waiting.path.partition('?')[0]}?{query}").status in (400, 404)
    for number in ("0", "-1", "x", str(10**40), "999999"):
        assert visitor.get(f"/service/{service}/handler/{number}/connect/").status in (400, 404)
