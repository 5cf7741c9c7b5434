"""Redaction: no secret of the handler is stored, wherever it occurs, and the content says what is missing."""

from typing import Any

import pytest

from tests.unit.application.admission.calls import NOW
from tutumd.application.admission.evaluate import parse_options
from tutumd.application.admission.redact import redact_call, redact_headers, truncate

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


SECRET_HEADERS = """
Authorization Proxy-Authorization Cookie X-Gitlab-Token X-Hub-Signature X-Hub-Signature-256 X-Gitea-Signature
webhook-signature X-Api-Key X-APIKEY X-Auth-Token X-My-Secret X-Amz-Security-Token X-CSRF Cf-Access-Jwt-Assertion
X-Access-Key X-Key X-Shared-Passphrase X-Forwarded-Access-Token X-Sig X-Shopify-Hmac-SHA256 X-My-Pass
"""


@pytest.mark.parametrize("name", SECRET_HEADERS.split())
def test_what_lets_somebody_in_is_not_stored(name: str) -> None:
    assert redact_headers([(name, "s3cret"), (name.lower(), "s3cret"), ("X-GitHub-Event", "push")]) == (
        ("x-github-event", "push"),
    )


@pytest.mark.parametrize("place", ["webhook/handler", "webhook/group", "trigger"])
@pytest.mark.parametrize("slash", ["/", "//", "%2F", "%2f", "%252F"])
@pytest.mark.parametrize(
    "uuid", ["0224815A-c156-44e4-92d7-997c69354438", "0224815A%2Dc156%2D44e4%2d92d7%2D997c69354438"]
)
def test_the_url_of_the_call_is_not_stored_however_it_is_spelled(place: str, slash: str, uuid: str) -> None:
    path = f"/api/v1/service/S/{place}/{uuid}/call/".replace("/", slash)
    for value in (
        path,
        f"https://h.example.com{path}?x=1",
        f"https://h.example.com/login#next={path}",
        f"{path}, {path}",
    ):
        (kept,) = dict(redact_headers([("Referer", value)])).values()
        assert "997c69354438" not in kept
        assert "0224815" not in kept
        assert f"…{slash}call{slash}" in kept


def test_a_password_in_another_url_is_not_stored() -> None:
    kept = dict(
        redact_headers([("Referer", "https://ann:pa55@h.example.com/x?t=s3cr3t#y"), ("Accept", "text/*;q=0.5, */*")])
    )
    assert kept == {"referer": "https://…@h.example.com/x?…", "accept": "text/*;q=0.5, */*"}


def test_at_most_8_kib_of_headers_are_stored() -> None:
    kept = redact_headers([(f"x-{number}", "ä" * 500) for number in range(100)])
    assert 7 * 1024 < sum(len(name) + len(value.encode()) for name, value in kept) <= 8 * 1024
    assert redact_headers([("x", "y" * 9000)]) == ()


@pytest.mark.parametrize("width", ["x", "ä", "€", "🐳"])
@pytest.mark.parametrize("before", ["", "a", "ab", "abc"])
def test_a_stored_body_is_cut_between_characters(width: str, before: str) -> None:
    kept = truncate((before + width * 20_000).encode())
    assert kept.keys() == {"body", "is_cut"}
    assert set(kept["body"]) <= set(before + width)
    assert 16 * 1024 - 4 < len(kept["body"].encode()) <= 16 * 1024


def test_a_stored_body_that_is_no_text_is_in_base64() -> None:
    assert truncate(b"{}") == {"body": "{}"}
    assert truncate(b"\xff\xfe") == {"body": "//4=", "is_base64": True}
    assert truncate(b"a\0")["is_base64"]
    assert truncate("ä".encode()[:1]).keys() == {"body", "is_base64"}
