"""Notification targets and messages: by the API, SDK, command line and `tutum apply`; each user's own."""

import json
import re
import uuid
from pathlib import Path
from typing import Any

import pytest

import tutum
from tests.acceptance.accounts import Member, add_limited_key, add_member, give
from tests.acceptance.console import Console
from tests.acceptance.notified import FORGE, MESSAGES, REFUSED, SECRET, TARGETS, WEBHOOK, create, objects
from tests.acceptance.raw_http import check_refusal
from tests.support.server import LiveServer
from tutum import NotificationTarget
from tutum.notification import SECRET_SETTINGS
from tutumd.application.target_settings import SETTINGS
from tutumd.model import Scope

REFERENCE = Path(__file__).parents[2] / "docs/reference/notifications.md"


def test_a_target_is_created_changed_and_deleted_and_its_secrets_stay_secret(ann: Member) -> None:
    made = create(ann, service=ann.name, repeat=0)
    assert made["secret"].startswith("whsec_")
    assert made["settings"] == {"url": "https://127.0.0.1:9/…", "secret": "…"}
    assert (made["events"], made["repeat"], made["include_log"]) == (["action.failed", "action.recovered"], 0, False)
    at = made["resource_uri"]
    got = ann.send("GET", at).json
    assert got == {key: value for key, value in made.items() if key != "secret"}
    # What an object shows can be sent back: it changes nothing.
    assert ann.send("PATCH", at, {"settings": got["settings"], "name": "oncall"}).json == {**got, "secret": None}
    renewed = ann.send("PATCH", at, {"settings": {"secret": None}, "service": None, "repeat": None}).json
    assert renewed["secret"] not in (None, made["secret"])
    assert (renewed["service"], renewed["repeat"]) == (None, 3600)
    assert ann.send("PATCH", at, {"settings": {"secret": SECRET}}).json["secret"] is None
    assert ann.send("POST", f"{at}plan/", {"settings": {"secret": SECRET}}).json["changes"] == {}
    changes = ann.send("POST", f"{at}plan/", {"settings": {"secret": made["secret"]}, "repeat": 5}).json["changes"]
    assert changes == {"settings": got["settings"], "repeat": 5}
    changed = ann.send("PATCH", at, {"per_group_call": False}).json
    assert (got["per_group_call"], changed["per_group_call"]) == (True, False)
    planned = ann.send("POST", f"{TARGETS}plan/", {"name": "new", **FORGE, "stack": None}).json
    assert (planned["name"], planned["kind"], planned["changes"]["settings"]["token"]) == ("new", "forge", "…")
    assert [each["name"] for each in objects(ann)] == ["oncall"]
    assert ann.send("DELETE", at).status == 204
    check_refusal(ann.send("GET", at), 404)
    log = ann.send("GET", "/api/v1/audit/").body.decode()
    for event in ("created", "changed", "deleted"):
        assert f'"what":"notification target {event}"' in log
    for secret in (made["secret"], SECRET, "s3cret-path"):
        assert secret not in log


@pytest.mark.parametrize(
    ("document", "status", "said"),
    [
        ({"nmae": "x"}, 400, "unknown field 'nmae': did you mean name?"),
        ({"name": "x", "kind": "webhook"}, 400, "settings.url is missing"),
        ({**WEBHOOK, "name": "x", "events": ["engine.down"]}, 400, "only admins may choose"),
        ({**WEBHOOK, "name": "x", "service": "nothing"}, 404, "has no service 'nothing'"),
        ({**WEBHOOK, "name": "x", "stack": "nothing"}, 404, ""),
        ({**WEBHOOK, "name": "x", "settings": "url"}, 400, "settings must be an object"),
        ({**WEBHOOK, "name": "x", "settings": {"url": REFUSED, "secret": "\ud800"}}, 400, "JSON"),
        ([], 400, "must be a JSON object"),
    ],
)
def test_bad_input_is_refused_with_the_way_out(ann: Member, document: object, status: int, said: str) -> None:
    for path in (TARGETS, f"{TARGETS}plan/"):
        if not (path.endswith("plan/") and "stack" in str(document)):  # which the store checks
            assert said in check_refusal(ann.send("POST", path, document), status)
    assert objects(ann) == []


