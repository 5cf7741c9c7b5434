"""The bytes of a webhook, verified by the library that receivers use."""

import json
from collections.abc import Callable

import pytest
from standardwebhooks import Webhook

from tests.contract.notifier.claims import LOOPBACK, claim
from tests.contract.notifier.receiver import Behave, Receiver, answers, receiver
from tutumd.model.notifications import SendResult
from tutumd.notifier.outbound import Outbound
from tutumd.notifier.senders import WebhookSender

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
PAYLOAD = {"type": "action.failed", "timestamp": "2026-01-01T00:00:00Z", "data": {"service": {"name": "wéb"}}}


def send(server: Receiver, *, public_url: str = "") -> SendResult:
    outbound = Outbound(LOOPBACK, user_agent="tutumd/0.1.0")
    settings = {"url": f"http://127.0.0.1:{server.port}/path?token=s3cr3t", "secret": SECRET}
    return WebhookSender(outbound, public_url=public_url).send(claim("webhook", settings, PAYLOAD))


def test_a_receiver_verifies_the_bytes_with_its_library() -> None:
    with receiver(answers(204)) as server:
        assert send(server, public_url="https://hooks.test/t") == SendResult(sent=True, status=204)
    head, _, body = server.requests[0].partition(b"\r\n\r\n")
    request, *lines = head.decode().split("\r\n")
    headers = dict(line.lower().split(": ", 1) if "signature" not in line else line.split(": ", 1) for line in lines)
    assert request == "POST /path?token=s3cr3t HTTP/1.1"
    assert headers.keys() == {
        *("host", "user-agent", "connection", "content-type", "content-length"),
        *("webhook-id", "webhook-timestamp", "webhook-signature"),
    }
    assert (headers["webhook-id"], headers["user-agent"]) == ("8f14e45f", "tutumd/0.1.0")
    links = {"service": "https://hooks.test/t/service/s-1/", "action": "https://hooks.test/t/action/a-1/"}
    assert Webhook(SECRET).verify(body, headers) == {**PAYLOAD, "data": {"service": {"name": "wéb"}, "links": links}}


def test_without_a_public_url_there_are_no_links() -> None:
    with receiver(answers(200)) as server:
        assert send(server).sent
    assert json.loads(server.requests[0].partition(b"\r\n\r\n")[2]) == PAYLOAD


@pytest.mark.parametrize(
    ("behave", "check"),
    [
        (answers(410), lambda result: result.is_gone and "410" in result.error),
        (
            answers(302, "Location: http://127.0.0.1/s3cr3t"),
            lambda result: "redirects are not followed" in result.error,
        ),
        (answers(500, body=b"s3cr3t"), lambda result: result.error == "the receiver answered 500"),
        (answers(429, "Retry-After: 31536000"), lambda result: result.retry_after_s == 31_536_000),
        (lambda *_: None, lambda result: result.status is None and "closed" in result.error),
    ],
)
def test_a_response_that_is_no_success(behave: Behave, check: Callable[[SendResult], bool]) -> None:
    with receiver(behave) as server:
        result = send(server)
    assert not result.sent
    assert check(result)
    assert "s3cr3t" not in result.error
