"""`tutum service` and `tutum action`."""

import json
from email.utils import parsedate_to_datetime

import httpx2

from tests.unit.cli.conftest import Tutum, typed
from tests.unit.sdk.fake_api import ACTION, DB, OTHER_WEB, PLAN, WEB, FakeApi, service

GONE = "Wed, 25 Nov 2026 20:31:07 +0000"
GONE_HERE = f"{parsedate_to_datetime(GONE).astimezone():%Y-%m-%d %H:%M}"


def test_ps_lists_services_by_stack(api: FakeApi, tutum_command: Tutum) -> None:
    names = ("shop/db", "alone", "blog/web", "shop/app", "blog/app")
    api.services = [
        service(WEB, name.rpartition("/")[2], full_name=name, stack=name.rpartition("/")[0] or None) for name in names
    ]
    lines = [line.split() for line in tutum_command("service", "ps").out.splitlines()]
    assert lines[0] == ["NAME", "UUID", "STATE", "RUNNING", "IMAGE", "DEPLOYED", "ENGINE"]
    assert lines[1][:5] == ["alone", WEB, "Running", "2/2", "hello:latest"]
    assert [line[0] for line in lines[2:]] == ["blog/app", "blog/web", "shop/app", "shop/db"]


def test_ps_hides_what_is_gone(api: FakeApi, tutum_command: Tutum) -> None:
    gone = service(OTHER_WEB, "web", full_name="blog/web", stack="blog", gone_since=GONE, state="Not running")
    api.services = [service(DB, "db"), service(WEB, "web"), gone]
    assert [line.split()[0] for line in tutum_command("service", "ps").out.splitlines()] == ["NAME", "db", "web"]
    assert f"Gone since {GONE_HERE}" in tutum_command("service", "ps", "--all").out
    assert json.loads(tutum_command("service", "ps", "--json").out) == api.services[:2]


def test_an_ambiguous_name_is_told_in_lines(api: FakeApi, tutum_command: Tutum) -> None:
    api.services = [service(uuid, "web", full_name=f"{stack}/web") for uuid, stack in ((WEB, "shop"), (DB, "blog"))]
    ran = tutum_command("service", "stop", "web")
    assert ran.code == 3
    assert ran.err.splitlines() == [
        "tutum: 2 services match 'web'; name one in full, or by its UUID:",
        f"  {WEB}  shop/web on local",
        f"  {DB}  blog/web on local",
    ]


def test_forget_revokes_the_handlers_of_what_is_gone(api: FakeApi, tutum_command: Tutum) -> None:
    api.services = [service(WEB, "web", full_name="shop/web", gone_since=GONE), service(DB, "db")]
    ran = tutum_command("service", "forget", "web", stdin=typed("n\n"))
    assert (ran.code, len(api.services)) == (1, 2)
    told = f"shop/web: Gone since {GONE_HERE}, 2 webhook handlers"
    assert f"{told}\nForget 1 service and revoke 2 webhook handlers? [y/N]" in ran.err
    ran = tutum_command("service", "forget", "web", stdin=typed("y\n"))
    assert (ran.code, ran.out.lstrip()) == (0, f"Forgotten: {told}\n")
    assert [each["name"] for each in api.services] == ["db"]


def test_inspect_prints_one_object_or_an_array(api: FakeApi, tutum_command: Tutum) -> None:
    assert json.loads(tutum_command("service", "inspect", "web").out) == api.services[0]
    api.services.append(service(DB, "db"))
    assert json.loads(tutum_command("service", "inspect", "web", "db").out) == api.services
    assert json.loads(tutum_command("action", "inspect", ACTION).out)["uuid"] == ACTION