def test_users_see_nothing_of_each_other_not_even_by_names_or_counts(live_server: LiveServer, ann: Member) -> None:
    made = create(ann, ann.name)
    ann.send("POST", f"{made['resource_uri']}test/")
    for other in (add_member(live_server, f"bob-{uuid.uuid4()}"), add_limited_key(live_server, "username")):
        for path in (
            f"{TARGETS}?uuid={made['uuid']}",
            f"{MESSAGES}?target={made['uuid']}",
            f"{TARGETS}?name={ann.name}",
        ):
            page = other.send("GET", path).json
            assert (page["objects"], page["meta"]["total_count"]) == ([], 0)
        before = other.send("GET", TARGETS).json["meta"]["total_count"]
        twin = create(other, ann.name)  # the same name
        assert other.send("GET", TARGETS).json["meta"]["total_count"] == before + 1
        check_refusal(other.send("POST", TARGETS, {"name": ann.name, **WEBHOOK}), 409)
        assert ann.send("GET", TARGETS).json["meta"]["total_count"] == 1
        assert other.send("DELETE", twin["resource_uri"]).status == 204


def test_a_narrow_key_sees_targets_of_its_service_and_changes_none(live_server: LiveServer, ann: Member) -> None:
    [service] = [each["uuid"] for each in objects(ann, "/api/v1/service/")]
    whole, own = create(ann, "whole"), create(ann, "own", service=service)
    narrow = add_limited_key(live_server, ann.name, service_uuid=service, scope=Scope.ADMIN)
    assert [each["name"] for each in objects(narrow)] == ["own"]
    check_refusal(narrow.send("GET", whole["resource_uri"]), 404)
    for method, path in (("POST", TARGETS), ("PATCH", own["resource_uri"]), ("POST", f"{own['resource_uri']}test/")):
        assert "only: use another key" in check_refusal(narrow.send(method, path, {"name": "x", **WEBHOOK}), 403)


def test_a_test_says_why_it_was_not_sent_and_dead_messages_are_retried(ann: Member) -> None:
    at = create(ann)["resource_uri"]
    result = ann.send("POST", f"{at}test/").json
    assert (result["sent"], result["status"]) == (False, None)
    assert "--notify-allow" in result["error"]
    assert "s3cret-path" not in result["error"]
    assert 0 < result["seconds"] < 20
    [dead] = objects(ann, f"{MESSAGES}?state=dead&target={at}")
    assert (dead["event"], dead["target"], dead["target_name"], dead["attempts"]) == ("test", at, "oncall", 1)
    assert dead == ann.send("GET", dead["resource_uri"]).json
    assert ann.send("POST", f"{at}retry/").json == {"retried": 1}
    again = ann.send("GET", dead["resource_uri"]).json
    assert again["uuid"] == dead["uuid"]
    sent = ann.send("POST", f"{dead['resource_uri']}retry/")
    assert sent.status in (202, 409)  # the notifier may have been faster


def test_the_command_line_does_all_of_it(live_server: LiveServer) -> None:
    cli, service = Console(live_server), str(live_server.create_service(f"told-{uuid.uuid4()}")["name"])

    def run(*arguments: str, code: int = 0, stdin: str = "", **variables: str) -> str:
        out, err = cli.run("notification", *arguments, code=code, stdin=stdin, **variables)
        return out + err

    made = run(*("target", "create", service, "--webhook", "${HOOK}", "--service", service), HOOK=REFUSED)
    assert len(made.splitlines()) == 2
    assert made.splitlines()[1].startswith("whsec_")
    options = ("--forge", "github", "--repository", "a/b", "--token-file", "-", "--repeat", "10m")
    run("target", "create", f"{service}-ci", *options, stdin="t0ken\n")
    assert run("target", "ls") == run("target", "list")
    assert all(f"{service}{end}" in run("target", "ls", "--service", service) for end in ("", "-ci"))
    assert "repeat       600 s" in run("target", "show", f"{service}-ci")
    assert f"{service}: webhook, about {service}\n" in run("target", "show", service)
    run("target", "set", service, "--events", "failed,engine.down", "--include-log", "--secret-file", "-", stdin=SECRET)
    shown = json.loads(run("target", "show", service, "--json"))
    assert (shown["events"], shown["include_log"]) == (["action.failed", "engine.down"], True)
    run("target", "set", service, "--reset", "events", "--reset", "include_log", "--disable", "--per-service")
    assert "one message per service" in run("target", "show", service)
    shown = json.loads(run("target", "show", service, "--json"))
    assert (len(shown["events"]), shown["include_log"], shown["enabled"]) == (4, False, False)
    assert f"{service}: not sent: " in run("target", "test", service, code=1)
    assert "test" in run("list", "--target", service, "--status", "dead")
    assert run("retry", "--target", service) == "Queued again: 1\n"
    for wrong, said in (
        (("target", "create", "x"), "--webhook URL, --apprise URL, or --forge"),
        (("target", "create", "x", "--webhook", "${NOT_SET}"), "there is nothing in the variable NOT_SET"),
        (("target", "create", "x", "--webhook", "a", "--forge", "b"), "two targets"),
        (("target", "set", service), "nothing to change"),
        (("target", "set", service, "--reset", "evnets"), "did you mean events?"),
        (("retry",), "--target"),
    ):
        assert said in " ".join(run(*wrong, code=2).split())
    assert len(run("target", "rm", service, f"{service}-ci").splitlines()) == 2


