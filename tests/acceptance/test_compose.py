"""The quickstart for Docker, word for word, and what `deploy/compose` promises: boundaries, upgrades under calls."""

import json
import re
import shlex
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support import guards, namespace, program_image, tutumd_image
from tests.support.docker_bed import ANONYMOUS, DockerBed
from tests.support.documentation import blocks, commands
from tests.support.waiting import wait_until

pytestmark = [pytest.mark.slow, pytest.mark.docker, pytest.mark.timeout(1800)]

PAGE = "docs/quickstart/docker.md"
NAME = "ghcr.io/tutumd/tutumd:0.1.0"
REPOSITORY = f"{ANONYMOUS}/tutumd"
PARTS = ("caddy", "web", "worker", "notifier", "socket")
UPGRADE = (
    "docker compose restart socket && docker compose up -d --pull always --no-deps --wait web"
    " && docker compose up -d --no-deps worker notifier"
)


class Host:
    """The bed as somebody sees it who sits at a shell of that host, in the folder `tutumd`."""

    def __init__(self, bed: DockerBed, folder: Path) -> None:
        self.bed = bed
        self.folder = folder / "tutumd"
        # No registry of the tests has what these names stand for with the digest of a release.
        names = {f"{name.partition(':')[0].upper()}_IMAGE": name for name in program_image.NAMES}
        self.environment = bed.environment | names | {"DOCKER_SOCKET": bed.url.removeprefix("unix://")}

    def shell(self, script: str, cwd: Path | None = None, timeout_s: float = 600) -> str:
        """Run a script and return what it prints. Its network is the host's, and an error ends it."""
        done = subprocess.run(
            [*namespace.enter(self.bed.name), "bash", "-euc", script],
            cwd=cwd or self.folder,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=timeout_s,
            check=False,
        )
        assert done.returncode == 0, f"{script}: {done.stdout}{done.stderr}"
        return done.stdout.strip()

    def tutum(self, command: str) -> str:
        return self.shell(f"docker compose exec -T web tutum {command}")

    def get(self, path: str, key: str) -> dict[str, Any]:
        """Return an object of the API, asked for through Caddy."""
        login = shlex.quote(f"Authorization: ApiKey admin:{key}")
        return dict(json.loads(self.shell(f"curl -sSf --cacert root.crt -H {login} https://localhost{path}")))


@pytest.fixture(scope="module")
def quickstart() -> list[str]:
    """The commands of the page, up to where its reader uses it in earnest."""
    text = Path(PAGE).read_text(encoding="utf-8")
    end = text[: text.index("\n## ")].count("\n")
    return [command.text for command in commands(PAGE) if command.line <= end]


@pytest.fixture(scope="module")
def host(docker_bed: DockerBed, tmp_path_factory: pytest.TempPathFactory, quickstart: list[str]) -> Iterator[Host]:
    """A host on which somebody has followed the quickstart; `answer` is what the last command printed."""
    for part in ("image", "caddy", "haproxy"):
        guards.require_part(part)
    folder = tmp_path_factory.mktemp("compose")
    docker_bed.docker("tag", tutumd_image.load_into(docker_bed), NAME)
    program_image.load_into(docker_bed)
    host = Host(docker_bed, folder)
    try:
        (folder / "answer").write_text(host.shell("\n".join(quickstart), cwd=folder))
        yield host
    finally:
        docker_bed.clean()


def test_eight_commands_lead_to_a_redeploy_through_https(host: Host, quickstart: list[str]) -> None:
    assert len(quickstart) <= 8
    answer = (host.folder.parent / "answer").read_text().splitlines()[-1]
    assert json.loads(answer)["state"] == "Success"


def test_every_service_can_be_redeployed_but_tutumd_itself(host: Host) -> None:
    listed = host.tutum("service ps")
    assert re.findall(r"^(\S+) +[0-9a-f]{8}-", listed, re.MULTILINE) == ["hello"]


