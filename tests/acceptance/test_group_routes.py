"""Groups by the API, the command line and `tutum apply`; each user's own."""

import json
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

GROUPS = "/api/v1/webhook/group/"


@pytest.fixture
def ann(live_server: LiveServer) -> Member:
    """A member with two services, `NAME-db` and `NAME-web`."""
    member = add_member(live_server, f"ann-{uuid.uuid4()}")
    for name in ("db", "web"):
        give(live_server, str(live_server.create_service(f"{member.name}-{name}")["uuid"]), member.name)
    return member


def services_of(member: Member) -> list[str]:
    return [each["uuid"] for each in member.send("GET", "/api/v1/service/").json["objects"]]


def create(member: Member, **fields: Any) -> dict[str, Any]:
    answer = member.send("POST", GROUPS, {"services": services_of(member), **fields})
    assert answer.status == 201, answer
    return dict(answer.json)


def test_a_group_is_created_planned_changed_rotated_and_revoked(ann: Member) -> None:
    db, web = services_of(ann)
    document = {"name": "all", "services": [f"{ann.name}-web", db], "sequence": "listed", "debounce": 5}
    assert ann.send("POST", f"{GROUPS}plan/", document).json["changes"] == {**document, "services": [web, db]}
    assert ann.send("GET", GROUPS).json["objects"] == []
    made = create(ann, **document)
    assert {name: made[name] for name in ("services", "stack", "engine", "match", "on_failure", "owner")} == {
        "services": [web, db],
        "stack": None,
        "engine": None,
        "match": None,
        "on_failure": "cancel",
        "owner": ann.name,
    }
    assert made["url"] == f"{made['resource_uri']}call/"
    assert not made.keys() & {"max_containers", "rollback_hold", "operation"}
    assert ann.send("GET", made["resource_uri"]).json == made
    for found in ("name=all", f"uuid__startswith={made['uuid'][:8]}"):
        assert ann.send("GET", f"{GROUPS}?{found}").json["objects"] == [made]

    check_refusal(ann.send("POST", GROUPS, document), 409)

    change = {"match": {"image": "ghcr.io/me/*"}, "sequence": None, "debounce": None}
    planned = {"services": None, "match": change["match"], "sequence": "none", "debounce": 0}
    assert ann.send("POST", f"{made['resource_uri']}plan/", change).json == {"name": "all", "changes": planned}
    assert ann.send("GET", made["resource_uri"]).json == made
    assert ann.send("PATCH", made["resource_uri"], change).json == made | planned
    rotated = ann.send("POST", f"{made['resource_uri']}rotate/", {"grace": 60}).json
    assert rotated["uuid"] != made["uuid"]
    assert rotated["rotation"]["old_last_called_datetime"] is None
    assert ann.send("DELETE", rotated["resource_uri"]).status == 204
    check_refusal(ann.send("GET", rotated["resource_uri"]), 404)
    log = ann.send("GET", "/api/v1/audit/").json["objects"][:4]
    assert [each["what"] for each in log] == [
        f"handler {what}" for what in ("revoked", "rotated", "changed", "created")
    ]
    assert all(each["details"].startswith("group 'all'") for each in log)
    assert not any(group["uuid"] in json.dumps(log) for group in (made, rotated))


