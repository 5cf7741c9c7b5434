"""Connecting a sender by the dashboard, from the choice of a service to the first call and what became of it."""

import shlex
import subprocess
import uuid
from collections.abc import Mapping

import pytest

from tests.acceptance.accounts import add_limited_key, add_member
from tests.acceptance.console import Console
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


def test_a_ping_connects_and_what_is_wrong_says_what_to_mend(
    live_server: LiveServer, visitor: Visitor, service: str
) -> None:
    made, url, secret = make(visitor, service, "github", patterns="main")
    waiting = made.follow("Watch the first call arrive")
    assert send_payload(live_server, url, "github-ping", "github", secret).status == 200
    pinged = wait_for(waiting, "GitHub's ping arrived: connected")
    assert checks(pinged) == ["Passed", "Passed", "Passed"]
    assert send_payload(live_server, url, "github-push", "github", "another").status == 401
    refused = wait_for(waiting, "A call arrived with a wrong secret", "in its field Secret")
    assert checks(refused) == ["Passed", "Failed", "Skipped"]
    assert send_payload(live_server, url, "github-push", "", "").status == 401
    wait_for(waiting, "A call arrived without the secret", "X-Hub-Signature-256 is missing")
    pushed = send_payload(live_server, url, "github-push", "github", secret, replaced=("heads/main", "heads/dev"))
    assert pushed.status == 200
    skipped = wait_for(waiting, "this call did not count", "branch 'dev' is not 'main'")
    assert "Only pushes to the branch main." in skipped.text
    assert checks(skipped) == ["Passed", "Passed", "Failed", "Skipped"]
    again = skipped.follow("Wait for another call")
    assert set(checks(again)) == {"Waiting"}


def test_a_handler_that_takes_no_calls_says_so(live_server: LiveServer, visitor: Visitor, service: str) -> None:
    made, url, _ = make(visitor, service, "curl")
    waiting = made.follow("Watch the first call arrive")
    resource = url.removeprefix(live_server.url).removesuffix("call/")
    assert live_server.request("PATCH", resource, {"enabled": False}).status == 200
    closed = visitor.get(waiting.path)
    assert "Nobody can call" in closed.find("h1")[0].text and "Waiting for the first call" not in closed.text
    assert closed.follow("Show the handler").submit("Enable").status == 200
    assert "Waiting for the first call" in visitor.get(waiting.path).text
    assert live_server.request("PATCH", resource, {"enabled": False}).status == 200
    assert live_server.post(url.removeprefix(live_server.url)).status == 404
    refused = wait_for(waiting, "A call was refused with 404", "Enable the handler on its page.")
    assert "Calls get a 404 until it is enabled." in refused.text


def test_a_form_that_is_sent_again_makes_one_handler_and_shows_the_secret_once(
    live_server: LiveServer, visitor: Visitor, service: str
) -> None:
    form = choose(visitor, service, "github").form("Create the URL", name="reloaded")
    first, second = (visitor.post(form.address, dict(form.fields)) for _ in range(2))
    assert read_url(first) == read_url(second) != ""
    assert read_secret(first)
    assert read_secret(second) == ""
    assert "The secret was shown when it was made." in second.text
    other = visitor.post(form.address, dict(form.fields) | {"patterns": "dev", "name": "not reloaded"})
    assert read_url(other) not in ("", read_url(first))
    named = live_server.objects(f"{PREFIX}{service}/webhook/handler/")
    assert [each["name"] for each in named].count("reloaded") == 1


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


def test_the_page_works_without_scripts_and_scripts_get_its_changes_alone(visitor: Visitor, service: str) -> None:
    made, _, _ = make(visitor, service, "github")
    waiting = made.follow("Watch the first call arrive")
    [refresh] = [each for each in waiting.find("meta") if each.attributes.get("http-equiv") == "refresh"]
    assert refresh.ancestor("noscript") is not None
    part = visitor.get_part(waiting.path)
    assert "Waiting for the first call from GitHub" in part.text
    assert not part.find("nav")

    def has_not_changed() -> bool:
        # What earlier tests began goes on, and a stamp may be some seconds old.
        tag = visitor.get_part(waiting.path).headers["etag"]
        return visitor.send("GET", waiting.path, HX_Request="true", If_None_Match=tag).status == 304

    wait_until(has_not_changed, "what has not changed is not sent")


def test_a_wrong_choice_is_explained_and_nothing_is_made(
    live_server: LiveServer, visitor: Visitor, service: str
) -> None:
    before = live_server.objects(f"{PREFIX}{service}/webhook/handler/")
    for sender, fields in (
        ("github", {"patterns": ""}),
        ("github", {"patterns": "x" * 300}),
        ("github", {"name": "x" * 300}),
        ("alertmanager", {"max_containers": "many"}),
    ):
        page = send(choose(visitor, service, sender), fields)
        assert page.status == 400, fields
        name, value = next(iter(fields.items()))
        [kept] = page.find("input", name=name)
        assert kept.attributes["value"] == value
        [error] = page.find("p", id=kept.attributes["aria-describedby"].split()[-1])
        assert kept.attributes["aria-invalid"] == "true" and error.text, fields
    assert visitor.post(f"/service/{service}/connect/", form_of(visitor, service) | {"sender": "nobody"}).status == 404
    assert live_server.objects(f"{PREFIX}{service}/webhook/handler/") == before


def form_of(visitor: Visitor, service: str) -> dict[str, str]:
    return dict(choose(visitor, service, "github").form("Create the URL").fields)


def test_a_service_is_found_by_its_name(live_server: LiveServer, visitor: Visitor, service: str) -> None:
    name = live_server.service(service)["name"]
    found = visitor.get("/connect/").submit("Search", q=name)
    [link] = [each for each in found.find("a") if each.attributes["href"] == f"/service/{service}/connect/"]
    assert name in link.text
    assert "GitHub" in visitor.get(link.attributes["href"]).text
    none = found.submit("Search", q="<b>no such service</b>")
    assert "No service matches." in none.text
    assert "<b>no such" not in none.html


def test_the_command_beside_the_button_makes_the_same_handler(
    live_server: LiveServer, visitor: Visitor, service: str, console: Console
) -> None:
    name = live_server.service(service)["name"]
    for sender in ("github", "harbor", "alertmanager", "dockerhub", "curl"):
        page = choose(visitor, service, sender)
        [command] = [each.text for each in page.find("code") if each.text.startswith("tutum webhook-handler create")]
        words = shlex.split(command)[1:] + (["--secret-file", "-"] if "--verify" in command else [])
        console(*words, stdin="a-secret-of-the-test\n")
        by_command = console.shown(name, sender)
        console.hook("rm", name, sender)
        page.submit("Create the URL")
        by_page = console.shown(name, sender)
        console.hook("rm", name, sender)
        same = by_command.keys() - {"uuid", "url", "call_url", "resource_uri", "created_datetime"}
        assert {field: by_page[field] for field in same} == {field: by_command[field] for field in same}


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
