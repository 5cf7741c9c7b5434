"""The Docker test bed."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.support import leftovers
from tests.support.docker_bed import ANONYMOUS, PRIVATE, DockerBed
from tests.support.images import Image
from tests.support.waiting import wait_until


def test_a_pushed_version_is_what_the_next_pull_brings(clean_bed: DockerBed) -> None:
    first = clean_bed.push("app", "v1")
    clean_bed.docker("run", "-d", "--name", "web", "-p", "8080:8080", f"{ANONYMOUS}/app")
    wait_until(lambda: clean_bed.fetch("127.0.0.1:8080") == "v1", "version v1 is served")
    second = clean_bed.push("app", "v2")
    assert first != second
    assert clean_bed.docker("run", "--rm", f"{ANONYMOUS}/app", "cat", "/version") == "v1"
    clean_bed.docker("pull", "-q", f"{ANONYMOUS}/app")
    assert clean_bed.docker("run", "--rm", f"{ANONYMOUS}/app", "cat", "/version") == "v2"


def test_pushing_leaves_no_trace_in_the_engine(clean_bed: DockerBed) -> None:
    def images() -> set[str]:
        return set(clean_bed.docker("image", "ls", "--all", "--digests").splitlines())

    before = images()
    clean_bed.push("app", Image(version="from elsewhere"))
    assert images() == before


def test_containers_end_at_once_on_sigterm(clean_bed: DockerBed) -> None:
    clean_bed.docker("run", "-d", "--name", "web", "app:v1")
    wait_until(lambda: "serving v1" in clean_bed.docker("logs", "web"), "it serves")
    clean_bed.docker("stop", "--time", "30", "web", timeout_s=10)
    assert clean_bed.docker("inspect", "--format", "{{.State.ExitCode}}", "web") == "0"


def test_the_broken_version_says_why_it_ends(clean_bed: DockerBed) -> None:
    done = clean_bed.run("run", "app:v3-broken")
    assert done.returncode == 3
    assert done.stderr == "fatal: v3-broken cannot start\n"


@pytest.mark.parametrize("version", ["healthy", "unhealthy"])
def test_a_version_has_the_health_of_its_name(clean_bed: DockerBed, version: str) -> None:
    clean_bed.docker("run", "-d", "--name", "web", f"app:{version}")
    show = ("inspect", "--format", "{{.State.Health.Status}}", "web")
    wait_until(lambda: clean_bed.docker(*show) == version, f"it is {version}")


def test_the_private_registry_wants_a_login(clean_bed: DockerBed) -> None:
    with pytest.raises(RuntimeError, match="no basic auth credentials"):
        clean_bed.push("secret", "v1", registry=PRIVATE)
    clean_bed.login()
    clean_bed.push("secret", "v1", registry=PRIVATE)
    clean_bed.docker("pull", f"{PRIVATE}/secret")


def test_compose_runs_against_the_bed(clean_bed: DockerBed, tmp_path: Path) -> None:
    (tmp_path / "compose.yaml").write_text("services: {web: {image: 'app:v1', scale: 2}}")
    clean_bed.compose(tmp_path, "up", "--detach")
    label = "label=com.docker.compose.service=web"
    assert len(clean_bed.docker("ps", "-q", "--filter", label).split()) == 2


def test_services_run_under_swarm(clean_bed: DockerBed) -> None:
    clean_bed.push("app", "v1")
    clean_bed.docker("service", "create", "--name", "web", "--endpoint-mode", "dnsrr", f"{ANONYMOUS}/app")
    assert "127.0.0.1:5000/app:latest" in clean_bed.docker("service", "ps", "web")


def test_containers_survive_the_death_of_the_engine(clean_bed: DockerBed) -> None:
    clean_bed.docker("run", "-d", "--name", "web", "--restart", "always", "app:v1")
    clean_bed.kill_engine()
    clean_bed.start_engine()
    wait_until(lambda: clean_bed.docker("ps", "--format", "{{.Names}}") == "web", "it runs")


def test_what_a_killed_run_left_is_removed_by_the_next(docker_bed: DockerBed) -> None:
    script = """
import os, sys
from tests.support.docker_bed import DockerBed
bed = DockerBed()
bed.start()
bed.docker("run", "-d", "app:v1")
print(bed.name, flush=True)
os.kill(os.getpid(), 9)
"""
    root = Path(__file__).parents[2]
    killed = subprocess.run(
        [sys.executable, "-c", script], cwd=root, capture_output=True, text=True, timeout=60, check=False
    )
    name = killed.stdout.strip()
    assert leftovers.processes(name), killed.stderr
    assert any(name in line for line in leftovers.remove_dead_beds())
    assert leftovers.traces(name) == []
    assert leftovers.traces(docker_bed.name) != []
