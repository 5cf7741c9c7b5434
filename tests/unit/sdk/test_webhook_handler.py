"""The handlers of a service."""

import pytest

import tutum
from tests.unit.sdk.fake_api import ACTION, DEPLOY, GROW, WEB, FakeApi, service

HANDLERS = f"/service/{WEB}/webhook/handler/"


@pytest.fixture
def webhook(api: FakeApi) -> tutum.WebhookHandler:
    return tutum.WebhookHandler.fetch(tutum.Service.fetch(WEB))


def test_save_returns_the_new_handler_with_its_url(webhook: tutum.WebhookHandler) -> None:
    webhook.add("deploy it", operation="SCALEUP")
    (created,) = webhook.save()
    assert (created.name, created.operation) == ("deploy it", "SCALEUP")
    assert created.url == created["url"] == f"/api/v1{HANDLERS}{created.uuid}/call/"


def test_several_added_handlers_are_sent_as_one_list(webhook: tutum.WebhookHandler, api: FakeApi) -> None:
    webhook.add("a")
    webhook.add(["b", "c"], operation="SCALEUP")
    assert [one.name for one in webhook.save()] == ["a", "b", "c"]
    assert api.body() == [
        {"name": "a"},
        {"name": "b", "operation": "SCALEUP"},
        {"name": "c", "operation": "SCALEUP"},
    ]


def test_a_handler_without_name_is_created_with_null(webhook: tutum.WebhookHandler, api: FakeApi) -> None:
    webhook.add()
    webhook.save()
    assert api.body() == {"name": None}


def test_save_without_added_handlers_sends_nothing(webhook: tutum.WebhookHandler, api: FakeApi) -> None:
    sent = len(api.requests)
    assert webhook.save() == []
    assert len(api.requests) == sent


def test_save_sends_each_handler_once(webhook: tutum.WebhookHandler, api: FakeApi) -> None:
    webhook.add("a")
    webhook.save()
    assert webhook.save() == []
    assert sum(line.startswith("POST") for line in api.sent()) == 1


def test_call_carries_the_action(webhook: tutum.WebhookHandler) -> None:
    called = webhook.call(DEPLOY)
    assert called
    assert called.action_uri == f"/api/v1/action/{ACTION}/"
    assert called.action.uuid == ACTION
    assert called.action.wait(10).succeeded


def test_call_sends_the_amount_in_the_path(webhook: tutum.WebhookHandler, api: FakeApi) -> None:
    webhook.call(GROW, 3)
    assert api.sent()[-1] == f"POST {HANDLERS}{GROW}/call/3/"


def test_call_sends_no_credentials(webhook: tutum.WebhookHandler, api: FakeApi) -> None:
    webhook.call(DEPLOY)
    assert "Authorization" not in api.requests[-1].headers
    assert "Authorization" in api.requests[0].headers


def test_list_filters_at_the_server(webhook: tutum.WebhookHandler) -> None:
    assert [one.uuid for one in webhook.list(name="grow")] == [GROW]


@pytest.mark.parametrize("identifier", ["", ".", ".."])
def test_delete_of_an_empty_uuid_is_refused_here(webhook: tutum.WebhookHandler, api: FakeApi, identifier: str) -> None:
    sent = len(api.requests)
    with pytest.raises(tutum.TutumApiError, match="identifier is empty"):
        webhook.delete(identifier)
    assert len(api.requests) == sent


def test_a_uuid_with_a_slash_stays_one_path_segment(webhook: tutum.WebhookHandler, api: FakeApi) -> None:
    with pytest.raises(tutum.ObjectNotFound):
        webhook.delete("../../x")
    assert api.requests[-1].url.raw_path.endswith(b"/webhook/handler/..%2F..%2Fx/")


def test_handlers_belong_to_a_saved_service(api: FakeApi) -> None:
    with pytest.raises(tutum.TutumApiError, match="save the service"):
        tutum.WebhookHandler.fetch(tutum.Service.create(name="web"))


def test_an_added_handler_is_kept_when_save_fails(webhook: tutum.WebhookHandler, api: FakeApi) -> None:
    webhook.add("a")
    api.services.clear()
    with pytest.raises(tutum.ObjectNotFound):
        webhook.save()
    api.services.append(service(WEB, "web"))
    assert [one.name for one in webhook.save()] == ["a"]
