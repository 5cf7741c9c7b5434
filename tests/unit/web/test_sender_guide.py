"""What to enter at a sender, in its own words, and whether it reaches the server."""

import shlex
from typing import Any

import pytest

from tests.unit.application.made_handlers import ISSUERS, connect, make_handler
from tutumd.model.figures import Level
from tutumd.web.messages.sender_guide import fill_entries, find_reach_problem, write_command, write_example
from tutumd.web.messages.senders import SENDERS
from tutumd.web.pages.connect_inputs import fill_form, propose

URL = "https://hooks.example.com/api/v1/service/S/webhook/handler/H/call/"
SECRET = "made-by-the-server"
FIRING = """'body.status == '"'"'firing'"'"''"""


def document_of(key: str, **sent: str) -> dict[str, Any]:
    issuer = next((url for url, kind in ISSUERS.items() if kind is SENDERS[key].issuer), "")
    return connect(key, {"patterns": "main", "project": "me/shop", "issuer": issuer, **sent}, SECRET)


def test_github_gets_its_fields() -> None:
    entries = fill_entries(SENDERS["github"], make_handler(document_of("github", verifies="1")), URL, SECRET)
    assert entries == [
        ("Payload URL", URL, True),
        ("Content type", "application/json", False),
        ("Secret", SECRET, True),
        ("Which events would you like to trigger this webhook?", "Just the push event.", False),
    ]


@pytest.mark.parametrize(
    ("key", "kind", "events"),
    [
        ("gitlab", "branch", "Push events, All branches"),
        ("gitlab", "tag", "Tag push events"),
        ("bitbucket", "tag", "Repository push"),
        ("ghcr", "", "Let me select individual events: untick Pushes, tick Registry packages (registry_package)."),
        ("harbor", "", "Artifact pushed"),
        ("quay", "", "Push to Repository"),
    ],
)
def test_a_sender_gets_the_events_of_what_counts(key: str, kind: str, events: str) -> None:
    entries = fill_entries(SENDERS[key], make_handler(document_of(key, kind=kind)), URL, "")
    assert events in [value for _, value, _ in entries]


@pytest.mark.parametrize("key", SENDERS)
def test_every_sender_gets_the_url_and_the_secret_and_nothing_is_blank(key: str) -> None:
    sender = SENDERS[key]
    document = document_of(key, verifies="1")
    handler = make_handler(document)
    entries = fill_entries(sender, handler, URL, SECRET)
    shown = "\n".join([write_example(sender, handler, URL, SECRET), *(value for _, value, _ in entries)])
    assert URL in shown
    assert (SECRET in shown) == ("secrets" in document.get("verify", {}))
    assert all(value for _, value, _ in entries)
    assert {value for _, value, is_copied in entries if is_copied} <= {URL, SECRET}


@pytest.mark.parametrize("key", [key for key, sender in SENDERS.items() if sender.paste])
def test_a_pipeline_has_the_url_as_a_secret_only(key: str) -> None:
    example = write_example(SENDERS[key], make_handler(document_of(key)), URL, "")
    assert "$TUTUM_URL?" in example and URL not in example


@pytest.mark.parametrize("key", [key for key, sender in SENDERS.items() if sender.issuer])
def test_a_job_with_an_identity_token_has_the_url_and_no_secret(key: str) -> None:
    handler = make_handler(document_of(key, verifies="1"))
    example = write_example(SENDERS[key], handler, URL, "")
    assert URL in example
    assert "secrets." not in example and "$TUTUM_URL" not in example


@pytest.mark.parametrize("key", [key for key, sender in SENDERS.items() if sender.verify and not sender.issuer])
def test_a_secret_that_is_not_known_any_more_is_named_and_one_that_is_not_asked_for_left_out(key: str) -> None:
    sender = SENDERS[key]
    for sent, named in (({"verifies": "1"}, True), ({}, False)):
        handler = make_handler(document_of(key, **sent))
        entries = fill_entries(sender, handler, URL, "")
        shown = "\n".join([write_example(sender, handler, URL, ""), *(value for _, value, _ in entries)])
        assert ("that was shown when the handler was created" in shown) == named
        assert [value for _, value, is_copied in entries if is_copied] == ([URL] if sender.entries else [])


