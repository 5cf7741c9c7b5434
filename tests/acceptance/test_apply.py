"""`tutum apply` and `tutum export` against live servers: a plan, what it does, and a file that gives the same again."""

import io
import json
import re
import subprocess
import uuid
from collections.abc import Iterator
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import tutum
from tests.acceptance.accounts import add_member
from tests.acceptance.console import Console
from tests.acceptance.handler_documents import handlers
from tests.support.server import BIN, LIMIT_S, LiveServer
from tutum.cli.app import run
from tutum.webhook_handler import FIELDS

GUIDE = (Path(__file__).parents[2] / "docs/how-to/repository.md").read_text(encoding="utf-8")
FILE = """
[[service]]
name = "{service}"

[[service.handler]]
name = "ci"
filter = {{ preset = "branch", branch = ["refs/heads/main"] }}
verify = {{ preset = "GitHub", secrets = "${{CI_SECRET}}" }}
allow_from = ["192.0.2.7", "10.0.0.0/8"]
expires_datetime = 2099-01-31T12:00:00+01:00

[[service.handler]]
name = "grow it"
operation = "SCALEUP"
max_containers = 10
"""


class Applied(Console):
    """`tutum` in this process, as the examples' user of a server."""

    def __init__(self, server: LiveServer, folder: Path) -> None:
        super().__init__(server)
        self.file = folder / "handlers.toml"

    def apply(self, text: str, *options: str, code: int = 0, **variables: str) -> tuple[str, str]:
        """Apply a text."""
        self.file.write_text(text, encoding="utf-8")
        return self.run("apply", str(self.file), *options, code=code, **variables)

    def handlers(self, service: str) -> list[dict[str, Any]]:
        """Return the handlers of a service, with all their fields."""
        path = f"/api/v1/service/{service}/webhook/handler/?limit=100"
        return list(self.server.request("GET", path).json["objects"])

    def create(self, service: str, document: object) -> dict[str, Any]:
        """Create a handler through the API."""
        made = self.server.request("POST", f"/api/v1/service/{service}/webhook/handler/", document)
        assert made.status == 201, made
        return dict(made.json)


@pytest.fixture
def cli(live_server: LiveServer, tmp_path: Path) -> Applied:
    return Applied(live_server, tmp_path)


@pytest.fixture
def service(live_server: LiveServer) -> str:
    """The UUID and name of a service."""
    return str(live_server.create_service(f"applied-{uuid.uuid4()}")["uuid"])


def name_of(cli: Applied, service: str) -> str:
    return str(cli.server.service(service)["name"])


def fields(handler: dict[str, Any]) -> dict[str, Any]:
    """Return what a file can say of a handler."""
    return {name: handler[name] for name in ("name", "operation", *FIELDS)}


def test_a_file_is_applied_once_and_then_there_is_nothing_to_do(cli: Applied, service: str) -> None:
    text = FILE.format(service=name_of(cli, service))
    planned, _ = cli.apply(text, "--check", code=1, CI_SECRET="s3cret")
    assert "2 handlers to add, 0 to change, 0 to remove, 0 unchanged." in planned
    assert cli.handlers(service) == []

    done, warned = cli.apply(text, "--yes", CI_SECRET="s3cret")
    ci, grow = cli.handlers(service)
    assert (ci["verify"], ci["filter"]["branch"]) == ({"preset": "github", "secrets_set": 1}, "main")
    assert (grow["operation"], grow["max_containers"]) == ("SCALEUP", 10)
    assert "webhook-handler show" in done
    assert "'grow it' --url" in done
    for secret in (ci["uuid"], grow["uuid"], "s3cret"):  # the URL of a handler is a password, and logs of CI are read
        assert secret not in planned + done + warned

    again, _ = cli.apply(text, "--yes", CI_SECRET="s3cret")
    assert "Nothing to do: 2 handlers as the file says." in again
    assert cli.apply(text, "--check", CI_SECRET="s3cret") == (again, "")
    assert [each["uuid"] for each in cli.handlers(service)] == [ci["uuid"], grow["uuid"]]