def test_a_link_signs_in_to_the_dashboard_through_https(host: Host) -> None:
    link = host.shell("docker compose exec -T web tutumd login-link admin").splitlines()[-1]
    assert link.startswith("https://localhost/sign-in/link/")
    curl = "curl -sSf --cacert root.crt --cookie cookies --cookie-jar cookies"
    (token,) = re.findall(r'name="csrf" value="([^"]+)"', host.shell(f"{curl} {link}"))
    host.shell(f"{curl} --data csrf={token} {link}")
    assert "<h1>Services</h1>" in host.shell(f"{curl} https://localhost/services/")


def test_containers_may_do_no_more_than_they_need(host: Host) -> None:
    for part in PARTS:
        shown = host.bed.inspect("container", f"tutumd-{part}-1")
        config, limits = shown["Config"], shown["HostConfig"]
        assert isinstance(config, dict)
        assert isinstance(limits, dict)
        assert limits["ReadonlyRootfs"], part
        assert limits["CapDrop"] == ["ALL"], part
        added = {capability.removeprefix("CAP_") for capability in limits["CapAdd"] or ()}
        assert added == ({"NET_BIND_SERVICE"} if part == "caddy" else set()), part
        assert limits["SecurityOpt"] == ["no-new-privileges:true"], part
        assert limits["RestartPolicy"]["Name"] == "unless-stopped", part
        assert limits["LogConfig"]["Config"] == {"max-size": "10m", "max-file": "3"}, part
        if part in ("web", "worker", "notifier"):
            assert config["User"] == "10001:10001", part
        mounts = shown["Mounts"]
        assert isinstance(mounts, list)
        assert any("docker.sock" in mount["Destination"] for mount in mounts) == (part == "socket"), part


def test_doctor_finds_nothing_that_the_filter_refuses(host: Host) -> None:
    findings = json.loads(host.shell("docker compose exec -T worker tutumd doctor --json"))["findings"]
    of_engine = [finding for finding in findings if finding["subject"] == "engine docker"]
    assert {finding["level"] for finding in of_engine} == {"ok"}, of_engine
    refused = [line for line in host.shell("docker logs tutumd-socket-1").splitlines() if line.startswith("403")]
    assert refused == []
    of_web = json.loads(host.shell("docker compose exec -T web tutumd doctor --json"))["findings"]
    assert {finding["level"] for finding in of_web if finding["subject"] == "calls"} == {"ok"}, of_web


REACH = "import socket, sys; socket.create_connection((sys.argv[1], 2375), timeout=float(sys.argv[2]))"


def test_web_and_notifier_have_no_way_to_the_docker_socket(host: Host) -> None:
    networks = host.bed.inspect("container", "tutumd-socket-1")["NetworkSettings"]
    assert isinstance(networks, dict)
    address = networks["Networks"]["tutumd_engine"]["IPAddress"]
    reach = f"docker compose exec -T %s /opt/tutumd/bin/python -c {shlex.quote(REACH)} %s %s"
    host.shell(reach % ("worker", address, 60))
    for part in ("web", "notifier"):
        for target in ("socket", address):
            with pytest.raises(AssertionError, match=r"gaierror|TimeoutError|unreachable"):
                host.shell(reach % (part, target, 3))


def test_figures_stay_inside_and_callers_cannot_pretend_an_address(host: Host) -> None:
    key = host.shell("docker compose exec -T web tutumd apikey add admin --scope admin").splitlines()[-1]
    code = "curl -sS -o /dev/null -w '%{http_code}' --cacert root.crt https://localhost"
    assert host.shell(f"{code}/metrics") == "404"
    assert host.shell(f"{code}//metrics/") == "404"
    url = host.tutum("webhook-handler create --name address hello").splitlines()[-1]
    host.shell(f"curl -sSf --cacert root.crt -H 'X-Forwarded-For: 203.0.113.9' -X POST {url}")
    path = url.removeprefix("https://localhost").removesuffix("call/")
    (delivery,) = host.get(f"{path}delivery/", key)["objects"]
    assert delivery["ip"] not in ("203.0.113.9", "")


