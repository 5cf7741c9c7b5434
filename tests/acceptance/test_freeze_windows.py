"""Freeze windows: by the API, SDK, command line and `tutum apply`; each user's own."""

import json
import re
import uuid
from pathlib import Path
from typing import Any

import pytest

import tutum
from tests.acceptance.accounts import Member, add_limited_key, add_member, give
from tests.acceptance.console import Console
from tests.acceptance.raw_http import check_refusal
from tests.support.server import LiveServer
from tutumd.model import Scope

WINDOWS = "/api/v1/freeze/"
WEEKEND = {"from": "Fri 16:00", "to": "Mon 06:00", "tz": "Europe/Berlin", "reason": "weekend"}

_LATER = {"from": "2090-12-24", "to": "2090-12-27"}


def create(member: Member, **fields: Any) -> dict[str, Any]:
    answer = member.send("POST", WINDOWS, {**WEEKEND, **fields})
    assert answer.status == 201, answer
    return dict(answer.json)


def listed(member: Member, query: str = "") -> list[str]:
    return [each["uuid"] for each in member.send("GET", f"{WINDOWS}{query}").json["objects"]]


def test_a_window_is_created_shown_and_removed(live_server: LiveServer, ann: Member) -> None:
    made = create(ann, service=ann.name)
    assert {name: made[name] for name in WEEKEND} == WEEKEND
    assert (made["service_name"], made["stack"], made["server"]) == (ann.name, None, False)
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
        ({"engine": "docker"}, 400, "unknown field 'engine'"),
        ({"service": "nothing"}, 404, "has no service 'nothing'"),
        ({"service": None, "stack": "nothing"}, 404, "no service of the stack 'nothing'"),
        ({"service": None, "server": True}, 403, "only admins may do this"),
        ({"reason": "\ud800"}, 400, "JSON"),
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
    for more in ({"server": True}, {"stack": "any"}):
        assert "this key is for the service" in check_refusal(admin.send("POST", WINDOWS, {**WEEKEND, **more}), 403)
    of_server = create(add_limited_key(live_server, "username"), server=True, reason=service, **_LATER)
    check_refusal(admin.send("DELETE", of_server["resource_uri"]), 403)
    assert live_server.request("DELETE", of_server["resource_uri"]).status == 204


def test_the_command_line_does_all_of_it(live_server: LiveServer) -> None:
    cli, service = Console(live_server), str(live_server.create_service(f"frozen-{uuid.uuid4()}")["name"])

    def run(*arguments: str, code: int = 0) -> str:
        out, err = cli.run("freeze", *arguments, code=code)
        return out + err

    times = ("--from", "Fri 16:00", "--to", "Mon 06:00")
    added = run("add", service, *times, "--tz", "Europe/Berlin", "--reason", "weekend").strip()
    shown = json.loads(run("add", "--server", "--from", "2090-12-24", "--to", "2090-12-27", "--json"))
    assert (shown["server"], shown["to"], shown["tz"]) == (True, "2090-12-27", "UTC")
    table = run("ls", "--service", service)
    assert table == run("list", "--service", service)
    assert re.search(rf"{service} +Fri 16:00 +Mon 06:00 +Europe/Berlin .*weekend +username +{added}", table)
    assert re.search(r"the server +2090-12-24 +2090-12-27 +UTC +username", table)
    assert run("list", "--service", service, "--quiet").split() == [added, shown["uuid"]]
    assert "such as 'Fri 16:00'" in run("add", service, "--from", "* * * * *", "--to", "x", code=3)
    assert "name one of service, stack and server" in run("add", *times, code=3)
    assert run("rm", added[:30], shown["uuid"]).split() == [added, shown["uuid"]]
    assert added not in run("list")