def test_each_changed_field_is_shown_and_changed_and_a_missing_one_is_reset(cli: Applied, service: str) -> None:
    text = FILE.format(service=name_of(cli, service))
    cli.apply(text, "--yes", CI_SECRET="s3cret")
    [ci, _] = cli.handlers(service)
    changed = text.replace('["refs/heads/main"]', '["main", "v*"]').replace(
        'allow_from = ["192.0.2.7", "10.0.0.0/8"]', ""
    )
    planned, _ = cli.apply(changed, "--check", code=1, CI_SECRET="other")
    assert "filter: branch main → branch main, v*" in planned
    assert "allow_from: 192.0.2.7/32, 10.0.0.0/8 → -" in planned
    assert "verify: other secrets" in planned
    assert "expires" not in planned
    assert "1 to change, 0 to remove, 1 unchanged" in planned
    cli.apply(changed, "--yes", CI_SECRET="other")
    assert cli.handlers(service)[0]["allow_from"] is None
    assert cli.handlers(service)[0]["uuid"] == ci["uuid"]
    assert "Nothing to do" in cli.apply(changed, "--check", CI_SECRET="other")[0]
    cli.apply(changed, "--check", code=1, CI_SECRET="s3cret")


def test_only_prune_removes_and_only_in_services_of_the_file(cli: Applied, service: str) -> None:
    other = str(cli.server.create_service(f"unnamed-{uuid.uuid4()}")["uuid"])
    for owner in (service, other):
        cli.create(owner, {"name": "old"})
    nameless = cli.create(service, {})
    text = FILE.format(service=name_of(cli, service))
    done, _ = cli.apply(text, "--yes", CI_SECRET="x")
    assert f"Not in the file; --prune removes: old, {nameless['uuid'][:8]}… (without a name)" in done
    assert "rename it first" in done
    assert len(cli.handlers(service)) == 4
    cli.apply(text, "--check", CI_SECRET="x")
    assert "2 to remove" in cli.apply(text, "--check", "--prune", code=1, CI_SECRET="x")[0]
    assert [each["name"] for each in cli.handlers(other)] == ["old"]
    both = text + f'[[service]]\nname = "{name_of(cli, other)}"\n[[service.handler]]\nname = "new"\n'
    done, _ = cli.apply(both, "--yes", "--prune", CI_SECRET="x")
    assert "- old  REDEPLOY, active, never called" in done
    assert nameless["uuid"] not in done
    assert done.index("added new of") < done.index("removed old of")  # removals come last
    assert [each["name"] for each in cli.handlers(service)] == ["ci", "grow it"]
    assert [each["name"] for each in cli.handlers(other)] == ["new"]


def test_what_somebody_disabled_stays_disabled_unless_the_file_enables_it(cli: Applied, service: str) -> None:
    text = FILE.format(service=name_of(cli, service))
    cli.apply(text, "--yes", CI_SECRET="x")
    path = f"/api/v1/service/{service}/webhook/handler/{cli.handlers(service)[0]['uuid']}/"
    assert cli.server.request("PATCH", path, {"enabled": False}).status == 200
    done, _ = cli.apply(text, "--yes", CI_SECRET="x")
    assert "ci is disabled and stays so" in done
    assert cli.handlers(service)[0]["enabled"] is False
    done, _ = cli.apply(text.replace('name = "ci"', 'name = "ci"\nenabled = true'), "--yes", CI_SECRET="x")
    assert "enabled: no → yes" in done
    assert cli.handlers(service)[0]["enabled"] is True


def test_everything_that_is_wrong_is_told_before_anything_is_done(cli: Applied, service: str) -> None:
    cli.create(service, {"name": "twice"})
    cli.create(service, {"name": "twice"})
    cli.create(service, {"name": "grown", "operation": "SCALEUP"})
    name = name_of(cli, service)
    text = f"""
[[service]]
name = "{name[:-1]}"

[[service]]
name = "{name}"
engine = "swarm"

[[service]]
name = "{name}"

[[service.handler]]
name = "fine"

[[service.handler]]
name = "twice"

[[service.handler]]
name = "grown"

[[service.handler]]
name = "expression"
filter = "body.ref == "

[[service.handler]]
name = "slow"
debounce = nan
"""
    _, told = cli.apply(text, "--yes", code=2)
    assert f"handlers.toml:2: {name[:-1]}: there is no service {name[:-1]}" in told
    assert f"did you mean {name}?" in told
    assert f"there is no service {name} on the engine swarm that this user may see: it is on local" in told
    assert re.search(rf":15: twice of .*2 handlers of this name: .*: tutum webhook-handler list {name}\n", told)
    assert re.search(r":18: grown of .*operation is SCALEUP", told)
    assert re.search(r":21: expression of .*filter", told)
    assert re.search(r":25: slow of .*debounce must be a whole number from 0 to 3600, got 'NaN'", told)
    assert told.endswith("nothing was changed\n")
    assert len(cli.handlers(service)) == 3


