"""`tutum service rollback|images|hold|resume`, and what a held action shows."""

import json
from collections.abc import Mapping
from typing import Any

import httpx2
import pytest

from tests.unit.cli.conftest import Tutum
from tests.unit.sdk.fake_api import ACTION, DB, PLAN, WEB, FakeApi, service
from tutum.cli.output import parse_date

DIGEST = f"sha256:{'3' * 64}"
UNTIL = "2026-12-01T18:00:00Z"
HELD = {"is_held": True, "held_until": UNTIL, "hold_reason": "incident 42", "held_by": "ada"}


def _image(number: int, **fields: Any) -> dict[str, Any]:
    return {
        "number": number,
        "image_name": "hello:latest",
        "image_digest": f"sha256:{str(number) * 64}",
        "version": f"1.{number}",
        "available": "local",
        "last_success_datetime": "2026-11-30T18:00:00Z",
        "requested_by": "handler 1 (ci)",
        "is_running": False,
        "is_verified": True,
        "previous": None,
        **fields,
    }


def _found(api: FakeApi) -> httpx2.Response:
    return httpx2.Response(200, json={"objects": api.services})


@pytest.mark.parametrize(
    ("options", "body"),
    [
        ((), {"image": None, "hold": True, "reason": ""}),
        (("--image", "3", "--no-hold"), {"image": "3", "hold": False, "reason": ""}),
        (("-i", DIGEST, "--reason", "it leaks"), {"image": DIGEST, "hold": True, "reason": "it leaks"}),
    ],
)
def test_rollback_names_the_image(
    api: FakeApi, tutum_command: Tutum, options: tuple[str, ...], body: Mapping[str, object]
) -> None:
    ran = tutum_command("service", "rollback", "web", *options)
    assert (ran.code, ran.out) == (0, f"ROLLBACK of web accepted, action {ACTION}\n")
    assert (api.sent()[1], api.body(1)) == (f"POST /service/{WEB}/rollback/", body)


def test_an_image_is_for_one_service_and_nothing_is_done_for_two(api: FakeApi, tutum_command: Tutum) -> None:
    api.services.append(service(DB, "db"))
    ran = tutum_command("service", "rollback", "web", "db", "--image", "3")
    assert (ran.code, "--image is for one service, got 2" in ran.err) == (2, True)
    assert all(request.method == "GET" for request in api.requests)


def test_the_plan_of_a_rollback_says_what_it_is_of(api: FakeApi, tutum_command: Tutum) -> None:
    api.script([_found(api), httpx2.Response(200, json=PLAN)])
    ran = tutum_command("service", "rollback", "web", "--image", "3", "--dry-run")
    assert (ran.code, ran.out.splitlines()[0]) == (0, "ROLLBACK of web would:")
    assert (api.requests[1].url.params["dry_run"], api.body(1)) == ("1", {"image": "3"})


def test_images_show_what_runs_and_where_a_rollback_goes(api: FakeApi, tutum_command: Tutum) -> None:
    images = [_image(4, is_running=True, previous=2), _image(3, is_verified=False), _image(2, image_digest=None)]
    page = httpx2.Response(200, json={"objects": images, "meta": {"next": None}})
    api.script([_found(api), page, _found(api), page])
    lines = [line.split() for line in tutum_command("service", "images", "web").out.splitlines()]
    assert lines[0] == ["NUMBER", "IMAGE", "VERSION", "DIGEST", "AVAILABLE", "LAST", "RUN", "BY"]
    assert lines[1] == ["4", "hello:latest", "1.4", "sha256:444444444444", "local", "now", "handler", "1", "(ci)"]
    assert lines[2][-3:] == ["changed", "by", "hand"]
    assert (lines[3][:4], lines[3][-1]) == (["2", "hello:latest", "1.2", "local"], "rollback")
    shown = json.loads(tutum_command("service", "images", "web", "--json").out)
    assert [(image["number"], image["image_digest"]) for image in shown] == [
        (4, images[0]["image_digest"]),
        (3, images[1]["image_digest"]),
        (2, None),
    ]


def test_hold_and_resume_print_the_state(api: FakeApi, tutum_command: Tutum) -> None:
    held = httpx2.Response(200, json={**api.services[0], **HELD})
    endless = httpx2.Response(200, json={**api.services[0], **HELD, "held_until": None, "hold_reason": ""})
    found_held = httpx2.Response(200, json={"objects": [{**api.services[0], **HELD}]})
    resumed = httpx2.Response(200, json=api.services[0])
    api.script([_found(api), held, _found(api), endless, found_held, resumed, _found(api), resumed])
    local = parse_date(UNTIL).astimezone()
    ran = tutum_command("service", "hold", "web", "--until", "4h", "--reason", "incident 42")
    assert (ran.code, ran.out) == (0, f"web is held until {local:%Y-%m-%d %H:%M}: incident 42\n")
    assert (api.sent()[1], api.body(1)) == (
        f"POST /service/{WEB}/hold/",
        {"until": "4h", "reason": "incident 42"},
    )
    assert tutum_command("service", "hold", "web").out == "web is held until it is resumed\n"
    assert api.body(3) == {"until": None, "reason": ""}
    assert tutum_command("service", "resume", "web").out == "web resumed\n"
    assert tutum_command("service", "resume", "web").out == "web is not held\n"
    assert api.sent()[5] == f"DELETE /service/{WEB}/hold/"


def test_redeploy_passes_a_hold_only_with_the_option(api: FakeApi, tutum_command: Tutum) -> None:
    tutum_command("service", "redeploy", "web")
    tutum_command("service", "redeploy", "web", "--override")
    posts = [request.url.params.get("override") for request in api.requests if request.method == "POST"]
    assert posts == [None, "1"]


def test_a_wait_shows_why_the_action_is_held(api: FakeApi, tutum_command: Tutum) -> None:
    pending = {"uuid": ACTION, "state": "Pending"}
    accepted = httpx2.Response(202, json=api.services[0], headers={"X-Tutum-Action-URI": f"/api/v1/action/{ACTION}/"})
    reasons = ["held: incident 42 (by ada); held: more", "held: more", "held: more"]
    answers = [*({**pending, "reason": reason} for reason in ["", *reasons]), {**pending, "state": "Success"}]
    api.script([_found(api), accepted, *(httpx2.Response(200, json=answer) for answer in answers)])
    ran = tutum_command("service", "redeploy", "web", "--wait")
    assert ran.err.splitlines()[:2] == [f"REDEPLOY of web: Pending: {reason}" for reason in reasons[:2]]
    assert ran.out.startswith("Success: REDEPLOY of web")


def test_a_redeploy_that_waits_says_why(api: FakeApi, tutum_command: Tutum) -> None:
    api.outcome, api.states = {"reason": "held: incident 42 (by ada)"}, ["Pending"]
    ran = tutum_command("service", "redeploy", "web")
    assert (ran.code, ran.out) == (0, f"REDEPLOY of web accepted, action {ACTION}\n")
    assert ran.err == "Note: REDEPLOY of web waits: held: incident 42 (by ada)\n"
