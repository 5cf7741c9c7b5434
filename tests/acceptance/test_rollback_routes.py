"""The routes of rollbacks, images and holds, on a store without a worker."""

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from tests.acceptance.accounts import Member, add_limited_key, add_member
from tests.acceptance.raw_http import check_refusal
from tests.support.api import APIKEY, USER, Answer
from tests.support.dashboard_bed import DashboardBed
from tests.support.history import look, perform_rollback, redeploy
from tests.support.waiting import wait_until
from tutumd.application import accounts
from tutumd.model import Scope

SERVICE = "/api/v1/service/web/"
UNKNOWN_DIGEST = f"sha256:{'9' * 64}"


@pytest.fixture
def api(dashboard: DashboardBed) -> DashboardBed:
    """A server whose service `web` ran the images a and b, and runs c."""
    accounts.add_user(dashboard.bed.store, USER, is_admin=True, key=APIKEY)
    dashboard.bed.sync(look("a"))
    redeploy(dashboard.bed, "b", "c")
    return dashboard


def post(api: DashboardBed, end: str, body: object = None) -> Answer:
    return api.request("POST", f"{SERVICE}{end}", body)


def action_of(api: DashboardBed, answer: Answer) -> dict[str, Any]:
    """Return the action that an answer names."""
    return dict(api.request("GET", answer.headers["x-tutum-action-uri"]).json)


def test_the_list_of_images_has_pages_and_says_where_each_is(api: DashboardBed) -> None:
    with api.answering({"images": {"1": "no", "2": "registry", "3": "local"}}):
        page = api.request("GET", f"{SERVICE}image/").json
    assert page["meta"]["total_count"] == 3
    assert [
        (image["number"], image["image_digest"][-1], image["previous"], image["is_running"], image["available"])
        for image in page["objects"]
    ] == [(3, "c", 2, True, "local"), (2, "b", 1, False, "registry"), (1, "a", None, False, "no")]
    assert page["objects"][0]["action"].startswith("/api/v1/action/")
    assert page["objects"][2]["action"] is None
    assert "seal" not in page["objects"][0]
    with api.answering({"images": {}}):
        page = api.request("GET", f"{SERVICE}image/?limit=1&offset=1").json
    assert [(image["number"], image["available"]) for image in page["objects"]] == [(2, "unknown")]
    assert page["meta"]["next"].endswith("/image/?limit=1&offset=2")
    check_refusal(api.request("GET", f"{SERVICE}image/?verified=1"), 400)


@pytest.mark.parametrize(
    ("body", "number"), [(None, 2), ({"image": 1}, 1), ({"image": f"sha256:{'a' * 64}", "hold": False}, 1)]
)
def test_a_rollback_names_its_action_and_image(api: DashboardBed, body: object, number: int) -> None:
    answer = post(api, "rollback/", body)
    assert (answer.status, answer.json["name"]) == (202, "web")
    action = action_of(api, answer)
    assert (action["operation"], action["action"], action["state"]) == ("ROLLBACK", "Service Rollback", "Pending")
    assert action["image"] == {"number": number, "digest": f"sha256:{'ab'[number - 1] * 64}"}


def test_what_cannot_be_rolled_back_to_is_refused(api: DashboardBed) -> None:
    for image in (4, 0, -1, UNKNOWN_DIGEST, "shop:latest", ""):
        check_refusal(post(api, "rollback/", {"image": image}), 400)
    bodies: list[object] = [{"image": 1.5}, {"image": True}, {"hold": "no"}, {"to": 1}, [], {"reason": "x" * 1001}]
    for body in bodies:
        check_refusal(post(api, "rollback/", body), 400)
    check_refusal(post(api, "rollback/", {"image": 3}), 409)
    for query in ("wait=601", "wait=x", "dry_run=2"):
        check_refusal(post(api, f"rollback/?{query}", {}), 400)
    assert not api.bed.has_pending_action()
    for _ in range(2):
        post(api, "rollback/")
        perform_rollback(api.bed)
    assert "there is no older version" in check_refusal(post(api, "rollback/"), 409)


def test_a_dry_run_shows_the_plan_and_changes_nothing(api: DashboardBed) -> None:
    plan = {"order": "start-first", "steps": ["pull shop@sha256:…"], "notes": ["volumes stay as they are"]}
    with api.answering({"plan": plan}) as asked:
        answer = post(api, "rollback/?dry_run=1", {})
    assert (answer.status, answer.json["possible"], answer.json["steps"]) == (200, True, plan["steps"])
    assert "volumes stay as they are" in answer.json["notes"]
    assert f"sha256:{'b' * 64}" in str(asked[0].arguments)
    assert not api.bed.has_pending_action()


def test_a_rollback_can_wait_for_its_end(api: DashboardBed) -> None:
    with ThreadPoolExecutor() as pool:
        waiting = pool.submit(post, api, "rollback/?wait=600", {})
        wait_until(api.bed.has_pending_action, "the rollback is stored")
        perform_rollback(api.bed)
        done = waiting.result()
        assert (done.status, done.json["state"], done.json["operation"]) == (200, "Success", "ROLLBACK")
        assert api.request("GET", done.json["status_url"], authorization=None).json["state"] == "Success"
        waiting = pool.submit(post, api, "rollback/?wait=600", {})
        wait_until(api.bed.has_pending_action, "the rollback is stored")
        (action,) = api.request("GET", "/api/v1/action/?state=Pending").json["objects"]
        api.request("POST", f"{action['resource_uri']}cancel/")
        assert (waiting.result().status, waiting.result().json["state"]) == (502, "Canceled")
    late = post(api, "rollback/?wait=1", {})
    assert (late.status, late.json["state"]) == (504, "Pending")


def test_scopes_and_owners_of_the_routes(api: DashboardBed) -> None:
    keys = {scope: add_limited_key(api, USER, scope=scope) for scope in Scope}
    stranger = add_member(api, "mallory")
    uuid = api.bed.service_uuid("web")

    def send(member: Member, route: str) -> int:
        method, _, end = route.partition(" ")
        return member.send(method, f"/api/v1/service/{uuid}/{end}", {} if method == "POST" else None).status

    for route in ("POST rollback/", "POST rollback/?wait=1"):
        assert [send(keys[scope], route) for scope in (Scope.READ, Scope.CALL)] == [403, 403], route
        assert send(stranger, route) == 404, route
    for route in ("GET image/", "POST rollback/?dry_run=1"):
        assert send(stranger, route) == 404, route
    assert not api.bed.has_pending_action()
    assert send(keys[Scope.OPERATE], "POST rollback/") == 202
