"""The commands of README.md and of the guides, run as they stand there against a real server.

Pages: README.md, docs/how-to/docker.md, docs/how-to/from-portainer.md,
docs/how-to/from-watchtower.md, docs/how-to/local.md, docs/how-to/senders.md, docs/how-to/senders-pollers.md,
docs/how-to/users.md, docs/quickstart/demo.md, docs/reference/cli.md. `tests/unit/docs/blocks.toml` says what runs the
others.
"""

import json
import re
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.acceptance.console import Console
from tests.acceptance.guide import Guide
from tests.support.docker_bed import ANONYMOUS, DockerBed
from tests.support.documentation import ROOT, blocks, commands
from tests.support.guards import require_programs
from tests.support.leaks import current_owner
from tests.support.programs import running, without_settings
from tests.support.server import APIKEY, LIMIT_S, USER, LiveServer, free_port
from tests.support.waiting import wait_until

EXAMPLE = "https://hooks.example.com/api/v1/service/S/webhook/handler/H/call/"


@pytest.fixture
def web(console: Console) -> Iterator[str]:
    """The UUID of a running service `web`, which the pages' examples call."""
    uuid = console.server.run_service("web")
    yield uuid
    console("service", "terminate", "web", "--wait")


def url_of(console: Console, handler: str, service: str = "web") -> str:
    return console.hook("show", service, handler, "--url").strip()


@pytest.mark.slow
def test_readme_calls_both_operations(console: Console, web: str, tmp_path: Path) -> None:
    require_programs("curl")
    console.hook("create", "web", "-n", "redeploy")
    console.hook("create", "web", "-n", "more", "-o", "SCALEUP")
    replace = {f"{EXAMPLE}3/": f"{url_of(console, 'more')}3/", EXAMPLE: url_of(console, "redeploy")}
    readme = Guide("README.md", tmp_path, console.server.client_environment, replace)
    readme.run("curl -X POST https://hooks")
    console.server.wait_for_service(web, state="Running", running_num_containers=4)


def test_readme_tells_how_a_failure_looks(console: Console, breakable: tuple[str, Path], tmp_path: Path) -> None:
    require_programs("curl")
    service, broken = breakable
    console.hook("create", service, "-n", "readme", "--show-log")
    url = url_of(console, "readme", service)
    environment = console.server.client_environment | {"TUTUM_URL": url}
    readme = Guide("README.md", tmp_path, environment, {"curl -sS": "set +e; curl -sS"})
    shown = readme.block("curl -sS").text
    broken.touch()
    try:
        lines = readme.run("curl -sS").splitlines()
    finally:
        broken.unlink()
        console.hook("rm", service, "readme")
    told = re.findall(r'"(\w+)":', shown)
    assert told == ["state", "reason", "log_tail", "containers_before", "containers_after"]
    body, exit_code, error = json.loads(lines[0]), *lines[1:]
    assert body["state"] == "Failed"
    assert body.keys() >= set(told)
    assert sorted([exit_code, error]) == sorted(shown.splitlines()[-2:])


@pytest.mark.slow
def test_the_quickstart_of_the_demo(tmp_path: Path) -> None:
    require_programs("curl")
    port = str(free_port())
    page = "docs/quickstart/demo.md"
    demo, readme = ([each.text for each in commands(of)] for of in (page, "README.md"))
    assert set(demo[:2]) <= set(readme)
    with script_server(tmp_path, page, "git clone", port) as output:
        text = wait_until(
            lambda: "call/3/" in output.read_text() and output.read_text(), "the demo says how to call it"
        )
        calls = re.findall(r"curl -X POST \S+", text)
        for call in calls:
            subprocess.run(["sh", "-ec", call], check=True, capture_output=True, timeout=LIMIT_S)
        assert len(calls) == 2
        environment = without_settings()
        environment |= {"TUTUM_BASE_URL": f"http://127.0.0.1:{port}/api/v1/", "HOME": str(tmp_path)}
        here = {"cd tutumd\n": "", "data/demo-apikey": f"{tmp_path}/data/demo-apikey"}
        guide = Guide(page, ROOT, environment, here)
        assert "Success" in guide.run("cd tutumd\n")
        key = (tmp_path / "data/demo-apikey").read_text()
        guide.run(".venv/bin/tutum service terminate", TUTUM_USER="admin", TUTUM_APIKEY=key)


