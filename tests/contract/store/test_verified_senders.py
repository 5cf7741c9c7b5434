"""Handlers that verify their sender: a captured delivery runs once, and wrong calls hold up no authentic one."""

import base64
import hashlib
import hmac
from collections.abc import Mapping

import pytest

from tests.support.replica import Replica, make
from tests.support.stores import StoreBed, query
from tutumd.application.refused_calls import MAX_REFUSED

SECRET = base64.b64encode(b"s" * 32).decode()
STANDARD = {"preset": "standard-webhooks", "secrets": [f"whsec_{SECRET}"]}
GITLAB = {"preset": "gitlab", "secrets": [f"whsec_{SECRET}", "a token"]}
GITHUB = {"preset": "github", "secrets": ["a secret"]}
BODY = b'{"ref": "refs/heads/main"}'


def signed(bed: StoreBed, message_id: str = "m1") -> dict[str, str]:
    """Return the headers of Standard Webhooks."""
    timestamp = str(int(bed.clock().timestamp()))
    content = f"{message_id}.{timestamp}.".encode() + BODY
    signature = base64.b64encode(hmac.digest(base64.b64decode(SECRET), content, hashlib.sha256)).decode()
    return {"webhook-id": message_id, "webhook-timestamp": timestamp, "webhook-signature": f"v1,{signature}"}


def signed_body() -> dict[str, str]:
    """Return the header of GitHub, which signs the body alone."""
    return {"x-hub-signature-256": f"sha256={hmac.digest(b'a secret', BODY, hashlib.sha256).hex()}"}


def runs(bed: StoreBed, replica: Replica, handler: str, headers: Mapping[str, str]) -> tuple[str, int]:
    """Call a handler, and return the outcome of the delivery and the number of actions so far, each of which ended."""
    assert replica.request("POST", f"{handler}call/", BODY, headers)[0] == 202
    if (claim := bed.claim()) is not None:
        bed.finish(claim)
    newest = replica.request("GET", f"{handler}delivery/")[1]["objects"][0]
    return str(newest["outcome"]), bed.store.actions(bed.admin, query()).total


@pytest.mark.parametrize("verify", [STANDARD, GITLAB], ids=["standard-webhooks", "gitlab"])
def test_a_captured_delivery_runs_once_whatever_is_added_to_it(
    bed: StoreBed, replica: Replica, verify: Mapping[str, object]
) -> None:
    handler = make(bed, replica, verify=verify)
    captured = signed(bed)
    outcomes = []
    for number in range(3):
        added = {"idempotency-key": f"x{number}", "x-github-delivery": f"y{number}"}
        outcomes.append(runs(bed, replica, handler, {**added, **captured}))
    outcomes.append(runs(bed, replica, handler, captured))
    assert outcomes == [("queued", 1), *[("repeated", 1)] * 3]
    # The sender itself repeats a delivery with the same ID and another time.
    bed.clock.move(240)
    assert runs(bed, replica, handler, signed(bed)) == ("repeated", 1)
    assert runs(bed, replica, handler, {"idempotency-key": "x0"} | signed(bed, "m2")) == ("queued", 2)


def test_a_captured_use_is_not_another_use(bed: StoreBed, replica: Replica) -> None:
    handler = make(bed, replica, verify=STANDARD, max_uses=1)
    assert runs(bed, replica, handler, {"idempotency-key": "x0"} | signed(bed)) == ("queued", 1)
    assert runs(bed, replica, handler, {"idempotency-key": "x1"} | signed(bed)) == ("repeated", 1)
    assert replica.request("POST", f"{handler}call/", BODY, signed(bed, "m2"))[0] == 404


def test_two_events_with_the_same_body_both_run(bed: StoreBed, replica: Replica) -> None:
    """A signature of the body alone is the same for both, so it does not show a repetition."""
    handler = make(bed, replica, verify=GITHUB)
    outcomes = [runs(bed, replica, handler, {"x-github-delivery": key} | signed_body()) for key in ("1", "2", "2")]
    assert outcomes == [("queued", 1), ("queued", 2), ("repeated", 2)]


def test_wrong_calls_hold_up_no_authentic_one(bed: StoreBed, replica: Replica) -> None:
    handler = make(bed, replica, verify=GITHUB, rate_limit="2/minute")
    wrong = {"x-hub-signature-256": f"sha256={'0' * 64}"}
    for _ in range(MAX_REFUSED // 2):
        assert replica.request("POST", f"{handler}call/", BODY, wrong)[0] == 401
    assert [replica.request("POST", f"{handler}call/", BODY, signed_body())[0] for _ in range(3)] == [202, 202, 429]


def test_whoever_guesses_has_to_wait_and_learns_nothing(bed: StoreBed, replica: Replica) -> None:
    handler, other_handler = (make(bed, replica, verify=GITHUB) for _ in range(2))
    wrong = {"x-hub-signature-256": f"sha256={'0' * 64}"}
    stranger, sender = "192.0.2.1", "192.0.2.2"
    statuses = [replica.request("POST", f"{handler}call/", BODY, wrong, stranger)[0] for _ in range(MAX_REFUSED + 5)]
    assert statuses == [401] * MAX_REFUSED + [429] * 5
    assert replica.request("POST", f"{handler}call/", BODY, signed_body(), stranger)[0] == 429
    assert replica.request("POST", f"{other_handler}call/", BODY, signed_body(), stranger)[0] == 202
    assert replica.request("POST", f"{handler}call/", BODY, signed_body(), sender)[0] == 202
    assert replica.request("POST", f"{handler}call/", BODY, wrong, sender)[0] == 401
