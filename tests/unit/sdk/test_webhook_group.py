"""Groups: creating, changing and calling them."""

from datetime import UTC, datetime

import pytest

import tutum
from tests.unit.sdk.fake_api import DB, GROUP, ROTATED, WEB, FakeApi


def test_a_group_is_created_planned_changed_rotated_and_revoked(api: FakeApi) -> None:
    group = tutum.WebhookGroup.create(services=[WEB, DB], expires_datetime=datetime(2030, 1, 1, tzinfo=UTC))
    assert group.plan()["services"] == [WEB, DB]
    assert group.save()
    assert api.body() == {"services": [WEB, DB], "expires_datetime": "2030-01-01T00:00:00+00:00"}
    assert group.call_url == f"http://tutum.test/api/v1/webhook/group/{group.uuid}/call/"
    assert not group.is_dirty
    group.sequence = "listed"
    assert group.plan() == {"sequence": "listed"}
    group.save()
    assert api.body() == {"sequence": "listed"}
    group.rotate(60)
    assert (group.uuid, api.body()) == (ROTATED, {"grace": 60})
    assert ROTATED not in repr(group)
    assert group.delete()
    assert [each.uuid for each in tutum.WebhookGroup.list()] == [GROUP]


def test_the_engine_is_sent_with_its_stack(api: FakeApi) -> None:
    group = tutum.WebhookGroup.fetch(GROUP)
    group.engine = "swarm"
    group.save()
    assert api.body() == {"engine": "swarm", "stack": "shop"}


def test_a_call_needs_no_credentials_and_is_followed_by_its_status_url(api: FakeApi) -> None:
    lines = [{"service": f"/api/v1/service/{WEB}/", "state": "Pending"}]
    api.progress = [
        {"actions": lines, "group_call": "/api/v1/webhook/groupcall/3/", "status_url": "/api/v1/status/t0ken/"},
        {"actions": [], "state": "In progress"},
        {"actions": [], "state": "Success", "status_url": "/api/v1/status/t0ken/"},
    ]
    called = tutum.WebhookGroup.fetch(GROUP).call(tag="v2", body={"a": 1}, headers={"Idempotency-Key": "k"})
    assert (called.state, called.finished, called.actions) == ("Pending", False, tuple(lines))
    assert (dict(api.requests[-1].url.params), api.body()) == ({"tag": "v2"}, {"a": 1})
    assert "t0ken" not in repr(called)
    polled = called.poll()
    ended = polled.poll(5)
    assert (polled.finished, polled.group_call) == (False, called.group_call)
    assert (ended.finished, ended.succeeded) == (True, True)
    assert api.requests[-1].url.params["wait"] == "5"
    assert all("authorization" not in request.headers for request in api.requests[-3:])
    with pytest.raises(tutum.TutumApiError, match="no status URL"):
        tutum.GroupProgress(client=api.client()).poll()


def test_an_error_shows_only_the_start_of_the_uuid(api: FakeApi) -> None:
    with pytest.raises(tutum.ObjectNotFound) as refused:
        tutum.WebhookGroup.fetch(ROTATED)
    assert ROTATED not in f"{refused.value} {refused.value.__dict__}"