def test_an_exported_file_applies_without_a_change_and_follows_its_edits(
    live_server: LiveServer, ann: Member, tmp_path: Any
) -> None:
    cli, file = Console(live_server), tmp_path / "targets.toml"
    login: dict[str, Any] = {"TUTUM_USER": ann.name, "TUTUM_APIKEY": ann.key}
    create(ann, "on call", settings={"url": REFUSED, "secret": SECRET}, service=ann.name, events=["action.failed"])
    create(ann, "ci", **FORGE)
    variables = login | {"ON_CALL_URL": REFUSED, "ON_CALL_SECRET": SECRET, "CI_TOKEN": "t0ken"}

    def apply(text: str, *options: str, code: int = 0, **changed: str) -> str:
        file.write_text(text)
        known: dict[str, Any] = variables | changed
        out, err = cli.run("apply", str(file), *options, code=code, **known)
        return out + err

    service = objects(ann, "/api/v1/service/")[0]["uuid"]
    give(live_server, service, "username")
    assert f'service = "{service}"' in cli.run("export", **login)[0]  # its name is no longer the owner's to see
    assert objects(ann)[0]["service_name"] is None
    give(live_server, service, ann.name)
    text = cli.run("export", **login)[0]
    assert SECRET not in text
    assert "t0ken" not in text
    assert "Nothing to do" in apply(text, "--check")
    assert "~ on call  settings: " in apply(text, "--check", code=1, ON_CALL_SECRET=create(ann, "x")["secret"])
    less = text.replace('events = ["action.failed"]\n', "").replace(f'service = "{ann.name}"', "repeat = 60")
    assert "1 to change" in (told := apply(less, "--check", code=1))
    assert "Not in the file; --prune removes: x" in told
    apply(less, "--yes", "--prune")
    assert [(each["name"], each["repeat"]) for each in objects(ann)] == [("on call", 60), ("ci", 3600)]
    for before, after, said in (
        ('secret = "${ON_CALL_SECRET}"', f'secret = "{SECRET}"', "must be a variable"),
        ("${CI_TOKEN}", "${NOT_SET}", "the variable NOT_SET is not set"),
        ('name = "ci"', 'name = "on call"', "stands in the file twice"),
        ('kind = "forge"', 'kind = "webhook"', "kind cannot be changed"),
        ("repeat = 60", 'service = "nothing"', "there is no service nothing"),
    ):
        told = apply(less.replace(before, after), "--yes", code=2)
        assert f"{file}:" in told
        assert said in told
        assert SECRET not in told


def test_the_sdk_saves_plans_tests_and_deletes(live_server: LiveServer, ann: Member) -> None:
    client = tutum.Client(user=ann.name, apikey=ann.key, base_url=f"{live_server.url}/api/v1/")
    target = NotificationTarget.create(name="oncall", client=client, **WEBHOOK)
    assert "settings" in target.plan()
    assert target.save()
    assert target.secret
    assert target.test().sent is False
    assert target.retry() in (0, 1)
    target.enabled = False
    assert target.plan() == {"enabled": False}
    assert target.save()
    assert [each.name for each in NotificationTarget.list(client=client)] == ["oncall"]
    assert tutum.Notification.list(client=client)[0].target == target.resource_uri
    assert target.delete()
    assert NotificationTarget.list(client=client) == []


def test_the_reference_has_each_setting() -> None:
    table = REFERENCE.read_text(encoding="utf-8").partition("| Kind | Setting |")[2].partition("\n\n")[0]
    rows = re.findall(r"^\| (?:`\w+` )?\| `(\w+)` \|", table, re.MULTILINE)
    assert rows == [each.name for settings in SETTINGS.values() for each in settings]


def test_the_secrets_that_files_must_not_contain_are_those_of_the_server() -> None:
    hidden = {kind.value: {each.name for each in settings if each.mask} for kind, settings in SETTINGS.items()}
    hidden["webhook"] -= {"url"}  # a person may know that it contains no secret
    assert {kind: set(names) for kind, names in SECRET_SETTINGS.items()} == hidden
