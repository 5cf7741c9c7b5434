"""The image, run as it is meant to run: read-only, without privileges, as a user who is not root, on a volume."""

import json
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support import guards, namespace, tutumd_image
from tests.support.docker_bed import DockerBed
from tests.support.documentation import commands
from tests.support.postgres_bed import PostgresBed
from tests.support.server import BIN
from tests.support.waiting import wait_until

pytestmark = [pytest.mark.slow, pytest.mark.docker]

ROOT = Path(__file__).parents[2]
HARDENED = ("--read-only", "--cap-drop", "ALL", "--security-opt", "no-new-privileges", "--volume", "data:/data")
QUICK = ("--health-interval", "1s", "--health-retries", "2", "--health-start-period", "120s")
READ_VERSIONS = (
    "import importlib.metadata as m, json; print(json.dumps({d.name: d.version for d in m.distributions()}))"
)


@pytest.fixture(scope="module")
def image(docker_bed: DockerBed) -> Iterator[str]:
    """The tag of the loaded image."""
    guards.require_part("image")
    yield tutumd_image.load_into(docker_bed)
    docker_bed.clean()


@pytest.fixture
def bed(docker_bed: DockerBed, image: str) -> Iterator[DockerBed]:
    """The engine with the image, for one test. Afterwards its containers and volumes are removed."""
    yield docker_bed
    if containers := docker_bed.docker("ps", "--all", "--quiet").split():
        docker_bed.docker("rm", "--force", "--volumes", *containers)
    if volumes := docker_bed.docker("volume", "ls", "--quiet").split():
        docker_bed.docker("volume", "rm", *volumes)


def start(bed: DockerBed, name: str, *options: str, command: tuple[str, ...] = ()) -> None:
    bed.docker("run", "--detach", "--name", name, *HARDENED, *QUICK, *options, tutumd_image.TAG, *command)


def health(bed: DockerBed, name: str) -> str:
    """Return the state and what the last check printed; the logs where the container has ended."""
    state = json.loads(bed.docker("inspect", "--format", "{{json .State}}", name))
    assert state["Running"], bed.run("logs", name)
    last = state["Health"]["Log"][-1:] or [{"Output": ""}]
    return f"{state['Health']['Status']}: {last[0]['Output'].strip()}"


def wait_for_health(bed: DockerBed, name: str, begin: str, timeout_s: float = 240) -> None:
    wait_until(lambda: health(bed, name).startswith(begin), f"{name} is {begin!r}", timeout_s=timeout_s)


def as_documented(bed: DockerBed, image: str, *options: str) -> None:
    """Run the `docker run` of the page about installing, on the socket of this engine."""
    shown = next(each.text for each in commands("docs/how-to/install.md") if each.text.startswith("docker run "))
    bed.docker("tag", image, shown.split()[-1])
    command = shown.replace("/var/run/docker.sock:", f"{bed.folder}/docker.sock:")
    command = command.replace("-c %g /var/run/docker.sock", f"-c %g {bed.folder}/docker.sock")
    done = subprocess.run(
        ["sh", "-c", command.replace("docker run", f"docker run {' '.join(options)}")],
        env=bed.environment,
        capture_output=True,
        text=True,
        timeout=280,
        check=False,
    )
    assert done.returncode == 0, done.stderr


def tutum(bed: DockerBed, *arguments: str) -> str:
    """Run the command line in the engine's network, as the first admin of the server that is published there."""
    key = re.search(r"API key: (\S+)", bed.docker("logs", "tutumd"))
    assert key is not None
    account = ("TUTUM_REST_HOST=http://127.0.0.1:8000", "TUTUM_USER=admin", f"TUTUM_APIKEY={key[1]}")
    return namespace.run_in(bed.name, ["env", *account, str(BIN / "tutum"), *arguments], timeout_s=240)