def test_retry_names_the_service(api: FakeApi, tutum_command: Tutum) -> None:
    failed = httpx2.Response(200, json={"uuid": ACTION, "object": f"/api/v1/service/{WEB}/", "state": "Failed"})
    again = httpx2.Response(
        202, json={"uuid": ACTION, "resource_uri": f"/api/v1/action/{ACTION}/", "operation": "STOP"}
    )
    api.script([failed, httpx2.Response(200, json=api.services[0]), again])
    ran = tutum_command("action", "retry", ACTION)
    assert (ran.code, ran.out) == (0, f"STOP of web again accepted, action {ACTION}\n")


def test_a_followed_action_log_ends_when_the_server_is_lost(api: FakeApi, tutum_command: Tutum) -> None:
    running = httpx2.Response(200, json={"uuid": ACTION, "state": "In progress"})
    empty = httpx2.Response(200, json={"lines": []})
    api.script([running, empty, *[httpx2.ConnectError("refused")] * 99])
    ran = tutum_command("action", "logs", "--follow", ACTION)
    assert (ran.code, ran.out) == (3, "")
    assert "refused" in ran.err


def test_create_sends_the_definition(api: FakeApi, tutum_command: Tutum) -> None:
    ran = tutum_command(
        *("service", "create", "demo", "-n", "hello", "-t", "2", "-r", "sleep 9", "-e", "A=1=2", "-e", "B="),
        *("--working-dir", "/tmp", "--autorestart", "on_failure"),
    )
    assert (ran.code, ran.out) == (0, f"{OTHER_WEB}\n")
    assert api.sent() == ["POST /service/"]
    assert api.body() == {
        "image": "demo",
        "name": "hello",
        "target_num_containers": 2,
        "run_command": "sleep 9",
        "container_envvars": [{"key": "A", "value": "1=2"}, {"key": "B", "value": ""}],
        "working_dir": "/tmp",
        "autorestart": "ON_FAILURE",
    }


def test_run_and_wait_prints_the_service_and_the_verdict(api: FakeApi, tutum_command: Tutum) -> None:
    ran = tutum_command("service", "run", "demo", "--wait")
    assert (ran.code, ran.out.splitlines()) == (0, [OTHER_WEB, "Success: START of new, 0 s"])
    ran = tutum_command("service", "run", "demo", "--wait", "--json")
    assert (ran.code, json.loads(ran.out)["uuid"]) == (0, OTHER_WEB)
    api.states = ["Failed"]
    ran = tutum_command("service", "run", "demo", "--wait", "-q")
    assert (ran.code, ran.out) == (1, f"{OTHER_WEB}\n")


def test_wait_shows_the_states_and_the_verdict(api: FakeApi, tutum_command: Tutum) -> None:
    api.states = ["Pending", "Pending", "In progress", "Success"]
    api.outcome = {"container_uris_before": ["/c/1/"], "container_uris_after": ["/c/2/", "/c/3/"]}
    ran = tutum_command("service", "redeploy", "web", "--wait")
    assert ran.code == 0
    assert ran.err.splitlines() == [
        "REDEPLOY of web: Pending",
        "REDEPLOY of web: In progress",
        "   0.0 s  pulling app:v2",
        "  11.5 s  ?[31mstarting web-2",
    ]
    assert ran.out == "Success: REDEPLOY of web, 1 s, 2 new containers\n"


def test_wait_ends_with_1_reason_and_output_when_it_failed(api: FakeApi, tutum_command: Tutum) -> None:
    api.states = ["Failed"]
    images = {"image_before": "sha256:0a1b", "image_after": "sha256:0a1b", "image_tried": "sha256:2c3d"}
    api.outcome = {"reason": "image v3 exits at once", "log_tail": "boom\n\x1b[31mbang", "rolled_back": True, **images}
    ran = tutum_command("service", "stop", "web", "--wait", "--json")
    assert (ran.code, json.loads(ran.out)["state"]) == (1, "Failed")
    assert "pulling app:v2" in ran.err
    ran = tutum_command("service", "redeploy", "web", "--wait")
    assert (ran.code, ran.out) == (1, "")
    assert ran.err.splitlines()[2:] == [
        "Failed: REDEPLOY of web, 0 s, rolled back",
        "Reason: image v3 exits at once",
        "Image: sha256:2c3d failed; sha256:0a1b ran before",
        "Last output:",
        "  boom",
        "  ?[31mbang",
    ]


