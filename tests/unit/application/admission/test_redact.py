"""Redaction: no secret of the handler is stored, wherever it occurs, and the content says what is missing."""

from typing import Any

import pytest

from tests.unit.application.admission.calls import NOW
from tutumd.application.admission.options import parse_options
from tutumd.application.admission.redact import redact_call

SECRET = "s3cr3t-pässword"


def redacted(
    headers: list[tuple[str, str]], query: list[tuple[str, str]], body: bytes = b"{}", **verify: object
) -> dict[str, Any]:
    options = parse_options({"verify": {"secrets": [SECRET], **verify}} if verify else {}, NOW)
    return redact_call(headers, query, body, options.verify)


@pytest.mark.parametrize(
    "verify",
    [
        {"preset": "token", "header": "X-My-Hook"},
        {"preset": "token"},
        {"preset": "hmac", "header": "X-My-Hook"},
        {"preset": "github"},
    ],
)
def test_a_secret_of_the_handler_is_not_stored_wherever_it_comes(verify: dict[str, object]) -> None:
    as_header = SECRET.encode().decode("latin-1")
    headers = [
        ("X-My-Hook", as_header),
        ("X-Other", f"Hook {as_header}"),
        ("Referer", f"/x/{as_header}"),
        ("X-Event", "push"),
    ]
    query = [("t", SECRET), ("me", f"ann:{SECRET}"), ("tag", "v1"), ("token", "x"), (SECRET, "")]
    content = redacted(headers, query, f'{{"secret": "{SECRET}"}}'.encode(), **verify)
    assert content["headers"] == (("x-event", "push"),)
    assert content["query"] == "tag=v1"
    assert content["body"] == '{"secret": "…"}'
    assert "s3cr3t" not in str(content)
    for part in (
        "header x-other",
        "query parameter t",
        "query parameter token",
        "a query parameter",
        "secrets in the body",
    ):
        assert part in content["left_out"]


def test_a_short_secret_is_known_only_as_a_whole() -> None:
    options = parse_options({"verify": {"preset": "github", "secrets": ["main"]}}, NOW)
    content = redact_call([("X-A", "main"), ("X-B", "maintain")], [("ref", "main")], b"main", options.verify)
    assert (content["headers"], content["query"], content["body"]) == ((("x-b", "maintain"),), "", "main")


def test_the_header_that_verify_reads_is_not_stored_whatever_it_holds() -> None:
    content = redacted(
        [("X-Let-Me-In", "a guess"), ("X-Event-Key", "repo:push")], [], preset="token", header="x-let-me-IN"
    )
    assert content == {"headers": (("x-event-key", "repo:push"),), "body": "{}"}


def test_a_left_out_name_is_printable() -> None:
    assert redacted([], [("token\0\n\x1b[2J", "x")])["left_out"] == ["query parameter token???[2J"]


def test_headers_beyond_the_limit_are_named_as_left_out() -> None:
    assert redacted([("X-Long", "x" * 9000)], [])["left_out"] == ["headers beyond 8 KiB"]


def test_nothing_is_named_if_all_is_stored() -> None:
    content = redacted([("Authorization", "Bearer x"), ("X-Event", "push")], [])
    assert content == {"headers": (("x-event", "push"),), "body": "{}"}


class CountedText(str):
    """A text that counts how often it is compared."""

    comparisons = 0
    __hash__ = str.__hash__

    def __eq__(self, other: object) -> bool:
        CountedText.comparisons += 1
        return str.__eq__(self, other)


def test_a_query_is_redacted_in_one_pass_however_many_parameters_it_has() -> None:
    query: list[tuple[str, str]] = [(CountedText(number), CountedText()) for number in range(4000)]
    content = redact_call([], [*query, ("token", "x")], b"", None)
    assert content["query"].count("&") == 3999
    assert content["left_out"] == ["query parameter token"]
    assert CountedText.comparisons < 10 * len(query)