@pytest.mark.parametrize(
    ("changes", "status", "said"),
    [
        ({"services": None}, 400, "name one of services, stack and match"),
        ({"stack": "shop"}, 400, "name one of services, stack and match"),
        ({"services": []}, 400, "services must be a list of 1 to 50 services, got 0"),
        ({"services": ["x"] * 51}, 400, "services must be a list of 1 to 50 services, got 51"),
        ({"services": ["nothing"]}, 404, "has no service 'nothing'"),
        ({"services": "web"}, 400, "services"),
        ({"services": None, "stack": "nothing"}, 400, "has no service in the stack 'nothing'"),
        ({"services": None, "match": {"image": "*" * 2_000}}, 400, "match.image must have 1 to 200 characters"),
        ({"services": None, "match": "ghcr.io/*"}, 400, "match"),
        ({"match": None, "engine": "local"}, 400, "engine goes with stack"),
        ({"sequence": "random"}, 400, "sequence must be one of none, listed, depends_on"),
        ({"max_containers": 3}, 400, "unknown field 'max_containers'"),
        ({"sequenc": "none"}, 400, "unknown field 'sequenc': did you mean sequence?"),
        ({"name": "\ud800"}, 400, "JSON"),
        ({"services": None, "stack": "a\0b"}, 400, "stack must not contain NUL"),
    ],
)
def test_bad_input_is_refused_with_the_way_out(ann: Member, changes: dict[str, Any], status: int, said: str) -> None:
    document = {"services": services_of(ann), **changes}
    for path in (GROUPS, f"{GROUPS}plan/"):
        assert said in check_refusal(ann.send("POST", path, document), status)
    assert ann.send("GET", GROUPS).json["objects"] == []


def test_a_service_twice_or_of_another_user_makes_no_group(live_server: LiveServer, ann: Member) -> None:
    [db, _] = services_of(ann)
    twice = {"services": [db, f"{ann.name}-db"]}
    assert "has a service twice" in check_refusal(ann.send("POST", GROUPS, twice), 400)
    bob = add_member(live_server, f"bob-{uuid.uuid4()}")
    check_refusal(bob.send("POST", GROUPS, {"services": [db]}), 404)
    made = create(ann, services=[db])
    for method, path in (("GET", ""), ("DELETE", ""), ("PATCH", ""), ("POST", "rotate/"), ("POST", "plan/")):
        body: object = None if method in ("GET", "DELETE") else {}
        check_refusal(bob.send(method, made["resource_uri"] + path, body), 404)
    assert bob.send("GET", GROUPS).json["objects"] == []
    admin = add_limited_key(live_server, "username")
    assert admin.send("GET", made["resource_uri"]).json["owner"] == ann.name


def test_a_key_for_one_service_makes_no_group(live_server: LiveServer, ann: Member) -> None:
    [db, _] = services_of(ann)
    made = create(ann)
    narrow = add_limited_key(live_server, ann.name, service_uuid=db, scope=Scope.OPERATE)
    for selector in ({"services": [db]}, {"stack": "any"}, {"match": {"image": "*"}}):
        for path in (GROUPS, f"{GROUPS}plan/"):
            assert f"this key is for the service {db}" in check_refusal(narrow.send("POST", path, selector), 403)
    check_refusal(narrow.send("GET", made["resource_uri"]), 404)
    assert narrow.send("GET", GROUPS).json["objects"] == []


def test_an_exported_file_makes_the_same_groups_for_another_time(
    live_server: LiveServer, ann: Member, tmp_path: Path
) -> None:
    cli, file = Console(live_server), tmp_path / "groups.toml"
    login: dict[str, Any] = {"TUTUM_USER": ann.name, "TUTUM_APIKEY": ann.key, "ALL_SECRET": "s3cret" * 3}
    verify = {"preset": "token", "header": "X-Token", "secrets": ["s3cret" * 3]}
    create(ann, name="all", sequence="listed", on_failure="continue", rate_limit="3/hour", verify=verify)
    create(ann, name="pushed", services=None, match={"image": "ghcr.io/me/*"}, tag={"allow": ["v*"]})
    file.write_text(cli.run("export", **login)[0])
    assert "Nothing to do: everything is as the file says" in cli.run("apply", str(file), "--check", **login)[0]
    before = ann.send("GET", GROUPS).json["objects"]
    cli.run("webhook-group", "rm", "all", "pushed", **login)
    told = cli.run("apply", str(file), "--yes", **login)[0]
    assert told.count("added the webhook group") == 2
    own = ("uuid", "number", "resource_uri", "url", "call_url", "created_datetime")
    after = ann.send("GET", GROUPS).json["objects"]
    assert [{k: v for k, v in each.items() if k not in own} for each in after] == [
        {k: v for k, v in each.items() if k not in own} for each in before
    ]
    file.write_text(file.read_text().replace('sequence = "listed"\n', "").replace('"v*"', '"v*", "w*"'))
    told = cli.run("apply", str(file), "--yes", **login)[0]
    assert "~ all  sequence: listed → none\n" in told
    assert "changed the webhook group pushed" in told