def test_alertmanager_gets_its_configuration() -> None:
    alertmanager = SENDERS["alertmanager"]
    assert write_example(alertmanager, make_handler(document_of("alertmanager", verifies="1")), URL, SECRET) == (
        f"""\
# Beside the routes and receivers that you have.
route:
  routes:
    - matchers: ['alertname = "HighLoad"']   # the alert that should call
      receiver: tutumd
      continue: true
receivers:
  - name: tutumd
    webhook_configs:
      - url: "{URL}"
        send_resolved: false
        http_config:
          authorization:
            credentials: "{SECRET}\""""
    )
    assert "credentials" not in write_example(alertmanager, make_handler(document_of("alertmanager")), URL, "")


@pytest.mark.parametrize(
    ("key", "command"),
    [
        ("github", "github --verify github --branch main"),
        ("dockerhub", "dockerhub --on-tag v1"),
        ("harbor", "harbor --verify token --verify-with header=Authorization --on-tag v1"),
        ("alertmanager", f"alertmanager -o SCALEUP --max-containers 10 --verify token --filter {FIRING}"),
        ("curl", "curl"),
    ],
)
def test_the_command_does_the_same(key: str, command: str) -> None:
    written = write_command("web", fill_form(SENDERS[key], propose(SENDERS[key], "app:v1"), ""))
    assert written == f"tutum webhook-handler create web -n {command}"


def test_a_command_has_every_choice_and_quotes_it() -> None:
    sent = {"patterns": "v1, $(id)", "repository": "a/b", "deploys_tag": "1", "name": "it's"}
    assert shlex.split(write_command("a b", fill_form(SENDERS["ghcr"], sent, "")))[3:] == [
        "a b", "-n", "it's",
        "--filter", '{"preset": "tag", "tag": ["v1", "$(id)"], "repository": "a/b"}',
        "--tag", "v1", "--tag", "$(id)", "--tag-from", SENDERS["ghcr"].tag_source,
    ]  # fmt: skip
    identity = {"verifies": "1", "issuer": "https://git.example", "project": "me/shop", "branch": "main"}
    command = write_command("web", fill_form(SENDERS["github-actions"], identity, ""))
    assert command.endswith(
        "--verify oidc --issuer https://git.example --claim repository=me/shop --claim ref=refs/heads/main"
    )
    several = write_command("web", fill_form(SENDERS["github"], {"patterns": "main, dev", "skips_unchanged": "on"}, ""))
    assert several.endswith("--branch main --branch dev --skip-unchanged")


@pytest.mark.parametrize(
    ("url", "key", "level", "text"),
    [
        ("http://127.0.0.1:8000", "github", Level.WRONG, "is this machine. GitHub cannot reach it"),
        ("http://localhost", "harbor", Level.WRONG, "is this machine. Harbor cannot reach it"),
        ("https://[::1]:8000", "quay", Level.WRONG, "is this machine"),
        ("http://127.0.0.1:8000", "curl", Level.WARNING, "Only programs on this machine can call it"),
        ("https://10.0.0.7", "github", Level.WARNING, "is in a private network"),
        ("https://hooks", "dockerhub", Level.WARNING, "is in a private network"),
        ("https://hooks.home.arpa", "ghcr", Level.WARNING, "is in a private network"),
        ("http://hooks.example.com", "github", Level.WARNING, "has no TLS"),
        ("http://10.0.0.7", "alertmanager", Level.WARNING, "has no TLS"),
        ("https://10.0.0.7", "alertmanager", None, ""),
        ("https://hooks.example.com", "github", None, ""),
    ],
)
def test_a_url_that_a_sender_may_not_reach_is_told(url: str, key: str, level: Level | None, text: str) -> None:
    problem = find_reach_problem(f"{url}/api/v1/service/S/webhook/handler/H/call/", SENDERS[key])
    assert (problem and problem.level) == level
    if problem is not None:
        assert text in problem.text
        assert problem.mend
        assert "/handler/" not in problem.text, "the URL is a password"