def test_it_redeploys_a_service_and_ends_in_order(bed: DockerBed, image: str) -> None:
    bed.docker("run", "--detach", "--name", "web", "app:v1")
    before = bed.docker("inspect", "--format", "{{.Id}}", "web")
    as_documented(bed, image, *QUICK)
    wait_for_health(bed, "tutumd", "healthy: ready")
    url = tutum(bed, "webhook-handler", "create", "--name", "ci", "web").split()[-1]
    call = f"import urllib.request as r; print(r.urlopen(r.Request('{url}?wait=240', method='POST')).read().decode())"
    assert json.loads(bed.in_namespace(sys.executable, "-c", call, timeout_s=280))["state"] == "Success"
    assert bed.docker("inspect", "--format", "{{.Id}}", "web") != before
    assert bed.docker("exec", "tutumd", "id", "-u").strip() == "10001"
    bed.docker("stop", "--time", "60", "tutumd")
    assert bed.docker("inspect", "--format", "{{.State.ExitCode}}", "tutumd") == "0"
    logs = bed.run("logs", "tutumd")
    assert "server is stopping" in logs.stdout + logs.stderr
    assert "Traceback" not in logs.stdout + logs.stderr


def test_web_and_worker_are_unhealthy_while_the_database_is_away(
    bed: DockerBed, image: str, postgres_bed: PostgresBed
) -> None:
    postgres_bed.folder.chmod(0o711)  # for the container's user, who reaches it by its socket
    options = (
        *("--env", f"TUTUMD_DATABASE={postgres_bed.new_database()}"),
        *("--volume", f"{postgres_bed.folder}:{postgres_bed.folder}"),
    )
    start(bed, "web", *options, command=("web",))
    wait_for_health(bed, "web", "healthy: degraded")  # no worker has been here
    start(bed, "worker", *options, "--env", "TUTUMD_ENGINE=local", command=("worker",))
    wait_for_health(bed, "worker", "healthy: ok")
    wait_for_health(bed, "web", "healthy: ready")
    postgres_bed.stop_server()
    try:
        wait_for_health(bed, "web", "unhealthy: tutumd: the server is unhealthy: the database cannot be used")
        lost = "unhealthy: tutumd: the worker is unhealthy: the database has not taken its heartbeat"
        wait_for_health(bed, "worker", lost)
    finally:
        postgres_bed.start_server()
    wait_for_health(bed, "web", "healthy: ready")
    wait_for_health(bed, "worker", "healthy: ok")


def test_a_folder_of_somebody_else_is_told_with_the_mend(bed: DockerBed, image: str, tmp_path: Path) -> None:
    done = bed.run("run", "--rm", "--read-only", "--volume", f"{tmp_path}:/data", image)
    assert done.returncode == 1
    told = "the data folder /data cannot be used: Permission denied; run chown -R 10001:10001 /data"
    assert told in done.stderr.splitlines()[-1]
    done = bed.run("run", "--rm", "--read-only", "--tmpfs", "/data:ro,uid=10001", image)
    assert "Read-only file system; mount a volume there" in done.stderr.splitlines()[-1]


def test_it_says_what_it_is(bed: DockerBed, image: str) -> None:
    config = bed.inspect("image", image)["Config"]
    assert isinstance(config, dict)
    version = bed.docker("run", "--rm", image, "--version").split()[-1]
    assert config["Labels"]["org.opencontainers.image.version"] == version
    assert (
        config["Labels"]["org.opencontainers.image.licenses"]
        == tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["license"]
    )
    assert config["User"] == "10001:10001"
    assert config["Volumes"] == {"/data": {}}
    assert config["ExposedPorts"] == {"8000/tcp": {}}
    assert (config["Entrypoint"], config["Cmd"]) == (["tutumd"], ["serve"])
    assert config["Healthcheck"]["Test"] == ["CMD", "tutumd", "healthcheck"]


def test_the_list_of_its_packages_is_what_is_in_it(bed: DockerBed, image: str) -> None:
    listed = json.loads((tutumd_image.built(bed) / "image.cdx.json").read_text())
    named = {component["name"]: component["version"] for component in listed["components"]}
    main = listed["metadata"]["component"]
    installed = json.loads(
        bed.docker("run", "--rm", "--entrypoint", "/opt/tutumd/bin/python3", image, "-c", READ_VERSIONS)
    )
    assert {**named, main["name"]: main["version"]} == installed
    locked = set(
        re.findall(r"^([a-z0-9-]+)(?:\[.*?\])?==(\S+)", (ROOT / "requirements/all.lock").read_text(), re.MULTILINE)
    )
    normal = {(re.sub(r"[-_.]+", "-", name).lower(), version) for name, version in named.items()}
    assert normal <= locked
