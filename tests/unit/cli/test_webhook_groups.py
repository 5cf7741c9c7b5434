"""`tutum webhook-group`, and the groups of `tutum apply` and `tutum export`."""

import json
from pathlib import Path
from typing import Any

import httpx2
import pytest

from tests.unit.cli.conftest import Tutum
from tests.unit.sdk.fake_api import ACTION, DB, GROUP, ROTATED, WEB, FakeApi, service

_STATUS = "/api/v1/status/t0ken/"


def line(name: str, state: str | None, **more: Any) -> dict[str, Any]:
    action = None if state is None else f"/api/v1/action/{ACTION}/"
    return {"service": f"/api/v1/service/{name}/", "service_name": name, "action": action, "state": state} | more


@pytest.mark.parametrize(
    ("options", "sent"),
    [
        (("web", WEB[:6]), {"services": [WEB, WEB]}),  # the server refuses a service that is named twice
        (("--stack", "shop", "--engine", "swarm"), {"stack": "shop", "engine": "swarm"}),
        (("--image", "ghcr.io/me/*", "--tag", "v*"), {"match": {"image": "ghcr.io/me/*"}, "tag": {"allow": "v*"}}),
        (
            ("web", "--sequence", "listed", "--on-failure", "continue", "--debounce", "5m"),
            {"services": [WEB], "sequence": "listed", "on_failure": "continue", "debounce": 300},
        ),
    ],
)
def test_create_sends_one_selector_and_prints_the_url(
    tutum_command: Tutum, api: FakeApi, options: tuple[str, ...], sent: dict[str, Any]
) -> None:
    ran = tutum_command("webhook-group", "create", *options, "--name", "all")
    assert api.body() == {"name": "all", **sent}
    uuid = api.groups[-1]["uuid"]
    assert (ran.code, ran.out) == (0, f"{uuid}\nhttp://tutum.test/api/v1/webhook/group/{uuid}/call/\n")


@pytest.mark.parametrize(
    ("options", "code", "said"),
    [
        (("wbe",), 3, "did you mean 'web'?"),
        (("web", "--sequence", "random"), 2, "random"),
        (("web", "--max-containers", "3"), 2, "--max-containers"),
        (("web", "--no-rollback-hold"), 2, "--no-rollback-hold"),
    ],
)
def test_create_refuses_what_is_not_one_group(
    tutum_command: Tutum, api: FakeApi, options: tuple[str, ...], code: int, said: str
) -> None:
    ran = tutum_command("webhook-group", "create", *options)
    assert ran.code == code
    assert said in ran.err
    assert len(api.groups) == 1


def test_show_prints_the_url_only_on_request(tutum_command: Tutum, api: FakeApi) -> None:
    api.groups = [FakeApi.group(GROUP, "two", services=[WEB, DB], sequence="listed")]
    shown = tutum_command("webhook-group", "show", "two").out
    assert GROUP not in shown
    assert [row.split() for row in shown.splitlines() if row.split()[0] not in ("created", "calls")][1:6] == [
        ["uuid", f"{GROUP[:8]}…"],
        ["services", "web"],
        [DB],
        ["sequence", "listed"],
        ["on_failure", "cancel"],
    ]
    url = f"http://tutum.test/api/v1/webhook/group/{GROUP}/call/"
    assert tutum_command("webhook-group", "show", GROUP[:5], "--url").out == f"{url}\n"
    assert url in tutum_command("webhook-group", "show", "two", "--for", "curl").out
    assert json.loads(tutum_command("webhook-group", "show", "two", "--json").out)["call_url"] == url
    assert "two   2 services  listed    active" in tutum_command("webhook-group", "list").out
    missing = tutum_command("webhook-group", "show", ROTATED)
    assert (missing.code, ROTATED in missing.err) == (3, False)


@pytest.mark.parametrize(
    ("options", "sent"),
    [
        (("--on-failure", "continue", "--reset", "debounce"), {"on_failure": "continue", "debounce": None}),
        (("web",), {"services": [WEB]}),
        (("--stack", "shop", "--engine", "swarm"), {"stack": "shop", "engine": "swarm"}),
    ],
)
def test_set_sends_only_what_changes(
    tutum_command: Tutum, api: FakeApi, options: tuple[str, ...], sent: dict[str, Any]
) -> None:
    assert tutum_command("webhook-group", "set", "shop", *options).code == 0
    [change] = [request for request in api.requests if request.method == "PATCH"]
    assert json.loads(change.content) == sent
    assert "nothing to change" in tutum_command("webhook-group", "set", "shop").err


def test_rotate_and_rm(tutum_command: Tutum, api: FakeApi) -> None:
    rotated = tutum_command("webhook-group", "rotate", "shop", "--grace", "1h")
    assert api.body() == {"grace": 3600}
    assert rotated.out.splitlines()[0] == ROTATED
    assert "nothing" in tutum_command("webhook-group", "rm", "shop", "nothing").err
    assert len(api.groups) == 1
    assert tutum_command("webhook-group", "rm", "shop", ROTATED[:4]).out.split() == [ROTATED]
    assert api.groups == []


