"""The routes of holds, and what a held redeploy shows, on a store without a worker."""

from datetime import timedelta
from typing import Any

import pytest

from tests.acceptance.accounts import add_limited_key, add_member
from tests.acceptance.raw_http import check_refusal
from tests.support.api import APIKEY, USER, Answer
from tests.support.dashboard_bed import DashboardBed
from tests.support.history import look, redeploy
from tutumd.application import accounts
from tutumd.model import Scope

SERVICE = "/api/v1/service/web/"


@pytest.fixture
def api(dashboard: DashboardBed) -> DashboardBed:
    """A server whose service `web` ran the image a, and runs b."""
    accounts.add_user(dashboard.bed.store, USER, is_admin=True, key=APIKEY)
    dashboard.bed.sync(look("a"))
    redeploy(dashboard.bed, "b")
    return dashboard


def post(api: DashboardBed, end: str, body: object = None) -> Answer:
    return api.request("POST", f"{SERVICE}{end}", body)


def action_of(api: DashboardBed, answer: Answer) -> dict[str, Any]:
    """Return the action that an answer names."""
    return dict(api.request("GET", answer.headers["x-tutum-action-uri"]).json)


def hold_of(shown: dict[str, Any]) -> list[object]:
    return [shown[name] for name in ("is_held", "held_until", "hold_reason", "held_by")]


def test_a_hold_ends_at_a_date_after_a_span_or_when_it_is_removed(api: DashboardBed) -> None:
    now = api.bed.clock()
    for until, ends in (
        ("4h", now + timedelta(hours=4)),
        ((now + timedelta(days=2)).isoformat(), now + timedelta(days=2)),
        (None, None),
    ):
        answer = post(api, "hold/", {"until": until, "reason": " incident 42 "})
        assert answer.status == 200
        assert hold_of(answer.json) == [True, ends and f"{ends:%Y-%m-%dT%H:%M:%SZ}", "incident 42", USER]
        assert api.request("GET", "/api/v1/service/?name=web").json["objects"] == [answer.json]
    for _ in range(2):
        resumed = api.request("DELETE", f"{SERVICE}hold/")
        assert (resumed.status, hold_of(resumed.json)) == (200, [False, None, None, None])
    assert hold_of(post(api, "hold/").json) == [True, None, "", USER]


def test_a_hold_that_is_over_is_not_shown(api: DashboardBed) -> None:
    post(api, "hold/", {"until": "10m"})
    api.bed.clock.move(601)
    assert hold_of(api.request("GET", SERVICE).json) == [False, None, None, None]


def test_a_bad_hold_changes_nothing(api: DashboardBed) -> None:
    past = (api.bed.clock() - timedelta(hours=1)).isoformat()
    for until in ("4", "4x", "0h", "yesterday", past, "9999-01-01", "9" * 40):
        check_refusal(post(api, "hold/", {"until": until}), 400)
    bodies: list[object] = [{"until": 4}, {"reason": None}, {"reason": "a\0b"}, {"reason": "x" * 1001}, {"for": "4h"}]
    for body in [*bodies, []]:
        check_refusal(post(api, "hold/", body), 400)
    assert not api.request("GET", SERVICE).json["is_held"]


@pytest.mark.parametrize(("body", "shown"), [({"reason": "it leaks"}, "it leaks"), ({"hold": False}, None)])
def test_a_rollback_holds_the_service_unless_told_otherwise(
    api: DashboardBed, body: dict[str, object], shown: str | None
) -> None:
    answer = post(api, "rollback/", body)
    assert (answer.status, answer.json["hold_reason"], answer.json["is_held"]) == (202, shown, shown is not None)


def test_a_held_redeploy_says_so_and_only_an_override_passes(api: DashboardBed) -> None:
    post(api, "hold/", {"until": "4h", "reason": "incident 42"})
    held = action_of(api, post(api, "redeploy/"))
    ends = f"{api.bed.clock() + timedelta(hours=4):%Y-%m-%dT%H:%M:%SZ}"
    assert held["holds"] == [{"kind": "hold", "until": ends, "reason": "held: incident 42", "by": USER}]
    assert (held["held_until"], held["state"]) == (ends, "Pending")
    assert f"held: incident 42 (by {USER}, until " in held["reason"]
    for query in ("override=0", ""):
        assert action_of(api, post(api, f"redeploy/?{query}"))["uuid"] == held["uuid"]
        assert api.bed.claim() is None
    check_refusal(post(api, "redeploy/?override=yes"), 400)
    passed = action_of(api, post(api, "redeploy/?override=1"))
    assert [passed[name] for name in ("uuid", "holds", "held_until", "reason")] == [held["uuid"], [], None, ""]
    assert api.bed.claimed().action.uuid == held["uuid"]
    assert api.bed.claim() is None


def test_a_call_that_waits_during_a_hold_gets_the_reasons(api: DashboardBed) -> None:
    post(api, "hold/", {"reason": "incident 42"})
    handler = api.make_handler(api.bed.service_uuid("web"))
    late = api.request("POST", f"{handler['url']}?wait=1", {}, authorization=None)
    assert (late.status, late.json["state"], late.json["held_until"]) == (504, "Pending", None)
    shown = api.request("GET", late.json["status_url"], authorization=None).json
    for answer in (late.json, shown):
        assert [(hold["kind"], hold["until"], hold["reason"]) for hold in answer["holds"]] == [
            ("hold", None, "held: incident 42")
        ]
        assert "held: incident 42" in answer["reason"]
    api.request("DELETE", f"{SERVICE}hold/")
    assert api.request("GET", late.json["status_url"], authorization=None).json["holds"] == []
    assert api.bed.claim() is not None
    assert api.bed.claim() is None


def test_holds_and_overrides_need_the_scope_and_the_service(api: DashboardBed) -> None:
    keys = {scope: add_limited_key(api, USER, scope=scope) for scope in Scope}
    stranger = add_member(api, "mallory")
    path = f"/api/v1/service/{api.bed.service_uuid('web')}"
    routes = (("POST", f"{path}/hold/"), ("DELETE", f"{path}/hold/"), ("POST", f"{path}/redeploy/?override=1"))
    for method, route in routes:
        for key, status in ((keys[Scope.READ], 403), (keys[Scope.CALL], 403), (stranger, 404)):
            check_refusal(key.send(method, route, {} if method == "POST" else None), status)
    assert not api.request("GET", SERVICE).json["is_held"]
    assert not api.bed.has_pending_action()
    assert [keys[Scope.OPERATE].send(*route).status for route in routes] == [200, 200, 202]
