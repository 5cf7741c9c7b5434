"""Freeze windows: by the API, SDK, command line and `tutum apply`; each user's own."""

import uuid
from typing import Any

import pytest

from tests.acceptance.accounts import Member, add_limited_key, add_member, give
from tests.acceptance.raw_http import check_refusal
from tests.support.server import LiveServer
from tutumd.model import Scope

WINDOWS = "/api/v1/freeze/"
WEEKEND = {"from": "Fri 16:00", "to": "Mon 06:00", "tz": "Europe/Berlin", "reason": "weekend"}


def create(member: Member, **fields: Any) -> dict[str, Any]:
    answer = member.send("POST", WINDOWS, {**WEEKEND, **fields})
    assert answer.status == 201, answer
    return dict(answer.json)


def listed(member: Member, query: str = "") -> list[str]:
    return [each["uuid"] for each in member.send("GET", f"{WINDOWS}{query}").json["objects"]]


def test_a_window_is_created_shown_and_removed(live_server: LiveServer, ann: Member) -> None:
    made = create(ann, service=ann.name)
    assert {name: made[name] for name in WEEKEND} == WEEKEND
    assert (made["service_name"], made["stack"], made["engine"], made["server"]) == (ann.name, None, None, False)
    assert made["owner"] == ann.name
    assert ann.send("GET", made["resource_uri"]).json == made
    assert create(ann, service=made["service"].split("/")[-2])["uuid"] == made["uuid"]
    assert listed(ann, f"?service={made['service']}") == [made["uuid"]]

    dates = create(ann, service=ann.name, **{"from": "2026-01-01", "to": "2090-12-24 18:00", "tz": "Asia/Kathmandu"})
    assert dates["active_until"] == "2090-12-24T12:15:00Z"
    assert ann.send("DELETE", made["resource_uri"]).status == 204
    check_refusal(ann.send("DELETE", made["resource_uri"]), 404)
    assert listed(ann) == [dates["uuid"]]
    log = ann.send("GET", "/api/v1/audit/").json["objects"]
    assert [(each["what"], each["details"]) for each in log[:3]] == [
        ("freeze window removed", "Fri 16:00 to Mon 06:00 (Europe/Berlin), weekend"),
        ("freeze window added", "2026-01-01 to 2090-12-24 18:00 (Asia/Kathmandu), weekend"),
        ("freeze window added", "Fri 16:00 to Mon 06:00 (Europe/Berlin), weekend"),
    ]


@pytest.mark.parametrize(
    ("changes", "status", "said"),
    [
        ({"from": "0 16 * * 5"}, 400, "from must be a day and a time such as 'Fri 16:00', or a date such as"),
        ({"to": "Fri 16:00"}, 400, "to must be after from"),
        ({"tz": "Berlin"}, 400, "tz must be a time zone such as 'Europe/Berlin', got 'Berlin'"),
        ({"service": None}, 400, "name one of service, stack and server"),
        ({"stack": "shop"}, 400, "name one of service, stack and server"),
        ({"engine": "docker"}, 400, "engine belongs to a stack"),
        ({"service": "nothing"}, 404, "has no service 'nothing'"),
        ({"service": None, "stack": "nothing"}, 404, "no service of the stack 'nothing'"),
        ({"service": None, "server": True}, 403, "only admins may do this"),
        ({"reason": "\ud800"}, 400, "reason"),
        ({"reasn": "x"}, 400, "unknown field 'reasn': did you mean reason?"),
        ({"from": None}, 400, "from"),
    ],
)
def test_bad_input_is_refused_with_the_way_out(ann: Member, changes: dict[str, Any], status: int, said: str) -> None:
    answer = ann.send("POST", WINDOWS, {**WEEKEND, "service": ann.name, **changes})
    assert said in check_refusal(answer, status)
    assert listed(ann) == []


def test_windows_of_others_are_seen_where_they_hold_and_not_removed(live_server: LiveServer, ann: Member) -> None:
    bob, admin = add_member(live_server, f"bob-{uuid.uuid4()}"), add_limited_key(live_server, "username")
    of_ann, of_admin = create(ann, service=ann.name), create(admin, service=ann.name)
    assert listed(bob) == []
    for window in (of_ann, of_admin):
        check_refusal(bob.send("DELETE", window["resource_uri"]), 404)
        check_refusal(bob.send("GET", window["resource_uri"]), 404)
    assert "of username: only" in check_refusal(ann.send("DELETE", of_admin["resource_uri"]), 403)
    assert admin.send("DELETE", of_ann["resource_uri"]).status == 204
    assert listed(ann) == [of_admin["uuid"]]


def test_a_key_for_one_service_makes_and_removes_windows_of_this_service_only(
    live_server: LiveServer, ann: Member
) -> None:
    other = live_server.create_service(f"other-{uuid.uuid4()}")
    give(live_server, other["uuid"], ann.name)
    own, foreign = create(ann, service=ann.name), create(ann, service=other["uuid"])
    service = own["service"].split("/")[-2]
    narrow = add_limited_key(live_server, ann.name, service_uuid=service, scope=Scope.OPERATE)
    assert listed(narrow) == [own["uuid"]]
    check_refusal(narrow.send("POST", WINDOWS, {**WEEKEND, "service": other["uuid"]}), 404)
    check_refusal(narrow.send("DELETE", foreign["resource_uri"]), 404)
    assert create(narrow, service=service, reason="narrow")
    assert narrow.send("DELETE", own["resource_uri"]).status == 204
    admin = add_limited_key(live_server, "username", service_uuid=service)
    refused = admin.send("POST", WINDOWS, {**WEEKEND, "server": True})
    assert "this key is for the service" in check_refusal(refused, 403)