def test_the_command_line_calls_a_group_and_shows_every_line(
    live_server: LiveServer, breakable: tuple[str, Path], console: Console
) -> None:
    broken_service, broken = breakable
    good, name = live_server.run_service(f"good-{uuid.uuid4()}"), f"all-{uuid.uuid4()}"
    uuid_and_url = console.run("webhook-group", "create", good, broken_service, "--name", name)[0].split()
    assert uuid_and_url[1].endswith(f"/api/v1/webhook/group/{uuid_and_url[0]}/call/")
    assert "choose another name" in console.run("webhook-group", "create", good, "--name", name, code=3)[1]
    assert "name one of services, stack and match" in console.run("webhook-group", "create", code=3)[1]

    told, steps = console.run("webhook-group", "call", name, "--wait")
    assert told.split()[:4] == ["SERVICE", "STATE", "ACTION", "REASON"]
    assert told.count("Success") == 2
    assert "breakable: Success" in steps
    broken.touch()
    try:
        told, _ = console.run("webhook-group", "call", name, "--wait", code=1)
    finally:
        broken.unlink()
    assert (told.count("Success"), told.count("Failed")) == (1, 1)

    [failed, passed] = json.loads(console.run("webhook-group", "calls", name, "--json")[0])
    assert (failed["state"], passed["state"]) == ("Failed", "Success")
    assert failed["ended_datetime"] >= failed["received_datetime"]
    assert [line["service_name"] for line in failed["actions"]][1] == "breakable"
    assert failed["actions"][1]["reason"]
    assert live_server.request("GET", failed["resource_uri"]).json == failed
    table = console.run("webhook-group", "calls", name)[0].splitlines()
    assert ("Failed" in table[1], "Success" in table[2]) == (True, True)

    shown = json.loads(console.run("webhook-group", "call", name, "--json")[0])
    assert [line["state"] for line in shown["actions"]] == ["Pending", "Pending"]
    for line in shown["actions"]:
        live_server.wait_for_action(line["action"])
    console.run("webhook-group", "set", name, "--image", "nothing/*")
    assert "Skipped: " in console.run("webhook-group", "call", name, "--wait")[0]
    console.run("webhook-group", "set", name, "--disable")
    assert "the group accepts no call now: it is disabled" in console.run("webhook-group", "call", name, code=3)[1]
    console.run("webhook-group", "rm", name)


def test_the_sdk_follows_a_call_to_its_end(live_server: LiveServer) -> None:
    service = live_server.run_service(f"sdk-{uuid.uuid4()}")
    with_key = add_limited_key(live_server, "username")
    client = tutum.Client(user="username", apikey=with_key.key, base_url=f"{live_server.url}/api/v1/")
    groups = tutum.WebhookGroup(client)
    groups.add(services=[service])
    [group] = groups.save()
    begun = groups.call(group.uuid, headers={"Idempotency-Key": "1"})
    ended = begun.poll(60)
    assert (begun.finished, ended.state, ended.group_call) == (False, "Success", begun.group_call)
    again = groups.call(group.uuid, headers={"Idempotency-Key": "1"})
    assert (again.group_call, again.actions[0]["state"]) == (begun.group_call, "Success")
    waited = groups.call(group.uuid, wait=60)
    assert (waited.state, waited.actions[0]["service_name"].startswith("sdk-")) == ("Success", True)
    assert [call["resource_uri"] for call in groups.group_calls(group.number)] == [waited.group_call, begun.group_call]
    assert groups.delete(group.uuid)
    with pytest.raises(tutum.ObjectNotFound):
        groups.call(group.uuid)