@pytest.mark.slow
def test_the_readme_s_first_steps(console: Console, web: str, tmp_path: Path) -> None:
    environment = console.server.client_environment
    del environment["TUTUM_USER"], environment["TUTUM_APIKEY"]
    told = Guide("README.md", tmp_path, environment, {}).run("tutum login", stdin=f"{USER}\n{APIKEY}\n")
    assert url_of(console, "ci") in told


@contextmanager
def script_server(folder: Path, page: str, begins: str, port: str, **variables: str) -> Iterator[Path]:
    """Run the `script/server` of a block that begins with a clone, in this checkout; yield the file of its output."""
    output = folder / "output"
    environment = without_settings()
    environment |= {"TUTUMD_PORT": port, "TUTUMD_DATA_DIR": str(folder / "data")} | variables | current_owner()
    clone, server = Guide(page, folder, {}, {}).block(begins).text.splitlines()[:2]
    assert clone.endswith("tutumd && cd tutumd")
    command = ["sh", "-ec", f"exec {server}"]
    with output.open("wb") as file, running(command, cwd=ROOT, env=environment, stdout=file, stderr=file) as process:
        yield output
    assert process.returncode == 0


@pytest.mark.slow
def test_a_service_of_the_guide_for_docker(clean_bed: DockerBed, server: LiveServer, tmp_path: Path) -> None:
    require_programs("curl")
    clean_bed.push("app", "v1")
    clean_bed.docker("run", "-d", "--name", "web", f"{ANONYMOUS}/app")
    uuid = server.find("web", running_num_containers=1)["uuid"]
    clean_bed.push("app", "v2")
    guide = Guide("docs/how-to/docker.md", tmp_path, server.client_environment, {"THE-URL": '"$URL"'})
    printed = guide.block("tutum service ps").text.splitlines()
    assert printed[2].startswith("curl")  # needs the URL that the line before prints
    tutum = Console(server)
    assert "web" in tutum("service", "ps")
    url = re.findall(r"http://\S+", tutum(*printed[1].partition("#")[0].split()[1:]))[0]
    subprocess.run(["sh", "-euc", printed[2].replace("THE-URL", url)], check=True, capture_output=True, timeout=LIMIT_S)
    action = wait_until(lambda: json.loads(tutum("action", "list", "--json")), "there is an action")[0]
    assert server.wait_for_action(action["resource_uri"])["state"] == "Success"
    assert clean_bed.inspect("container", "web")["Image"] == clean_bed.inspect("image", "app:v2")["Id"]
    tutum.hook("rm", uuid, "ci")


@pytest.mark.slow
def test_moving_from_portainer_and_from_watchtower(clean_bed: DockerBed, server: LiveServer, tmp_path: Path) -> None:
    clean_bed.push("app", "v1")
    service = f"{{image: '{ANONYMOUS}/app', stop_grace_period: 0s}}"
    folder = clean_bed.up(tmp_path, f"services: {{web: {service}, worker: {service}}}\n")
    found = [server.find(name, stack="shop", running_num_containers=1)["uuid"] for name in ("web", "worker")]
    tutum = Console(server)
    for page, handlers in (
        ("docs/how-to/from-portainer.md", ["ci", "stack"]),
        ("docs/how-to/from-watchtower.md", ["push"]),
    ):
        guide = Guide(page, tmp_path, server.client_environment, {})
        for block in blocks(page):
            told = guide.run(block.text.splitlines()[0])
            assert not block.text.startswith("tutum service ps") or "shop/web" in told
        assert [each["name"] for each in json.loads(tutum.hook("list", found[0], "--json"))][
            -len(handlers) :
        ] == handlers
    assert [each["name"] for each in json.loads(tutum.hook("list", found[1], "--json"))] == ["stack"]
    clean_bed.compose(folder, "down")