def test_an_exported_file_applies_without_a_change_and_follows_its_edits(
    live_server: LiveServer, ann: Member, tmp_path: Path
) -> None:
    cli, file = Console(live_server), tmp_path / "freezes.toml"
    login: dict[str, Any] = {"TUTUM_USER": ann.name, "TUTUM_APIKEY": ann.key}
    create(ann, service=ann.name)
    create(ann, service=ann.name, **{"from": "2090-12-24", "to": "2090-12-27", "tz": None, "reason": None})
    create(add_limited_key(live_server, "username"), service=ann.name)  # is not ann's to export or to remove

    def apply(text: str, *options: str, code: int = 0) -> str:
        file.write_text(text)
        out, err = cli.run("apply", str(file), *options, code=code, **login)
        return out + err

    text = cli.run("export", **login)[0]
    assert text.count("[[freeze]]") == 2
    assert f'service = "{ann.name}"' in text
    assert "Nothing to do: everything is as the file says" in apply(text, "--check")
    more = text.replace("Fri 16:00", "Fri 17:00")
    told = apply(more, "--check", code=1)
    assert f"+ Fri 17:00 to Mon 06:00 of {ann.name}  Europe/Berlin, weekend" in told
    assert f"Not in the file; --prune removes: Fri 16:00 to Mon 06:00 of {ann.name}\n" in told
    assert "1 to add, 0 to change, 0 to remove, 1 unchanged." in told
    told = apply(more, "--yes", "--prune")
    assert f"removed the freeze window Fri 16:00 to Mon 06:00 of {ann.name}" in told
    assert "Nothing to do" in apply(more, "--check", "--prune")
    assert len(listed(ann)) == 3
    assert "Nothing to do" in apply(more + more[more.index("\n[[freeze]]") :], "--check")
    assert "Europe/Berlin, 5" in apply(more.replace('"weekend"', "5"), "--check", code=1)
    for before, after, said in (
        (f'service = "{ann.name}"', 'service = "nothing"', "there is no service nothing"),
        (f'service = "{ann.name}"', 'service = ""', "there is no service  that this user may see"),
        ('tz = "', 'zone = "', "unknown field 'zone'"),
        ('from = "Fri 17:00"\n', "", 'lacks its from, as in from = "Fri 16:00"'),
    ):
        told = apply(more.replace(before, after), "--yes", code=2)
        assert f"{file}:" in told
        assert said in told


def test_the_sdk_adds_lists_and_removes(live_server: LiveServer, ann: Member) -> None:
    client = tutum.Client(user=ann.name, apikey=ann.key, base_url=f"{live_server.url}/api/v1/")
    window = tutum.FreezeWindow.add("Fri 16:00", "Mon 06:00", service=ann.name, client=client)
    assert (window.begins, window.ends, window.tz, window.subject) == ("Fri 16:00", "Mon 06:00", "UTC", ann.name)
    assert [each.uuid for each in tutum.FreezeWindow.list(client=client)] == [window.uuid]
    assert window.delete()
    assert tutum.FreezeWindow.list(client=client) == []


def test_calls_of_a_burst_wait_for_the_end_of_a_freeze_that_began_in_between(live_server: LiveServer) -> None:
    service = live_server.run_service(f"burst-{uuid.uuid4()}")
    url = live_server.make_handler(service)["url"].removeprefix(live_server.url)
    admin = add_limited_key(live_server, "username")
    first = live_server.post(url).json["action"]
    assert live_server.wait_for_action(first)["state"] == "Success"
    window = create(admin, service=service, **{"from": "2026-01-01", "to": "2090-01-01", "tz": "UTC"})
    [held] = {live_server.post(url).json["action"] for _ in range(20)}
    waited = live_server.post(f"{url}?wait=1")
    assert waited.status == 504, waited
    [hold] = waited.json["holds"]
    assert hold == {
        "kind": "freeze",
        "until": "2090-01-01T00:00:00Z",
        "reason": "freeze window 2026-01-01 to 2090-01-01 (UTC): weekend",
        "by": "username",
    }
    assert live_server.request("GET", held).json["held_until"] == "2090-01-01T00:00:00Z"

    assert admin.send("DELETE", window["resource_uri"]).status == 204
    assert live_server.wait_for_action(held)["state"] == "Success"
    create(admin, service=service, **{"from": "2026-01-01", "to": "2090-01-01", "tz": "UTC"})
    overriding = admin.send("POST", f"/api/v1/service/{service}/redeploy/?override=1")
    assert live_server.wait_for_action(overriding.headers["x-tutum-action-uri"])["state"] == "Success"
    found = live_server.request("GET", f"/api/v1/action/?object={service}").json
    assert found["meta"]["total_count"] == len(["start", "first", "held", "overriding"])
