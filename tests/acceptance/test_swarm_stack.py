"""The quickstart for Swarm, followed on a real one: HTTPS, a redeploy, and updates of itself under calls."""

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.support import guards, postgres_image, program_image, tutumd_image
from tests.support.docker_bed import ANONYMOUS, DockerBed
from tests.support.documentation import ROOT, blocks
from tests.support.namespace import spawn_in
from tests.support.server import BIN
from tests.support.waiting import wait_until
from tutumd.settings import environment_warnings

STACK = ROOT / "deploy" / "swarm"
PAGE = "docs/quickstart/swarm.md"
IMAGE = f"{ANONYMOUS}/tutumd"
LONGEST_S = 30.0
"""As long as Caddy keeps a request."""
TASKS = {"caddy": 1, "notifier": 1, "postgres": 1, "socket": 1, "web": 2, "worker": 2}

# Calls until the file is there, one after another, then prints how many there were, which failed, and the longest.
_CALLER = """
import json, os, ssl, sys, time, urllib.request
url, stop = sys.argv[1:]
context, calls, failed, longest = ssl.create_default_context(), 0, [], 0.0
while not os.path.exists(stop):
    begin = time.monotonic()
    try:
        request = urllib.request.Request(url, b'{"a": 1}', {"Content-Type": "application/json"})
        with urllib.request.urlopen(request, timeout=60, context=context) as response:
            response.read()
    except Exception as error:
        failed.append(repr(error))
    calls, longest = calls + 1, max(longest, time.monotonic() - begin)
    time.sleep(0.02)
print(json.dumps({"calls": calls, "failed": failed, "longest": longest}))
"""


class Machine:
    """A swarm on which the page was followed."""

    def __init__(self, bed: DockerBed, folder: Path) -> None:
        self.bed, self.folder = bed, folder
        names = {"caddyfile": "Caddyfile", "haproxy": "haproxy.cfg", "stack": "stack.yaml"}
        for name in names.values():
            (folder / name).write_bytes((STACK / name).read_bytes())
        self.environment = bed.environment | {
            "DOMAIN": "localhost",
            "CERTIFICATE": "local_certs",
            "IMAGE": IMAGE,
            # No registry of the tests has what these names stand for with the digest of a release.
            **{f"{name.partition(':')[0].upper()}_IMAGE": name for name in (*program_image.NAMES, postgres_image.NAME)},
            "DOCKER_SOCKET": f"{bed.folder}/docker.sock",
        }
        for heading in ("1. ", "2. ", "3. "):
            self.follow(heading)
        self.authority = bed.folder / "data/volumes/tutumd_certificates/_data/caddy/pki/authorities/local/root.crt"
        wait_until(self.is_ready, "the stack is ready", timeout_s=240, pause_s=1)

    def follow(self, heading: str) -> None:
        """Run the commands below a heading of the page."""
        text = (ROOT / PAGE).read_text(encoding="utf-8")
        first = text[: text.index(f"## {heading}")].count("\n")
        last = next((n for n, line in enumerate(text.splitlines()) if n > first and line.startswith("## ")), 10**6)
        for block in blocks(PAGE):
            if first < block.line <= last and block.language == "sh":
                script = re.sub(r"export DOMAIN=.*|git pull", "", block.text)
                done = subprocess.run(
                    ["sh", "-ec", script],
                    cwd=self.folder,
                    env=self.environment,
                    capture_output=True,
                    text=True,
                    check=False,
                )
                assert done.returncode == 0, done.stderr

    def is_ready(self) -> bool:
        listed = self.bed.docker("service", "ls", "--format", "{{.Name}} {{.Replicas}}").splitlines()
        if {f"tutumd_{name} {number}/{number}" for name, number in TASKS.items()} - set(listed):
            return False
        done = self.curl("https://localhost/readyz")
        return done.startswith("{") and json.loads(done)["status"] == "ready"

    def curl(self, *arguments: str) -> str:
        """Return what curl prints, without a failure where it cannot connect."""
        known = ("--silent", "--show-error", "--max-time", "60", "--cacert", str(self.authority))
        script = 'curl "$@" || true'
        return self.bed.in_namespace("sh", "-c", script, "sh", *known, *arguments, timeout_s=90)

    def tutum(self, *arguments: str) -> str:
        where = ("TUTUM_USER=admin", "TUTUM_BASE_URL=https://localhost/api/v1/", f"SSL_CERT_FILE={self.authority}")
        key = (self.folder / "admin-apikey").read_text().strip()
        command = ("env", f"HOME={self.folder}", *where, f"TUTUM_APIKEY={key}", str(BIN / "tutum"), *arguments)
        return self.bed.in_namespace(*command, timeout_s=120)

    def make_handler(self, name: str, service: str, *options: str) -> str:
        """Make a handler as the page does, and return its URL."""
        printed = self.tutum("webhook-handler", "create", "--name", name, *options, service)
        (url,) = re.findall(r"https://localhost/\S+/call/", printed)
        return str(url)

    def tasks(self, service: str) -> set[str]:
        listed = self.bed.docker("service", "ps", "--filter", "desired-state=running", "--quiet", service)
        return set(listed.split())

    def redeploy(self, url: str) -> dict[str, Any]:
        """Call a handler, and return its action when it has ended, whoever has to answer that."""
        called = json.loads(self.curl("--request", "POST", url))

        def ended() -> dict[str, Any] | None:
            seen = self.curl(f"https://localhost{called['status_url']}")
            action = dict(json.loads(seen)) if seen.startswith("{") else {}
            return action if action.get("state") in ("Success", "Failed", "Canceled") else None

        return wait_until(ended, f"the action ends; {called}", timeout_s=240, pause_s=0.5)


