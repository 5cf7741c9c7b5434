"""The clients that people had in 2015, byte for byte as they were published, against a live server.

`script/setup clients` installs them from their locks. The SDK of 0.12 runs on Python 3 as it is; the command line
client of 0.12 and the SDK of 0.21 need what `python2_names.py` restores of Python 2.
"""

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.spec.examples import Example, examples
from tests.support.guards import lacking
from tests.support.server import LIMIT_S, LiveServer
from tests.support.waiting import wait_until

ROOT = Path(__file__).parents[2]
CLIENTS = ROOT / ".venv-clients"
RESTORING = Path(__file__).with_name("python2_names.py")


class OldClient:
    """Programs of one release, run as the examples' user."""

    def __init__(self, server: LiveServer, release: str) -> None:
        self.environment = server.client_environment | {"PYTHONPATH": str(CLIENTS / release)}

    def python(self, text: str) -> str:
        """Run Python text that imports the SDK and return what it printed."""
        return self._run("-c", text)

    def tutum(self, *arguments: str) -> str:
        """Run the command line client and return what it printed."""
        return self._run(str(RESTORING), *arguments)

    def fail(self, *arguments: str) -> "subprocess.CompletedProcess[str]":
        """Run the command line client where it should fail, and return the finished process."""
        return self._finish(str(RESTORING), *arguments)

    def _run(self, *arguments: str) -> str:
        done = self._finish(*arguments)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def _finish(self, *arguments: str) -> "subprocess.CompletedProcess[str]":
        # Their own warnings about today's Python are not this project's.
        return subprocess.run(
            [str(CLIENTS / "bin" / "python"), "-W", "ignore", *arguments],
            env=self.environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=LIMIT_S,
            check=False,
        )


@pytest.fixture(scope="session")
def installed() -> None:
    if not list(CLIENTS.glob("installed-clients")):
        lacking("the clients of 2015 are not installed: script/setup clients")


@pytest.fixture
def old(live_server: LiveServer, installed: None) -> OldClient:
    return OldClient(live_server, "0.12")


@pytest.fixture(scope="session")
def service(live_server: LiveServer) -> str:
    return live_server.run_service("from-2015", containers=1)


@pytest.fixture
def handler(live_server: LiveServer, service: str) -> Iterator[str]:
    path = f"/api/v1/service/{service}/webhook/handler/"
    yield live_server.add_handler(service, "old-hook")
    for each in live_server.request("GET", path + "?limit=100").json["objects"]:
        live_server.request("DELETE", each["resource_uri"])


def handlers(server: LiveServer, service: str) -> dict[str, str]:
    """Return the names of a service's handlers by UUID."""
    listed = server.request("GET", f"/api/v1/service/{service}/webhook/handler/").json["objects"]
    return {each["uuid"]: each["name"] for each in listed}


def last_action(server: LiveServer) -> str:
    return str(server.request("GET", "/api/v1/action/?limit=1").json["objects"][0]["resource_uri"])


@pytest.mark.parametrize("example", [each for each in examples() if each.language == "python"], ids=str)
def test_the_sdk_runs_the_examples(old: OldClient, service: str, handler: str, example: Example) -> None:
    old.python(example.about(service, handler))


@pytest.mark.slow
def test_the_sdk_creates_calls_and_deletes(old: OldClient, live_server: LiveServer, service: str, handler: str) -> None:
    hooks = f"import tutum; hooks = tutum.WebhookHandler.fetch(tutum.Service.fetch('{service}'))"
    assert "True" in old.python(f"{hooks}; hooks.add(['a', 'b']); print(hooks.save())")
    assert sorted(handlers(live_server, service).values()) == ["a", "b", "old-hook"]
    assert "True" in old.python(f"{hooks}; print(hooks.call('{handler}'))")
    assert live_server.wait_for_action(last_action(live_server))["state"] == "Success"
    assert "True" in old.python(f"{hooks}; print(hooks.delete('{handler}'))")
    assert sorted(handlers(live_server, service).values()) == ["a", "b"]


def test_the_sdk_pages_through_a_long_list(old: OldClient, live_server: LiveServer, service: str, handler: str) -> None:
    for number in range(30):
        live_server.add_handler(service, f"hook-{number}")
    listing = f"import tutum; print(len(tutum.WebhookHandler.fetch(tutum.Service.fetch('{service}')).list()))"
    assert old.python(listing) == "31\n"


