"""Trials of recorded deliveries: what was stored decides, and what was not is said."""

from datetime import timedelta
from typing import Any

import pytest

from tests.unit.application.made_deliveries import delivery_of
from tests.unit.application.made_handlers import CIPHER, NOW, make_handler
from tutumd.application.admission.evaluate import Trial, Verdict, VerdictKind
from tutumd.application.redelivery import parse_headers, parse_query_text, try_delivery
from tutumd.errors import InvalidInputError, Reason
from tutumd.web.messages.deliveries import write_reason

SIGNED = {"preset": "github", "secrets": ["s"]}
PUSH: dict[str, Any] = {
    "headers": [["content-type", "application/json"]],
    "body": '{"ref": "refs/heads/main"}',
    "query": "tag=v2",
}


def try_it(fields: dict[str, Any], content: dict[str, Any]) -> Trial:
    delivery = delivery_of("skipped", address="10.0.0.1", content=content)
    return try_delivery(make_handler(fields), delivery, NOW + timedelta(days=1), cipher=CIPHER)


@pytest.mark.parametrize(
    ("fields", "kind"),
    [
        ({"verify": SIGNED, "tag": {"allow": ["v*"]}, "filter": {"preset": "branch", "branch": "main"}}, "go"),
        ({"verify": SIGNED, "tag": {"allow": ["v*"]}, "filter": {"preset": "branch", "branch": "dev"}}, "skipped"),
        ({"verify": SIGNED, "tag": {"allow": ["v*"]}, "allow_from": ["192.0.2.0/24"]}, "not_found"),
        ({"tag": {"allow": ["v*"]}, "allow_from": ["10.0.0.0/8"]}, "go"),
        ({"tag": {"allow": ["v*"]}, "expires_datetime": "2026-01-01T12:00:00Z"}, "not_found"),
    ],
)
def test_a_recorded_delivery_is_judged_as_if_it_came_now_but_for_its_signature(
    fields: dict[str, Any], kind: str
) -> None:
    trial = try_it(fields, PUSH)
    assert trial.verdict.kind == kind
    assert "verify" not in [check.check for check in trial.checks]
    assert (Reason("trial-without-signature") in trial.notes) == ("verify" in fields)


def test_the_tag_and_the_body_of_an_admitted_delivery_are_told() -> None:
    verdict = try_it({"verify": SIGNED, "tag": {"allow": ["v*"]}, "pass_body": True}, PUSH).verdict
    assert verdict == Verdict(tag="v2", variable=("TUTUM_TRIGGER_BODY", PUSH["body"]))


def test_a_ping_is_skipped_although_its_signature_is_not_checked() -> None:
    content = {"headers": [["x-github-event", "ping"]], "body": "{}"}
    assert try_it({"verify": SIGNED}, content).verdict == Verdict(kind=VerdictKind.SKIPPED, reason=Reason("ping"))


@pytest.mark.parametrize(
    ("content", "note"),
    [
        ({}, "stored nothing of this delivery"),
        (PUSH | {"is_cut": True}, "only the first part of the body"),
        (
            PUSH | {"left_out": ["header x-a", "headers beyond 8 KiB"]},
            "these parts: header x-a, headers beyond 8 KiB.",
        ),
    ],
)
def test_what_was_not_stored_is_said(content: dict[str, Any], note: str) -> None:
    assert any(note in write_reason(each) for each in try_it({}, content).notes)
    assert try_it({}, PUSH).notes == ()


def test_headers_and_queries_are_read_from_text() -> None:
    assert parse_headers("A: b:c\r\n\r\n  X-Y :\n") == [("a", "b:c"), ("x-y", "")]
    assert parse_query_text(" ?tag=v2&a=%20&b ") == [("tag", "v2"), ("a", " "), ("b", "")]


@pytest.mark.parametrize("text", ["no colon", ": no name", "a: b\n" * 201])
def test_headers_that_are_none_are_refused(text: str) -> None:
    with pytest.raises(InvalidInputError, match="headers must be"):
        parse_headers(text)