def test_a_call_that_waits_shows_every_line_and_fails_as_the_group_does(tutum_command: Tutum, api: FakeApi) -> None:
    begun = [
        line("db", "Pending"),
        line("web", "Pending", reason="waits for db"),
        line("gone", None, note="was removed"),
    ]
    api.progress = [
        {"name": "shop", "status_url": _STATUS, "group_call": "/api/v1/webhook/groupcall/3/", "actions": begun},
        {"state": "In progress", "actions": [line("db", "In progress"), *begun[1:]]},
        {"state": "Failed", "actions": [line("db", "Failed", reason="exited"), line("web", "Canceled"), begun[2]]},
    ]
    ran = tutum_command("webhook-group", "call", "shop", "--wait")
    assert ran.code == 1
    assert ran.err.splitlines() == [
        *("db: Pending", "web: Pending: waits for db", "gone: left out: was removed"),
        *("db: In progress", "db: Failed: exited", "web: Canceled"),
    ]
    assert [row.split() for row in ran.out.splitlines()] == [
        ["SERVICE", "STATE", "ACTION", "REASON"],
        ["db", "Failed", ACTION, "exited"],
        ["web", "Canceled", ACTION],
        ["gone", "left", "out", "was", "removed"],
    ]
    assert "authorization" not in api.requests[-1].headers


def test_a_call_returns_at_once_or_says_why_it_does_nothing(tutum_command: Tutum, api: FakeApi) -> None:
    accepted = {"status_url": _STATUS, "group_call": None, "actions": [line("db", "Pending")]}
    api.progress = [accepted, accepted, {"state": "Skipped", "reason": "no service matches"}]
    assert tutum_command("webhook-group", "call", "shop", "-q").out == f"{ACTION}\n"
    shown = json.loads(tutum_command("webhook-group", "call", "shop", "--json").out)
    assert shown["actions"] == accepted["actions"]
    skipped = tutum_command("webhook-group", "call", "shop", "--wait")
    assert (skipped.code, skipped.out) == (0, "Skipped: no service matches\n")
    api.groups[0]["enabled"] = False
    api.script(
        [httpx2.Response(200, json={"meta": {}, "objects": api.groups}), httpx2.Response(404, json={"error": "no"})]
    )
    assert "the group accepts no call now: it is disabled" in tutum_command("webhook-group", "call", "shop").err


def test_calls_are_listed_with_the_state_of_each_service(tutum_command: Tutum, api: FakeApi) -> None:
    actions = [line("db", "Success"), line("web", None)]
    api.group_calls = [
        {"id": 3, "received_datetime": "2026-01-01T00:00:00Z", "state": "Success", "actions": actions},
    ]
    assert "db Success, web deleted" in tutum_command("webhook-group", "calls", "shop").out
    assert api.requests[-1].url.params["group"] == "7"


def test_an_exported_file_applies_without_a_change_and_follows_its_edits(
    tutum_command: Tutum, api: FakeApi, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    api.services.append(service(DB, "db"))
    verify = {"preset": "github", "secrets_set": 1}
    of_two = FakeApi.group(ROTATED, "two", services=[DB, WEB], sequence="listed", verify=verify)
    api.groups += [of_two, FakeApi.group(GROUP[::-1], "foreign", stack="shop", owner="ann")]
    file = tmp_path / "groups.toml"
    monkeypatch.setenv("TWO_SECRET", "s3cret")

    def apply(text: str, *options: str, code: int = 0) -> str:
        file.write_text(text)
        ran = tutum_command("apply", str(file), *options)
        assert ran.code == code, ran
        return ran.out + ran.err

    text = tutum_command("export").out
    block = text[text.index('[[group]]\nname = "two"') :]
    assert 'services = ["db", "web"]\nsequence = "listed"' in block
    assert 'verify = { preset = "github", secrets = ["${TWO_SECRET}"] }' in block
    assert "foreign" not in text
    of_two["verify"] = {"preset": "github", "secrets": ["s3cret"]}
    assert "Nothing to do: everything is as the file says" in apply(block, "--check")
    more = block.replace("listed", "depends_on").replace('["db", "web"]', '["web"]')
    told = apply(more + '\n[[group]]\nname = "new"\nmatch = { image = "ghcr.io/me/*" }\n', "--check", code=1)
    assert "~ two  services: db, web → web\n         sequence: listed → depends_on\n" in told
    assert "+ new  match: image ghcr.io/me/*\n" in told
    assert "Not in the file; --prune removes: shop\n" in told
    told = apply(more + '\n[[group]]\nname = "new"\nstack = "blog"\n', "--prune", "--yes")
    assert "removed the webhook group shop" in told
    assert "tutum webhook-group show new --url" in told
    assert [group["name"] for group in api.groups] == ["two", "foreign", "new"]
    assert of_two["services"] == [WEB]
    for wrong, said in (
        ('name = "a"\nstack = "x"\nmax_containers = 3', "unknown field 'max_containers'"),
        ('stack = "x"', "lacks its name"),
        ('name = "a"\nservices = ["wbe"]', "there is no service wbe"),
        ('name = "a"\nverify = { preset = "github", secrets = "plain" }', "each of verify.secrets a variable"),
    ):
        assert said in apply(f"[[group]]\n{wrong}\n", "--yes", code=2)
