"""Handlers in words, and the commands to call one."""

from typing import Any

import pytest

from tests.unit.application.made_handlers import make_handler
from tutumd.application.admission.fields import FIELDS
from tutumd.web.messages.handlers import describe
from tutumd.web.messages.sender_guide import write_call

URL = "https://hooks.example/api/v1/service/s/webhook/handler/h/call/"


SET: dict[str, tuple[Any, str]] = {
    "enabled": (False, "accepts no calls."),
    "expires_datetime": ("2030-01-31T12:00:00Z", "Accepts calls until 2030-01-31 12:00:00 UTC. Later calls get a 404."),
    "max_uses": (1000, "Accepts 1,000 calls in total. Later calls get a 404."),
    "max_containers": (1, "Scales the service to at most 1 container."),
    "verify": ({"preset": "github", "secrets": ["a", "b"]}, "token of GitHub (2 secrets set)."),
    "filter": (["body.x", {"preset": "branch", "branch": ["a", "b"]}], "Only pushes to the branch a or b count."),
    "tag": ({"allow": ["v*"]}, "A call may choose the image tag with ?tag=…, if the tag is v*."),
    "pass_body": (True, "the variable TUTUM_TRIGGER_BODY."),
    "rate_limit": ("1/minute", "Accepts at most 1 call a minute. Further calls get a 429."),
    "allow_from": (["::1"], "Accepts calls only from ::1/128. Other callers get a 404."),
    "debounce": (30, "An action starts when no call has arrived for 30 seconds."),
    "skip_unchanged": (False, "A redeploy replaces the containers also if the image has not changed."),
    "rollback_hold": (False, "Redeploys may start again after the rollback."),
    "show_log": (True, "Callers see the last lines of the log if their action fails."),
}


def test_each_field_has_words() -> None:
    assert SET.keys() == FIELDS.keys()


@pytest.mark.parametrize("name", SET)
def test_what_is_set_is_said_below_its_heading(name: str) -> None:
    value, sentence = SET[name]
    operation = FIELDS[name].operation or "REDEPLOY"
    words = dict(describe(make_handler({"operation": operation, name: value})))
    assert any(line.endswith(sentence) for line in words[FIELDS[name].group]), words
    plain = dict(describe(make_handler({"operation": operation})))
    assert not any(line.endswith(sentence) for lines in plain.values() for line in lines)


def test_calls_that_are_used_follow_their_limit() -> None:
    limits = dict(describe(make_handler({"operation": "REDEPLOY", "max_uses": 9, "rate_limit": "1/minute"})))["Limits"]
    assert [line.partition(" call")[0] for line in limits] == ["Accepts 9", "Has accepted 0", "Accepts at most 1"]


@pytest.mark.parametrize(
    ("fields", "line"),
    [
        ({}, f"curl -sS --fail-with-body -X POST '{URL}?wait=300'"),
        ({"tag": {"allow": ["v*", "latest"]}}, f"curl -sS --fail-with-body -X POST '{URL}?tag=latest&wait=300'"),
        (
            {"verify": {"preset": "token", "secrets": ["x"]}},
            f"curl -sS --fail-with-body -X POST -H 'Authorization: Bearer '\"$SECRET\" '{URL}?wait=300'",
        ),
        ({"operation": "SCALEUP"}, f"# Three containers instead of one: the same with '{URL}3/?wait=300'"),
    ],
)
def test_a_command_calls_a_handler(fields: dict[str, Any], line: str) -> None:
    assert line in write_call(make_handler(fields), URL).splitlines()