def test_an_upgrade_under_calls_loses_none_and_hands_running_actions_over(host: Host) -> None:
    assert UPGRADE in Path(PAGE).read_text(encoding="utf-8")
    bed = host.bed
    push(host, "first")
    (host.folder / ".env").write_text(f"IMAGE={REPOSITORY}:latest\n")
    host.shell("docker compose up -d --wait")
    url = host.tutum("webhook-handler create --name load hello").splitlines()[-1]
    push(host, "second")
    program = [sys.executable, "-m", "tests.support.https_callers", url, f"{host.folder}/root.crt", "8"]
    callers = subprocess.Popen(
        [*namespace.enter(bed.name), *program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    with callers, (host.folder / "worker.log").open("wb") as log:
        worker = subprocess.Popen(
            ["docker", "logs", "--follow", "tutumd-worker-1"], env=bed.environment, stdout=log, stderr=log
        )
        with worker:
            before = version(bed, "web")
            wait_until(lambda: "In progress" in host.tutum("action list"), "an action runs")
            host.shell(UPGRADE)
            assert version(bed, "web") != before
            host.shell("docker compose up -d --wait --no-recreate")
            calls_s = threading.Event()
            calls_s.wait(2)
            answers = json.loads(callers.communicate(timeout=240)[0])
            worker.wait(240)
    assert [(answer, seconds) for answer, seconds in answers if answer != 202] == []
    longest = max(seconds for _, seconds in answers)
    assert longest < 30, "as long as Caddy keeps a request"
    assert "action was released" in (host.folder / "worker.log").read_text()
    wait_until(lambda: not re.search("Pending|In progress", host.tutum("action list")), "all ended", timeout_s=240)
    assert "Failed" not in host.tutum("action list")
    # What the log of a container shows is no secret.
    logs = host.shell("docker compose logs")
    assert url.split("/handler/")[1].split("/")[0] not in logs
    print(f"longest answer through Caddy: {longest:.2f} s of {len(answers)} calls")


def test_a_server_moves_to_another_host_word_for_word_and_keeps_its_urls(host: Host) -> None:
    url = host.tutum("webhook-handler create --name moved hello").splitlines()[-1]
    leave, arrive = [block.text for block in blocks("docs/how-to/move-host.md") if "docker compose" in block.text]
    new = Host(host.bed, host.folder.parent / "new")
    shutil.copytree(host.folder, new.folder)
    new.environment |= {"COMPOSE_PROJECT_NAME": "moved"}
    host.shell(leave)
    shutil.move(host.folder / "tutumd.tar", new.folder)
    host.shell("docker compose down")  # its ports are those of the new host
    try:
        new.shell(arrive)
        new.shell("docker compose cp caddy:/data/caddy/pki/authorities/local/root.crt .")
        answer = new.shell(f"curl -sS --cacert root.crt -X POST '{url}?wait=60'")
        assert json.loads(answer)["state"] == "Success", answer
    finally:
        new.shell("docker compose down --volumes")
        host.shell("docker compose up -d --wait")


def test_an_uninstall_leaves_the_services_and_the_data(host: Host) -> None:
    host.shell("docker compose down")
    assert host.bed.docker("ps", "--format", "{{.Names}}") == "hello"
    assert "tutumd_data" in host.bed.docker("volume", "ls", "--quiet").split()
    host.shell("docker compose down --volumes")
    assert not [name for name in host.bed.docker("volume", "ls", "--quiet").split() if name.startswith("tutumd")]


def push(host: Host, label: str) -> None:
    """Push the image as a newer one to the registry of the bed; the engine itself keeps what it has."""
    host.bed.docker("build", "--tag", "to-push", "--label", f"test={label}", "-", stdin=f"FROM {NAME}\n".encode())
    previous = host.bed.run("image", "inspect", "--format", "{{.Id}}", f"{REPOSITORY}:latest").stdout.strip()
    host.bed.docker("tag", "to-push", f"{REPOSITORY}:latest")
    host.bed.docker("push", f"{REPOSITORY}:latest")
    if previous:
        host.bed.docker("tag", previous, f"{REPOSITORY}:latest")


def version(bed: DockerBed, part: str) -> str:
    return str(bed.inspect("container", f"tutumd-{part}-1")["Image"])