def test_the_name_of_a_container_names_no_service(cli: Applied, console: Console) -> None:
    name = f"contained-{uuid.uuid4()}"
    cli.server.run_service(name)
    assert json.loads(console("service", "inspect", f"{name}-1"))["name"] == name
    _, told = cli.apply(FILE.format(service=f"{name}-1"), "--yes", code=2, CI_SECRET="x")
    assert f"did you mean {name}?" in told


@pytest.mark.slow
def test_a_locale_without_utf_8_ends_no_run_in_the_middle(cli: Applied, service: str) -> None:
    text = FILE.format(service=name_of(cli, service)).replace("verify", "# verify")
    cli.file.write_text(text.replace("grow it", "größer"), encoding="utf-8")
    ascii_only = {"LC_ALL": "C", "PYTHONCOERCECLOCALE": "0", "PYTHONUTF8": "0", "PYTHONIOENCODING": ""}

    def run_tutum(*arguments: str) -> str:
        environment = cli.server.client_environment | ascii_only
        command = [str(BIN / "tutum"), *arguments]
        done = subprocess.run(command, env=environment, capture_output=True, timeout=LIMIT_S, check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout.decode()

    assert "added größer of " in run_tutum("apply", str(cli.file), "--yes")
    cli.file.write_text(run_tutum("export", service), encoding="utf-8")
    assert "Nothing to do: 2 handlers" in run_tutum("apply", str(cli.file), "--check")


def test_a_member_applies_to_own_services_only(cli: Applied, service: str) -> None:
    member = add_member(cli.server, f"member-{uuid.uuid4()}")
    text = FILE.format(service=name_of(cli, service)).replace("verify", "# verify")
    cli.file.write_text(text)
    client = tutum.Client(user=member.name, apikey=member.key, base_url=f"{cli.server.url}/api/v1/")
    with mock.patch.object(tutum, "default_client", client), redirect_stderr(io.StringIO()) as err:
        with pytest.raises(SystemExit):
            run(["apply", str(cli.file), "--yes"])
        with redirect_stdout(io.StringIO()) as out, pytest.raises(SystemExit):
            run(["export"])
    client.close()
    assert "that this user may see" in err.getvalue()
    assert "[[service" not in out.getvalue()
    assert cli.handlers(service) == []


def test_a_plan_of_a_handler_checks_and_changes_nothing(cli: Applied, service: str) -> None:
    base = f"/api/v1/service/{service}/webhook/handler/"
    made = cli.create(service, {"name": "one", "verify": {"preset": "github", "secrets": ["a"]}})
    before = cli.handlers(service)

    def changes(document: object) -> Any:
        answer = cli.server.request("POST", f"{base}{made['uuid']}/plan/", document)
        assert answer.status == 200, answer
        return answer.json["changes"]

    assert changes({"verify": {"preset": "github", "secrets": "a"}, "debounce": 0}) == {}
    assert changes({"verify": {"preset": "github"}}) == {}
    assert list(changes({"verify": {"preset": "github", "secrets": ["b"]}})) == ["verify"]
    assert changes({"name": "two", "pass_body": True}) == {"name": "two", "pass_body": "TUTUM_TRIGGER_BODY"}
    for document in ({"filter": "=="}, {"operation": "SCALEUP"}, {"nam": 1}):
        assert cli.server.request("POST", f"{base}{made['uuid']}/plan/", document).status == 400
    planned = cli.server.request("POST", f"{base}plan/", [{"name": "x", "debounce": 5}, {"operation": "scaleup"}])
    assert planned.status == 200
    assert planned.json == [
        {"name": "x", "operation": "REDEPLOY", "changes": {"debounce": 5}},
        {"name": None, "operation": "SCALEUP", "changes": {}},
    ]
    assert cli.server.request("POST", f"{base}plan/", {"debounce": -1}).status == 400
    unknown = base.replace(service, str(uuid.uuid4()))
    assert cli.server.request("POST", f"{unknown}plan/", {}).status == 404
    assert cli.handlers(service) == before


def test_commands_refuse_a_second_handler_of_the_same_name(cli: Applied, service: str) -> None:
    (first,) = cli.run("webhook-handler", "create", service, "--name", "ci", "-q")[0].split()
    for arguments in (("create", service, "-n", "ci"), ("create", service, "-n", "new", "-n", "ci")):
        out, told = cli.run("webhook-handler", *arguments, code=3)
        assert out == ""
        assert f"has a webhook handler ci already ({first[:8]} REDEPLOY ci, created " in told
        assert first not in told
    assert "--name b is given twice" in cli.run("webhook-handler", "create", service, "-n", "b", "-n", "b", code=3)[1]
    cli.run("webhook-handler", "create", service, "-n", "other")
    assert (
        "has a webhook handler ci already"
        in cli.run("webhook-handler", "set", service, "other", "--name", "ci", code=3)[1]
    )
    assert cli.run("webhook-handler", "set", service, "ci", "--name", "ci", "--disable")[1] == ""
    assert sorted(each["name"] for each in cli.handlers(service)) == ["ci", "other"]
    cli.create(service, {"name": "ci"})  # as clients of 2015 do
    for command in ("show", "call", "rotate"):
        told = cli.run("webhook-handler", command, service, "ci", code=3)[1]
        assert "2 webhook handlers match 'ci'" in told and f"  {first[:8]}  REDEPLOY ci, created " in told
    assert first[:8] not in cli.run("webhook-handler", "show", service, first[:8])[1]


def test_the_file_of_the_guide_is_applied_and_exported_again(cli: Applied, service: str) -> None:
    example, groups, target, _ = re.findall(r"```toml\n(.*?)```", GUIDE, re.DOTALL)
    variables: dict[str, Any] = {"ONCALL_URL": "https://example.com/", "ONCALL_SECRET": f"whsec_{'A' * 32}"}
    variables |= {"SHOP_WEB_CI_SECRET": "x", "IMAGES_TOKEN": "t0ken" * 5}
    database = str(cli.server.create_service(f"db-{uuid.uuid4()}")["name"])
    all_of_it = (example + target + groups).replace("shop/web", name_of(cli, service)).replace("shop/db", database)
    done = cli.apply(all_of_it, "--yes", **variables)[0]
    assert "added the notification target oncall" in done
    assert "added the webhook group shop\n" in done
    assert "Nothing to do" in cli.apply(all_of_it, "--check", **variables)[0]
    cli.run("webhook-group", "rm", "shop", "images")
    exported, _ = cli.run("export", service)
    body = exported[exported.index("[[service]]") :].replace(name_of(cli, service), "shop/web")
    assert re.sub(r"APPLIED_\w+_CI_SECRET", "SHOP_WEB_CI_SECRET", body) == example


@pytest.fixture(scope="module")
def empty_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveServer]:
    with LiveServer(tmp_path_factory.mktemp("empty"), "--engine", "local") as started:
        yield started