@pytest.fixture
def machine(clean_bed: DockerBed, tmp_path: Path) -> Iterator[Machine]:
    guards.require_part("image")
    program_image.load_into(clean_bed)
    postgres_image.load_into(clean_bed)
    clean_bed.docker("tag", tutumd_image.load_into(clean_bed), IMAGE)
    clean_bed.docker("push", IMAGE)
    made = Machine(clean_bed, tmp_path)
    yield made
    made.follow("Remove")


@pytest.mark.nightly
@pytest.mark.timeout(1800)
def test_a_stack_redeploys_services_and_itself_and_loses_no_call(
    machine: Machine, clean_bed: DockerBed, tmp_path: Path
) -> None:
    clean_bed.push("app", "v1")
    clean_bed.docker("service", "create", "--detach", "--name", "app", "--endpoint-mode", "dnsrr", f"{ANONYMOUS}/app")
    wait_until(lambda: "app" in machine.tutum("service", "ps"), "the service is seen", pause_s=1)
    clean_bed.push("app", "v2")
    assert machine.redeploy(machine.make_handler("ci", "app"))["state"] == "Success"

    (link,) = [block.text for block in blocks(PAGE) if "login-link" in block.text]
    command = subprocess.run(["sh", "-ec", link], env=machine.environment, capture_output=True, text=True, check=True)
    link = command.stdout.splitlines()[-1]
    assert link.startswith("https://localhost/sign-in/link/")
    assert "This link works once" in machine.curl(link)

    # A handler whose action does not begin, so that the calls are only stored.
    counted = machine.make_handler("counted", "app", "--set", "debounce=600")
    stop, output = tmp_path / "stop", tmp_path / "calls"
    environment = f"SSL_CERT_FILE={machine.authority}"
    caller = spawn_in(clean_bed.name, ["env", environment, sys.executable, "-c", _CALLER, counted, str(stop)], output)
    try:
        for name in ("web", "worker"):
            before = machine.tasks(f"tutumd_{name}")
            action = machine.redeploy(machine.make_handler(f"self-{name}", f"tutumd/{name}"))
            assert action["state"] == "Success", action
            after = machine.tasks(f"tutumd_{name}")
            assert len(after) == 2
            assert not before & after
    finally:
        stop.touch()
        caller.wait(280)
    seen = json.loads(output.read_text())
    assert seen["failed"] == []
    assert seen["longest"] <= LONGEST_S
    key = (machine.folder / "admin-apikey").read_text().strip()
    handler = machine.curl("--header", f"Authorization: ApiKey admin:{key}", counted.removesuffix("call/"))
    assert json.loads(handler)["calls"] >= seen["calls"] > 100
    refused = [line for line in clean_bed.docker("service", "logs", "tutumd_socket").splitlines() if " 403 " in line]
    assert refused == []


def test_a_stack_without_its_name_is_not_deployed() -> None:
    guards.require_part("docker")
    command = ["docker", "stack", "config", "--compose-file", str(STACK / "stack.yaml")]
    for domain, succeeds in (({}, False), ({"DOMAIN": "hooks.example.com"}, True)):
        environment = {"PATH": os.environ["PATH"]} | domain
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
        assert (done.returncode == 0) == succeeds, done.stderr
        assert ("export DOMAIN" in done.stderr) != succeeds


def test_the_stack_names_only_what_it_has() -> None:
    stack = yaml.safe_load((STACK / "stack.yaml").read_text(encoding="utf-8"))
    for name, service in stack["services"].items():
        assert set(service.get("networks", ())) <= stack["networks"].keys(), name
        secrets = service.get("secrets", [])
        assert set(secrets) <= stack["secrets"].keys(), name
        variables = service.get("environment", {})
        files = {value for variable, value in variables.items() if variable.endswith("_FILE")}
        assert files == {f"/run/secrets/{secret}" for secret in secrets}, name
        own = {variable for variable in variables if variable.startswith("TUTUMD_")}
        assert environment_warnings(own) == []
    for name in ("web", "worker", "notifier"):
        # Swarm ends what is unhealthy. A restart brings no database back.
        assert stack["services"][name]["healthcheck"] == {"test": ["CMD", "tutumd", "healthcheck", "--live"]}
    with_socket = {name for name, service in stack["services"].items() if "socket:" in str(service.get("volumes"))}
    assert with_socket == {"socket", "worker"}