def test_the_sdk_tells_a_wrong_key_from_other_errors(old: OldClient) -> None:
    old.environment["TUTUM_APIKEY"] = "wrong"
    text = """
import tutum
try:
    tutum.Service.list()
except tutum.TutumAuthError as error:
    print("refused", error)
"""
    assert old.python(text) == "refused Not authorized\n"


@pytest.mark.slow
def test_the_cli_lists_creates_and_removes_handlers(
    old: OldClient, live_server: LiveServer, service: str, handler: str
) -> None:
    assert old.tutum("webhook-handler", "list", service).split()[-3:] == [service, "old-hook", handler]
    assert old.tutum("webhook-handler", "list", "--quiet", "from-2015").split() == [handler]
    assert old.tutum("webhook-handler", "create", "--name", "mywebhook_name", service[:8]).strip() == service
    old.tutum("webhook-handler", "create", "from-2015")
    made = handlers(live_server, service)
    del made[handler]
    assert sorted(made.values(), key=str)[-1] == "mywebhook_name"
    assert len(made) == 2
    by_name = next(uuid for uuid, name in made.items() if name == "mywebhook_name")
    assert old.tutum("webhook-handler", "rm", service, "mywebhook_name").split() == [by_name]
    assert old.tutum("webhook-handler", "rm", service, handler[:12]).split() == [handler]
    assert len(handlers(live_server, service)) == 1


def test_removing_an_unknown_handler_removes_none(
    old: OldClient, live_server: LiveServer, service: str, handler: str
) -> None:
    done = old.fail("webhook-handler", "rm", service, "no-such-hook")
    assert done.returncode == 3
    assert list(handlers(live_server, service)) == [handler]


def test_the_cli_leads_a_service_through_its_life(old: OldClient, live_server: LiveServer) -> None:
    run = ("service", "run", "--name", "life", "--run-command", "sleep 600", "-t", "2", "-e", "A=b", "some/image")
    uuid = old.tutum(*run).strip()
    live_server.wait_for_service(uuid, state="Running", running_num_containers=2)

    shown = json.loads(old.tutum("service", "inspect", "life"))
    assert (shown["uuid"], shown["current_num_containers"]) == (uuid, 2)
    assert uuid in old.tutum("service", "ps", "--quiet", "--status", "Running").split()
    assert uuid not in old.tutum("service", "ps", "--quiet", "--status", "Stopped").split()
    table = old.tutum("service", "ps")
    assert any({"life", uuid[:8], "2"} <= set(line.split()) for line in table.splitlines()), table

    before = live_server.service(uuid)["containers"]
    assert old.tutum("service", "redeploy", uuid).strip() == uuid
    live_server.wait_for_action(last_action(live_server))
    after = live_server.service(uuid)["containers"]
    assert len(after) == 2
    assert not set(before) & set(after)

    assert old.tutum("service", "scale", uuid, "3").strip() == uuid
    live_server.wait_for_service(uuid, target_num_containers=3, running_num_containers=3)
    assert old.tutum("service", "stop", uuid).strip() == uuid
    live_server.wait_for_service(uuid, state="Stopped", running_num_containers=0)
    assert old.tutum("service", "start", uuid).strip() == uuid
    live_server.wait_for_service(uuid, state="Running", running_num_containers=3)
    old.tutum("service", "logs", uuid)
    assert old.tutum("service", "terminate", uuid).strip() == uuid
    wait_until(
        lambda: uuid not in old.tutum("service", "ps", "--quiet", "--status", "Running").split(), "it is terminated"
    )


def test_the_cli_names_what_it_cannot_find(old: OldClient) -> None:
    done = old.fail("service", "inspect", "no-such-service")
    assert done.returncode == 3
    assert "Cannot find a service with the identifier 'no-such-service'" in done.stderr


def test_the_sdk_of_0_21_reads_and_redeploys_services_with_basic_credentials(
    live_server: LiveServer, installed: None, service: str
) -> None:
    newer = OldClient(live_server, "0.21")
    text = f"""
import sys
sys.path.insert(0, {str(RESTORING.parent)!r})
import python2_names
python2_names.restore()
import tutum
assert "{service}" in [each.uuid for each in tutum.Service.list()]
found = tutum.Service.fetch("{service}")
print(found.redeploy(), found.tutum_action_uri)
"""
    done, uri = newer.python(text).split()
    assert done == "True"
    assert live_server.wait_for_action(uri)["state"] == "Success"
