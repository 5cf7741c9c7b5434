"""Handlers that are picky: setting their fields, rotating, testing, waiting for a call, deliveries, the unused."""

import json
import logging
from datetime import UTC, datetime

import httpx2
import pytest

import tutum
from tests.unit.sdk.fake_api import ACTION, DEPLOY, GROW, ROTATED, WEB, FakeApi

HANDLERS = f"/service/{WEB}/webhook/handler/"
STATUS = "/api/v1/status/AAAAsecretsecretsecretAAAA/"
VIEW = {
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


def test_fields_are_sent_with_each_name(webhook: tutum.WebhookHandler, api: FakeApi) -> None:
    webhook.add(["a", "b"], "SCALEUP", max_containers=3, allow_from=["10.0.0.0/8"])
    first, second = webhook.save()
    assert (first["max_containers"], second["max_containers"]) == (3, 3)
    fields = {"operation": "SCALEUP", "max_containers": 3, "allow_from": ["10.0.0.0/8"]}
    assert api.body() == [{"name": "a", **fields}, {"name": "b", **fields}]


def test_the_server_decides_about_fields(webhook: tutum.WebhookHandler, api: FakeApi) -> None:
    webhook.add("a", colour="blue")
    api.script([httpx2.Response(400, json={"error": "unknown field 'colour'"})])
    with pytest.raises(tutum.TutumApiError, match="unknown field 'colour'"):
        webhook.save()


def test_update_sends_what_is_named_and_null_for_none(webhook: tutum.WebhookHandler, api: FakeApi) -> None:
    changed = webhook.update(DEPLOY, enabled=False, filter=None, name="later")
    assert api.sent()[-1] == f"PATCH {HANDLERS}{DEPLOY}/"
    assert api.body() == {"enabled": False, "filter": None, "name": "later"}
    assert (changed.name, changed["enabled"]) == ("later", False)


def test_a_date_is_sent_in_utc(webhook: tutum.WebhookHandler, api: FakeApi) -> None:
    moment = datetime(2099, 1, 1, 12, tzinfo=UTC)
    webhook.update(DEPLOY, expires_datetime=moment)
    assert api.body() == {"expires_datetime": "2099-01-01T12:00:00+00:00"}
    webhook.update(DEPLOY, expires_datetime=moment.astimezone().replace(tzinfo=None))
    assert api.body() == {"expires_datetime": "2099-01-01T12:00:00+00:00"}


def test_rotate_answers_with_the_new_uuid(webhook: tutum.WebhookHandler, api: FakeApi) -> None:
    rotated = webhook.rotate(DEPLOY)
    assert api.requests[-1].content == b""
    assert rotated.uuid == ROTATED
    assert rotated.rotation == {"old_until": "Mon, 13 Oct 2099 11:01:43 +0000"}
    webhook.rotate(ROTATED, grace=0)
    assert api.body() == {"grace": 0}


def test_read_only_fields_are_attributes() -> None:
    date = "Mon, 13 Oct 2014 11:01:43 +0000"
    shown = tutum.Handler(
        created_datetime=date, last_called_datetime=None, calls=3, rotation=None, service=f"/api/v1/service/{WEB}/"
    )
    assert (shown.created_datetime, shown.last_called_datetime, shown.calls, shown.rotation) == (date, None, 3, None)
    assert shown.service_uuid == WEB
    older = tutum.Handler(FakeApi.handler(DEPLOY, "deploy", "REDEPLOY"))
    assert (older.created_datetime, older.calls, older.rotation, older.service_uuid) == (None, 0, None, WEB)


@pytest.mark.parametrize(
    ("body", "sent"), [('{"a": "ä"}', '{"a": "ä"}'), (b"a=\xc3\xa4", "a=ä"), ({"a": [1]}, {"a": [1]})]
)
def test_test_sends_a_call_and_tells_its_steps(
    webhook: tutum.WebhookHandler, api: FakeApi, body: object, sent: object
) -> None:
    steps = [{"check": "filter", "passes": False, "why": "the branch is 'dev'"}]
    answer = {"verdict": "skipped", "status": 200, "reason": "the branch is 'dev'", "tag": None, "variable": None}
    api.script([httpx2.Response(200, json={**answer, "notes": ["n"], "steps": steps})])
    trial = webhook.test(DEPLOY, {"X-GitHub-Event": "push"}, {"tag": "v1"}, body, "192.0.2.1")
    assert api.sent()[-1] == f"POST {HANDLERS}{DEPLOY}/test/"
    assert api.body() == {
        "headers": {"X-GitHub-Event": "push"},
        "query": {"tag": "v1"},
        "body": sent,
        "address": "192.0.2.1",
    }
    assert not trial.goes
    assert (trial.status, trial.reason, trial.notes) == (200, "the branch is 'dev'", ("n",))
    assert [(step.check, step.passes) for step in trial.steps] == [("filter", False)]


def test_test_sends_only_what_is_given(webhook: tutum.WebhookHandler, api: FakeApi) -> None:
    api.script([httpx2.Response(200, json={"verdict": "go", "status": 202, "steps": []})])
    assert webhook.test(DEPLOY).goes
    assert api.body() == {}


def test_a_body_that_is_no_text_cannot_be_tested(webhook: tutum.WebhookHandler, api: FakeApi) -> None:
    sent = len(api.requests)
    with pytest.raises(tutum.TutumApiError, match="UTF-8"):
        webhook.test(DEPLOY, body=b"\xff")
    assert len(api.requests) == sent


def test_a_plain_call_is_sent_as_it_always_was(webhook: tutum.WebhookHandler, api: FakeApi) -> None:
    called = webhook.call(DEPLOY)
    request = api.requests[-1]
    assert (request.url.raw_path, request.content) == (f"/api/v1{HANDLERS}{DEPLOY}/call/".encode(), b"")
    assert request.headers["Content-Type"] == "application/json"
    assert request.extensions["timeout"]["read"] == 30
    assert called.outcome is None


def test_a_call_brings_along_what_it_is_given(webhook: tutum.WebhookHandler, api: FakeApi) -> None:
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
def test_a_call_that_waits_tells_how_it_ended(
    webhook: tutum.WebhookHandler, api: FakeApi, status: int, state: str, finished: bool, succeeded: bool
) -> None:
    action = {"X-Tutum-Action-URI": f"/api/v1/action/{ACTION}/"}
    api.script([httpx2.Response(status, json={**VIEW, "state": state, "reason": "so"}, headers=action)])
    called = webhook.call(DEPLOY, wait=300)
    assert called.outcome is not None
    assert (called.outcome.state, called.outcome.reason) == (state, "so")
    assert (called.outcome.finished, called.outcome.succeeded) == (finished, succeeded)
    assert called.action_uuid == ACTION
    assert api.requests[-1].extensions["timeout"]["read"] == 330
    assert "secretsecret" not in repr(called)


def test_a_gateways_error_is_no_outcome(webhook: tutum.WebhookHandler, api: FakeApi) -> None:
    for answer in (httpx2.Response(502, html="<html>"), httpx2.Response(504, json={"error": "slow"})):
        api.script([answer])
        with pytest.raises(tutum.TutumApiError) as raised:
            webhook.call(DEPLOY, wait=300)
        assert raised.value.status == answer.status_code


def test_whoever_called_can_ask_how_it_goes(
    webhook: tutum.WebhookHandler, api: FakeApi, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    api.script([httpx2.Response(202, json={"uuid": DEPLOY, "status_url": STATUS}), httpx2.Response(200, json=VIEW)])
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


@pytest.mark.parametrize("path", ["", "https://evil.test/x", None])
def test_a_status_url_elsewhere_is_not_asked(webhook: tutum.WebhookHandler, api: FakeApi, path: str | None) -> None:
    api.script([httpx2.Response(202, json={"status_url": path})])
    called = webhook.call(DEPLOY)
    sent = len(api.requests)
    with pytest.raises(tutum.TutumApiError, match="no status URL"):
        called.poll()
    assert len(api.requests) == sent


def test_only_the_path_of_a_status_url_counts(webhook: tutum.WebhookHandler, api: FakeApi) -> None:
    api.script([httpx2.Response(202, json={"status_url": f"//evil.test{STATUS}"}), httpx2.Response(200, json=VIEW)])
    webhook.call(DEPLOY).poll()
    assert api.requests[-1].url.host == "tutum.test"


def test_the_state_of_a_service_is_no_outcome(api: FakeApi) -> None:
    assert tutum.Service.fetch(WEB).redeploy().outcome is None


def test_a_delivery_is_fetched_and_delivered_again(webhook: tutum.WebhookHandler, api: FakeApi) -> None:
    api.deliveries = [{"id": 7, "headers": [["A", "b"]], "body": "x"}]
    assert webhook.delivery(DEPLOY, 7)["headers"] == [["A", "b"]]
    with pytest.raises(tutum.ObjectNotFound):
        webhook.delivery(DEPLOY, 8)
    assert webhook.redeliver(DEPLOY, 7).action_uuid == ACTION
    assert api.sent()[-1] == f"POST {HANDLERS}{DEPLOY}/delivery/7/redeliver/"
    assert "Authorization" in api.requests[-1].headers


def test_unused_handlers_come_from_all_services(api: FakeApi) -> None:
    found = tutum.WebhookHandler.unused(30)
    assert [(one.uuid, one.service_uuid) for one in found] == [(DEPLOY, WEB), (GROW, WEB)]
    assert api.unused_days == ["30"]
