"""Every example of the specification runs unchanged against a server and does what the text says."""

import json
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest

from tests.spec.examples import Example, example, examples, specification
from tests.support.programs import Finished, finished
from tests.support.server import USER, Answer, LiveServer
from tutumd.application.digests import sha256_hex
from tutumd.model import NewKey
from tutumd.store.objects.accounts import SqlAccounts
from tutumd.store.sql.database import Database
from tutumd.store.sql.wakeup import Wakeup

LIST = "List all webhooks"
CREATE = "Create a new webhook handler"
GET = "Get an existing webhook handler"
DELETE = "Delete a webhook handler"
CALL = "Call a webhook handler"
SECTIONS = {
    "Service Webhooks handlers": ["json"],
    LIST: ["python", "http", "shell"],
    CREATE: ["python", "http", "shell"],
    GET: ["http"],
    DELETE: ["python", "http", "shell"],
    CALL: ["python", "http"],
}
STATUSES = {LIST: 200, CREATE: 201, GET: 200, DELETE: 204, CALL: 202}


class Subject:
    """The service and the handler that an example is run with."""

    def __init__(self, server: LiveServer, service: str) -> None:
        self.server = server
        self.service = service
        self.path = f"/api/v1/service/{service}/webhook/handler/"
        self.handler = server.add_handler(service, "docker_webhook")

    def handlers(self) -> list[dict[str, Any]]:
        return list(self.server.request("GET", self.path).json["objects"])

    def created(self) -> list[dict[str, Any]]:
        """Return the handlers that an example added."""
        return [each for each in self.handlers() if each["uuid"] != self.handler]

    def perform(self, section: str, language: str) -> Answer | None:
        """Send the HTTP example of a section, or run another one, which must succeed; return the answer to HTTP."""
        one = example(section, language)
        if language == "http":
            answer = self.send(one)
            assert answer.status == STATUSES[section]
            return answer
        done = self.run(one)
        # The server of the tests has no public URL, which the command line says.
        is_warned = (section, language) == (CREATE, "shell")
        assert (done.returncode, "--public-url" in done.stderr, bool(done.stderr)) == (0, is_warned, is_warned)
        if section == LIST:
            # The SDK's objects show the beginning of the UUID: the whole of it is a credential.
            assert self.handler[:8] in done.stdout and "docker_webhook" in done.stdout
        return None

    def run(self, one: Example) -> Finished:
        """Run a Python or shell example as a user would, and return the finished process."""
        text = one.about(self.service, self.handler)
        python = [sys.executable, "-W", "error", "-c", _INTERACTIVE, text]
        command = python if one.language == "python" else ["sh", "-euc", text]
        return finished(command, env=self.server.client_environment)

    def send(self, one: Example) -> Answer:
        """Send an HTTP example as it stands: line ends become CRLF, and a body gets its Content-Length."""
        head, _, body = one.about(self.service, self.handler).partition("\n\n")
        content = body.strip().encode()
        lines = head.strip().splitlines() + ([f"Content-Length: {len(content)}"] if content else [])
        return self.server.send("\r\n".join([*lines, "", ""]).encode() + content)


def add_key_of_the_text(server: LiveServer) -> None:
    """Store the key `apikey`, which is from before keys had to have 20 characters."""
    database = Database(f"sqlite:///{server.data / 'tutumd.db'}")
    try:
        store = SqlAccounts(database, lambda: datetime.now(UTC), Wakeup())
        store.add_key(USER, NewKey(key_sha256=sha256_hex("apikey"), hint="apikey"))
    finally:
        database.close()


# As an interactive Python does: statement by statement, printing the value of each expression.
_INTERACTIVE = """
import ast, sys
tree = ast.parse(sys.argv[1])
scope = {}
for statement in tree.body:
    exec(compile(ast.Interactive([statement]), "example", "single"), scope)
"""


@pytest.fixture(scope="session")
def service(live_server: LiveServer) -> str:
    add_key_of_the_text(live_server)
    return live_server.run_service("specification", containers=1)


@pytest.fixture
def subject(live_server: LiveServer, service: str) -> Iterator[Subject]:
    made = Subject(live_server, service)
    yield made
    for each in made.handlers():
        live_server.request("DELETE", each["resource_uri"])


def test_no_example_of_the_text_is_left_out() -> None:
    found: dict[str, list[str]] = {}
    for each in examples():
        found.setdefault(each.section, []).append(each.language)
    assert found == SECTIONS
    assert specification().count("```") == 2 * len(examples())


@pytest.mark.slow
def test_a_handler_looks_like_the_example(subject: Subject) -> None:
    shown = json.loads(example("Service Webhooks handlers", "json").text)
    (ours,) = subject.handlers()
    assert shown.keys() <= ours.keys()
    service, handler = shown["resource_uri"].split("/")[4], shown["resource_uri"].split("/")[7]
    expected = json.dumps(shown).replace(service, subject.service).replace(handler, subject.handler)
    assert {key: ours[key] for key in shown} == json.loads(expected)


ALL = pytest.mark.parametrize("language", ["python", "http", "shell"])


@ALL
def test_list_shows_the_handlers_of_the_service(subject: Subject, language: str) -> None:
    answer = subject.perform(LIST, language)
    assert answer is None or answer.json["objects"] == subject.handlers()


@ALL
def test_create_makes_a_handler_of_that_name(subject: Subject, language: str) -> None:
    answer = subject.perform(CREATE, language)
    (created,) = subject.created()
    assert answer is None or answer.json == created
    assert (created["name"], created["operation"]) == ("mywebhook_name", "REDEPLOY")


def test_get_answers_the_handler(subject: Subject) -> None:
    answer = subject.perform(GET, "http")
    assert answer is not None and [answer.json] == subject.handlers()


@ALL
def test_delete_revokes_the_handler(subject: Subject, language: str) -> None:
    subject.perform(DELETE, language)
    assert subject.handlers() == []
    called = subject.server.request("POST", f"{subject.path}{subject.handler}/call/", authorization=None)
    assert called.status == 404


@pytest.mark.slow
@pytest.mark.parametrize("language", ["python", "http"])
def test_call_redeploys_the_service(subject: Subject, language: str) -> None:
    before = subject.server.service(subject.service)["containers"]
    answer = subject.perform(CALL, language)
    uri = subject.server.request("GET", "/api/v1/action/?limit=1").json["objects"][0]["resource_uri"]
    assert answer is None or answer.headers["x-tutum-action-uri"] == uri
    assert subject.server.wait_for_action(uri)["state"] == "Success"
    after = subject.server.service(subject.service)["containers"]
    assert len(after) == len(before)
    assert not set(after) & set(before)


@pytest.mark.slow
def test_call_with_a_number_adds_so_many_containers(subject: Subject) -> None:
    sentence = next(line for line in specification().splitlines() if line.startswith("Executes the webhook."))
    path = sentence.split("`")[3]
    adding = subject.server.add_handler(subject.service, "more", "SCALEUP")
    before = subject.server.service(subject.service)["target_num_containers"]
    ours = path.replace(path.split("/")[4], subject.service).replace(path.split("/")[7], adding)
    answer = subject.server.request("POST", ours, authorization=None)
    assert answer.status == 202
    assert subject.server.wait_for_action(answer.headers["x-tutum-action-uri"])["state"] == "Success"
    subject.server.wait_for_service(
        subject.service, target_num_containers=before + 3, running_num_containers=before + 3
    )
