"""Calling handlers: what is sent, and how the end of a call is reported."""

import json
import logging

import httpx2
import pytest

import tutum
from tests.unit.sdk.fake_api import ACTION, DEPLOY, GROW, WEB, FakeApi

HANDLERS = f"/service/{WEB}/webhook/handler/"
STATUS = "/api/v1/status/AAAAsecretsecretsecretAAAA/"
OUTCOME = {
    "state": "Success",
    "reason": None,
    "operation": "REDEPLOY",
    "containers_before": 1,
    "containers_after": 2,
    "rolled_back": False,
    "status_url": STATUS,
    "of a later version": 1,
}


@pytest.fixture
def webhook(api: FakeApi) -> tutum.WebhookHandler:
    return tutum.WebhookHandler.fetch(tutum.Service.fetch(WEB))


def test_call_carries_the_action(webhook: tutum.WebhookHandler, api: FakeApi) -> None:
    called = webhook.call(GROW, 3)
    assert api.sent()[-1] == f"POST {HANDLERS}{GROW}/call/3/"
    assert called
    assert called.action_uri == f"/api/v1/action/{ACTION}/"
    assert called.action.uuid == ACTION
    assert called.action.wait(10).succeeded


def test_a_plain_call_is_sent_as_in_2015(webhook: tutum.WebhookHandler, api: FakeApi) -> None:
    called = webhook.call(DEPLOY)
    request = api.requests[-1]
    assert (request.url.raw_path, request.content) == (f"/api/v1{HANDLERS}{DEPLOY}/call/".encode(), b"")
    assert request.headers["Content-Type"] == "application/json"
    assert "Authorization" not in request.headers
    assert request.extensions["timeout"]["read"] == 30
    assert called.outcome is None


def test_a_call_sends_its_tag_body_and_headers(webhook: tutum.WebhookHandler, api: FakeApi) -> None:
    webhook.call(DEPLOY, wait=5, tag="v2", body={"a": 1}, headers={"Idempotency-Key": "k"})
    request = api.requests[-1]
    assert dict(request.url.params) == {"wait": "5", "tag": "v2"}
    assert json.loads(request.content) == {"a": 1}
    assert request.headers["Idempotency-Key"] == "k"
    assert "Authorization" not in request.headers
    webhook.call(DEPLOY, body=b"\x00raw", headers={"Content-Type": "application/octet-stream"})
    assert api.requests[-1].content == b"\x00raw"
    assert api.requests[-1].headers["Content-Type"] == "application/octet-stream"


@pytest.mark.parametrize(
    ("status", "state", "finished", "succeeded"),
    [
        (200, "Success", True, True),
        (502, "Failed", True, False),
        (502, "Canceled", True, False),
        (504, "In progress", False, False),
        (200, "Skipped", True, False),
    ],
)
def test_a_call_that_waits_has_an_outcome(
    webhook: tutum.WebhookHandler, api: FakeApi, status: int, state: str, finished: bool, succeeded: bool
) -> None:
    action = {"X-Tutum-Action-URI": f"/api/v1/action/{ACTION}/"}
    api.script([httpx2.Response(status, json={**OUTCOME, "state": state, "reason": "so"}, headers=action)])
    called = webhook.call(DEPLOY, wait=300)
    assert called.outcome is not None
    assert (called.outcome.state, called.outcome.reason) == (state, "so")
    assert (called.outcome.finished, called.outcome.succeeded) == (finished, succeeded)
    assert called.action_uuid == ACTION
    assert api.requests[-1].extensions["timeout"]["read"] == 330
    assert "secretsecret" not in repr(called)


def test_an_error_of_a_gateway_is_not_an_outcome(webhook: tutum.WebhookHandler, api: FakeApi) -> None:
    for answer in (httpx2.Response(502, html="<html>"), httpx2.Response(504, json={"error": "slow"})):
        api.script([answer])
        with pytest.raises(tutum.TutumApiError) as raised:
            webhook.call(DEPLOY, wait=300)
        assert raised.value.status == answer.status_code


def test_a_call_is_polled_at_its_status_url_without_credentials(
    webhook: tutum.WebhookHandler, api: FakeApi, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    api.script([httpx2.Response(202, json={"uuid": DEPLOY, "status_url": STATUS}), httpx2.Response(200, json=OUTCOME)])
    called = webhook.call(DEPLOY)
    assert called.outcome is None
    assert called.poll(wait=60).succeeded
    request = api.requests[-1]
    assert (request.method, str(request.url)) == ("GET", f"http://tutum.test{STATUS}?wait=60")
    assert "Authorization" not in request.headers
    assert "secretsecret" not in caplog.text
    api.script([httpx2.Response(404, json={"error": "no such object"})])
    with pytest.raises(tutum.ObjectNotFound) as raised:
        called.poll()
    assert "secretsecret" not in str(raised.value)


def test_a_status_url_on_another_host_is_not_requested(webhook: tutum.WebhookHandler, api: FakeApi) -> None:
    for path in ("", "https://evil.test/x", None):
        api.script([httpx2.Response(202, json={"status_url": path})])
        called = webhook.call(DEPLOY)
        with pytest.raises(tutum.TutumApiError, match="no status URL"):
            called.poll()
    assert {line.partition(" ")[0] for line in api.sent()[1:]} == {"POST"}
    api.script([httpx2.Response(202, json={"status_url": f"//evil.test{STATUS}"}), httpx2.Response(200, json=OUTCOME)])
    webhook.call(DEPLOY).poll()
    assert api.requests[-1].url.host == "tutum.test"


def test_the_state_of_a_service_is_not_an_outcome(api: FakeApi) -> None:
    assert tutum.Service.fetch(WEB).redeploy().outcome is None