def test_wait_that_takes_too_long_says_how_to_go_on(api: FakeApi, tutum_command: Tutum) -> None:
    api.states = ["In progress"]
    ran = tutum_command("service", "redeploy", "web", "--wait", "--timeout", "3")
    assert ran.code == 1
    assert f"tutum action inspect {ACTION}" in ran.err


def test_action_list_shows_the_newest(api: FakeApi, tutum_command: Tutum) -> None:
    api.actions = [
        {
            "uuid": f"{index:08}-0000-4000-8000-000000000000",
            "action": "Service Redeploy",
            "operation": "REDEPLOY",
            "state": "Failed",
            "object": f"/api/v1/service/{WEB}/",
            "start_date": "Mon, 13 Oct 2014 11:01:43 +0000",
            "deliveries": 3,
            "reason": "no\nroom",
        }
        for index in range(4)
    ]
    ran = tutum_command("action", "list", "--last", "2", "--service", "web", "--status", "Failed")
    lines = ran.out.splitlines()
    assert len(lines) == 3
    assert lines[1].split()[1:4] == ["REDEPLOY", "Failed", "web"]
    assert lines[1].endswith("no room")
    assert api.requests[-2].url.params["object"] == f"/api/v1/service/{WEB}/"


def test_an_interrupted_wait_names_the_command_to_continue(api: FakeApi, tutum_command: Tutum) -> None:
    api.clock.interrupts = True
    ran = tutum_command("service", "redeploy", "web", "--wait")
    assert ran.code == 130
    assert ran.err.endswith(f"the action continues: tutum action inspect {ACTION}\n")


def test_a_dry_run_prints_the_plan(api: FakeApi, tutum_command: Tutum) -> None:
    api.plan = PLAN
    ran = tutum_command("service", "redeploy", "web", "--dry-run")
    assert (ran.code, ran.err) == (0, "")
    assert ran.out == (
        "REDEPLOY of web would:\n"
        "  1. pull hello:latest\n"
        "  2. start web-1\n"
        "  3. stop the old web-1\n"
        "Order: start-first (nothing forbids it)\n"
        "Image: hello:latest (sha256:111111111111 → sha256:222222222222)\n"
        "Note:  two containers share the volume data for a while\n"
    )
    assert json.loads(tutum_command("service", "redeploy", "web", "--dry-run", "--json").out) == {
        "service": "web",
        **PLAN,
    }


def test_a_dry_run_of_what_is_not_possible_says_why_and_exits_with_1(api: FakeApi, tutum_command: Tutum) -> None:
    api.plan = {"possible": False, "reason": "it was created with --rm", "image_before": PLAN["image_before"]}
    ran = tutum_command("service", "redeploy", "web", "--dry-run")
    assert (ran.code, ran.out) == (
        1,
        "REDEPLOY of web is not possible: it was created with --rm\nImage: now sha256:111111111111\n",
    )


def test_logs_are_followed_until_the_user_interrupts(api: FakeApi, tutum_command: Tutum) -> None:
    web = httpx2.Response(200, json={"objects": api.services})
    api.script([web, httpx2.Response(200, json={"logs": "one\n\x1b[2Jtwo", "next": "x.y"})])
    api.clock.interrupts = True
    ran = tutum_command("service", "logs", "web", "-f", "--since", "10m")
    assert (ran.code, ran.out, ran.err) == (130, "one\n?[2Jtwo\n", "")
    assert api.requests[-1].url.params["since"].endswith("+00:00")
    api.clock.interrupts = False
    api.services.append(service(DB, "db"))
    ran = tutum_command("service", "logs", "web", "db", "-f")
    assert (ran.code, "--follow is for one service, got 2" in ran.err) == (2, True)
