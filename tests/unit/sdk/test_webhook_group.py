"""Groups: creating, changing and calling them."""

from datetime import UTC, datetime

import pytest

import tutum
from tests.unit.sdk.fake_api import DB, GROUP, ROTATED, WEB, FakeApi


def test_a_group_is_created_planned_changed_rotated_and_revoked(api: FakeApi) -> None:
    groups = tutum.WebhookGroup()
    groups.add(services=[WEB, DB], expires_datetime=datetime(2030, 1, 1, tzinfo=UTC))
    assert groups.plan_save()[0]["services"] == [WEB, DB]
    [group] = groups.save()
    assert api.body() == {"name": None, "services": [WEB, DB], "expires_datetime": "2030-01-01T00:00:00+00:00"}
    assert group.call_url == f"http://tutum.test/api/v1/webhook/group/{group.uuid}/call/"
    assert group.service_uuid == ""
    assert groups.plan_update(group.uuid, sequence="listed") == {"sequence": "listed"}
    assert groups.update(group.uuid, sequence="listed").sequence == "listed"
    assert api.body() == {"sequence": "listed"}
    rotated = groups.rotate(group.uuid, 60)
    assert (rotated.uuid, api.body()) == (ROTATED, {"grace": 60})
    assert "group" in repr(rotated)
    assert ROTATED not in repr(rotated)
    assert groups.delete(ROTATED)
    assert [each.uuid for each in groups.list()] == [GROUP]


def test_a_call_needs_no_credentials_and_is_followed_by_its_status_url(api: FakeApi) -> None:
    lines = [{"service": f"/api/v1/service/{WEB}/", "state": "Pending"}]
    api.progress = [
        {"actions": lines, "group_call": "/api/v1/webhook/groupcall/3/", "status_url": "/api/v1/status/t0ken/"},
        {"actions": [], "state": "In progress"},
        {"actions": [], "state": "Success", "status_url": "/api/v1/status/t0ken/"},
    ]
    called = tutum.WebhookGroup().call(GROUP, tag="v2", body={"a": 1}, headers={"Idempotency-Key": "k"})
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
        tutum.WebhookGroup().delete(ROTATED)
    assert ROTATED not in f"{refused.value} {refused.value.__dict__}"
