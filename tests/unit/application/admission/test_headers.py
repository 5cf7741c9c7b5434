"""Headers: what is stored of them, and which name a delivery."""

import pytest

from tests.unit.application.admission.calls import payload
from tutumd.application.admission.bodies import to_variable, truncate
from tutumd.application.admission.headers import delivery_key, redact_headers
from tutumd.web.messages.reasons import write_reason


@pytest.mark.parametrize(
    ("name", "key"),
    [
        ("github-push", "x-github-delivery:72d3162e-cc78-11e3-81ab-4c9367dc0958"),
        ("gitlab-push", "idempotency-key:f5e5f430-f57b-4e6e-9fac-d9128cd7232f"),
        ("gitea-push", "x-github-delivery:f6266f16-1bf3-46a5-9ea4-602e06ead473"),
        ("dockerhub", None),
        ("bitbucket-push", None),
        ("alertmanager-firing", None),
    ],
)
def test_the_key_of_a_recorded_delivery(name: str, key: str | None) -> None:
    assert delivery_key(payload(name).headers) == key


@pytest.mark.parametrize(
    "header",
    ["Idempotency-Key", "webhook-id", "X-GitHub-Delivery", "X-Gitea-Delivery", "X-Forgejo-Delivery", "X-Gogs-Delivery"],
)
def test_headers_that_name_a_delivery(header: str) -> None:
    assert delivery_key([("Accept", "*/*"), (header.upper(), " abc ")]) == f"{header.lower()}:abc"


def test_an_idempotency_key_comes_before_the_senders_own() -> None:
    assert delivery_key([("X-GitHub-Delivery", "1"), ("Idempotency-Key", "2")]) == "idempotency-key:2"


def test_an_id_that_can_be_signed_comes_before_all_others() -> None:
    headers = [("X-GitHub-Delivery", "1"), ("Idempotency-Key", "2"), ("webhook-id", "3")]
    assert delivery_key(headers) == "webhook-id:3"


@pytest.mark.parametrize(
    "headers",
    [
        [],
        [("Idempotency-Key", "")],
        [("Idempotency-Key", " ")],
        [("Idempotency-Key", "a"), ("Idempotency-Key", "b")],
        [("X-Gitlab-Event-UUID", "a"), ("X-Gitlab-Webhook-UUID", "b")],
    ],
)
def test_a_call_that_names_no_delivery(headers: list[tuple[str, str]]) -> None:
    assert delivery_key(headers) is None


@pytest.mark.parametrize("value", ["x" * 60_000, "ä", "a\tb", "\0", "\udcff"])
def test_an_unusual_key_is_bounded_and_stays_distinct(value: str) -> None:
    key = delivery_key([("Idempotency-Key", value)])
    other = delivery_key([("Idempotency-Key", value + "1")])
    assert key is not None
    assert other is not None
    assert key != other
    assert key == delivery_key([("idempotency-key", value)])
    for text in (key, other):
        assert len(text) <= 200
        assert text.isascii()
        assert text.isprintable()


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


@pytest.mark.parametrize("path", ["webhook/handler", "trigger"])
def test_the_url_of_the_call_is_not_stored(path: str) -> None:
    url = f"/api/v1/service/S/{path}/0224815A-c156-44e4-92d7-997c69354438/call/"
    kept = dict(
        redact_headers(
            [("X-Forwarded-Uri", url), ("Referer", f"https://h.example.com{url}?x=1"), ("X-Twice", f"{url}, {url}")]
        )
    )
    assert "997c69354438" not in str(kept)
    assert kept["x-forwarded-uri"] == f"/api/v1/service/S/{path}/…/call/"


@pytest.mark.parametrize("slash", ["//", "%2F", "%2f", "%252F"])
@pytest.mark.parametrize(
    "uuid", ["0224815A-c156-44e4-92d7-997c69354438", "0224815A%2Dc156%2D44e4%2d92d7%2D997c69354438"]
)
def test_the_url_of_the_call_is_not_stored_however_it_is_spelled(slash: str, uuid: str) -> None:
    path = f"webhook/handler/{uuid}/call/".replace("/", slash)
    for value in (path, f"https://h.example.com/login#next={path}"):
        kept = dict(redact_headers([("Referer", value)]))
        assert "997c69354438" not in kept["referer"]
        assert "0224815" not in kept["referer"]
        assert kept["referer"].endswith(f"…{slash}call{slash}")


def test_a_password_in_another_url_is_not_stored() -> None:
    kept = dict(
        redact_headers([("Referer", "https://ann:pa55@h.example.com/x?t=s3cr3t#y"), ("Accept", "text/*;q=0.5, */*")])
    )
    assert kept == {"referer": "https://…@h.example.com/x?…", "accept": "text/*;q=0.5, */*"}


def test_at_most_8_kib_of_headers_are_stored() -> None:
    kept = redact_headers([(f"x-{number}", "ä" * 500) for number in range(100)])
    assert 7 * 1024 < sum(len(name) + len(value.encode()) for name, value in kept) <= 8 * 1024
    assert redact_headers([("x", "y" * 9000)]) == ()


def test_the_body_of_a_variable() -> None:
    assert to_variable(b"") == ("", None)
    assert to_variable("{\"a\": 'ä$`\n'}".encode()) == ("{\"a\": 'ä$`\n'}", None)
    assert to_variable(b"x" * 32_768) == ("x" * 32_768, None)


@pytest.mark.parametrize(
    ("body", "note"),
    [(b"x" * 32_769, "32769 bytes"), ("ä".encode() * 16_385, "bytes"), (b"\xff", "UTF-8"), (b"a\0b", "NUL")],
)
def test_a_body_that_no_variable_can_hold_is_explained(body: bytes, note: str) -> None:
    text, why = to_variable(body)
    assert text is None
    assert why is not None and note in write_reason(why)


@pytest.mark.parametrize("width", ["x", "ä", "€", "🐳"])
@pytest.mark.parametrize("before", ["", "a", "ab", "abc"])
def test_a_stored_body_is_cut_between_characters(width: str, before: str) -> None:
    kept = truncate((before + width * 20_000).encode())
    assert kept.is_cut
    assert not kept.is_base64
    assert set(kept.text) <= set(before + width)
    assert 16 * 1024 - 4 < len(kept.text.encode()) <= 16 * 1024


def test_a_stored_body_that_is_no_text_is_in_base64() -> None:
    assert truncate(b"\xff\xfe") == truncate(b"\xff\xfe")
    assert (truncate(b"\xff\xfe").text, truncate(b"\xff\xfe").is_base64) == ("//4=", True)
    assert truncate(b"a\0").is_base64
    assert (truncate(b"{}").text, truncate(b"{}").is_base64, truncate(b"{}").is_cut) == ("{}", False, False)
    cut = truncate("ä".encode()[:1])
    assert cut.is_base64
    assert not cut.is_cut