@pytest.mark.slow
@settings(max_examples=30, derandomize=True, deadline=None, suppress_health_check=list(HealthCheck))
@given(documents=st.lists(handlers(), min_size=1, max_size=4, unique_by=lambda document: document["name"]))
def test_an_exported_file_changes_nothing_here_and_makes_the_same_elsewhere(
    live_server: LiveServer,
    empty_server: LiveServer,
    tmp_path_factory: pytest.TempPathFactory,
    documents: list[dict[str, Any]],
) -> None:
    folder = tmp_path_factory.mktemp("exported")
    here, there = Applied(live_server, folder), Applied(empty_server, folder)
    name = f"exported-{uuid.uuid4()}"
    service = str(live_server.create_service(name)["uuid"])
    secrets: list[str] = []
    for document in documents:
        here.create(service, document)
        secrets += document.get("verify", {}).get("secrets", [])
    text, told = here.run("export", name)
    assert not any(secret in text for secret in secrets if len(secret) > 12)
    variables = dict(zip(re.findall(r"^#   (\w+)$", text, re.MULTILINE), secrets, strict=True))
    assert all(variable in told for variable in variables)
    assert "Nothing to do" in here.apply(text, "--check", "--prune", **variables)[0], json.dumps(documents)

    twin = str(empty_server.create_service(name)["uuid"])
    there.apply(text, "--yes", **variables)
    assert list(map(fields, there.handlers(twin))) == list(map(fields, here.handlers(service)))
    assert "Nothing to do" in there.apply(text, "--check", "--prune", **variables)[0]
