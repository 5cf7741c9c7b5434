"""Headers that name a delivery."""

import pytest

from tests.unit.application.admission.calls import payload
from tutumd.application.admission.headers import delivery_key


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
    ["idempotency-key", "webhook-id", "x-github-delivery", "x-gitea-delivery", "x-forgejo-delivery", "x-gogs-delivery"],
)
def test_headers_that_name_a_delivery(header: str) -> None:
    assert delivery_key([("accept", "*/*"), (header, " abc ")]) == f"{header}:abc"


def test_an_id_that_can_be_signed_comes_first_and_then_an_idempotency_key() -> None:
    headers = [("x-github-delivery", "1"), ("idempotency-key", "2"), ("webhook-id", "3")]
    assert delivery_key(headers) == "webhook-id:3"
    assert delivery_key(headers[:2]) == "idempotency-key:2"


@pytest.mark.parametrize(
    "headers",
    [
        [],
        [("idempotency-key", "")],
        [("idempotency-key", " ")],
        [("idempotency-key", "a"), ("idempotency-key", "b")],
        [("x-gitlab-event-uuid", "a"), ("x-gitlab-webhook-uuid", "b")],
    ],
)
def test_a_call_that_names_no_delivery(headers: list[tuple[str, str]]) -> None:
    assert delivery_key(headers) is None


@pytest.mark.parametrize("value", ["x" * 60_000, "ä", "a\tb", "\0", "\udcff"])
def test_an_unusual_key_is_bounded_and_stays_distinct(value: str) -> None:
    key = delivery_key([("idempotency-key", value)])
    other = delivery_key([("idempotency-key", value + "1")])
    assert key is not None
    assert other is not None
    assert key != other
    for text in (key, other):
        assert len(text) <= 200
        assert text.isascii()
        assert text.isprintable()