@pytest.mark.slow
def test_a_command_as_a_service(console: Console, tmp_path: Path) -> None:
    program = tmp_path / "worker.sh"
    program.write_text("#!/bin/sh\nexec sleep 600\n")
    program.chmod(0o755)
    guide = Guide(
        "docs/how-to/local.md", tmp_path, console.server.client_environment, {"/srv/app/worker.sh": str(program)}
    )
    guide.run("tutum service run")
    assert console.server.find("worker", running_num_containers=2)["state"] == "Running"
    console("service", "terminate", "worker", "--wait")


@pytest.mark.slow
def test_users_and_keys(console: Console, tmp_path: Path) -> None:
    environment = console.server.client_environment | {"TUTUMD_DATA_DIR": str(console.server.data)}
    names = {"apikey add admin": f"apikey add {USER}", "login-link admin": f"login-link {USER}"}
    page = Guide("docs/how-to/users.md", tmp_path, environment, names)
    told = page.run("tutumd apikey add admin --scope admin")
    assert "bob" in told
    assert console.server.request("GET", "/api/v1/auth/").status == 200
    page.run("tutumd apikey add admin --scope read")
    scopes = {each["scope"] for each in console.server.request("GET", "/api/v1/apikey/").json["objects"]}
    assert scopes >= {"read", "call", "operate", "admin"}
    assert "https://hooks.example.com/sign-in/link/" in page.run("tutumd login-link admin")
    assert "login link made" in page.run("tutumd audit")


@pytest.mark.slow
def test_the_guide_for_senders(console: Console, web: str, tmp_path: Path) -> None:
    require_programs("curl")
    (tmp_path / "both.txt").write_text("the new secret\nthe old secret\n")
    guide = Guide("docs/how-to/senders.md", tmp_path, console.server.client_environment, {})
    told = guide.run("tutum webhook-handler create web -n ci  ")
    assert url_of(console, "ci") in told
    console.hook("create", "web", "-n", "github", "--verify", "github", "--secret-file", "-", stdin="the old secret")
    guide.run("tutum webhook-handler set web github --secret-file")
    assert console.shown("web", "github")["verify"]["secrets_set"] == 2
    guide.run("tutum webhook-handler create web -n script")
    called = guide.run('curl -sS --fail-with-body -X POST "$TUTUM_URL?wait=300"', TUTUM_URL=url_of(console, "script"))
    assert json.loads(called)["state"] == "Success"


@pytest.mark.slow
def test_the_script_for_diun_calls_the_handler_of_the_image(console: Console, web: str, tmp_path: Path) -> None:
    require_programs("wget")
    [script] = [each.text for each in blocks("docs/how-to/senders-pollers.md") if each.text.startswith("#!/bin/sh")]
    program = tmp_path / "call.sh"
    program.write_text(script)
    console.hook("create", "web", "-n", "diun")
    (tmp_path / "docker.io_library_app_latest.url").write_text(url_of(console, "diun"))

    def run(image: str, status: str) -> int:
        environment = console.server.client_environment | {"DIUN_ENTRY_IMAGE": image, "DIUN_ENTRY_STATUS": status}
        return subprocess.run(
            ["sh", program], env=environment, timeout=LIMIT_S, check=False, capture_output=True
        ).returncode

    assert run("docker.io/library/app:latest", "new") == 0
    assert json.loads(console.hook("deliveries", "web", "diun", "--json")) == []
    assert run("docker.io/library/other:latest", "update") != 0
    assert run("docker.io/library/app:latest", "update") == 0
    assert len(json.loads(console.hook("deliveries", "web", "diun", "--json"))) == 1


@pytest.mark.slow
def test_a_secret_from_a_pipe(console: Console, web: str, tmp_path: Path) -> None:
    environment = console.server.client_environment | {"HOOK_SECRET": "s3cret"}
    Guide("docs/reference/cli.md", tmp_path, environment, {}).run("printenv HOOK_SECRET")
    assert console.shown("web", "ci")["verify"]["preset"] == "github"
