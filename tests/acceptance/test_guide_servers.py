"""The servers that docs/how-to/replicas.md starts, the backups of docs/how-to/database.md, and more.

docs/how-to/doctor.md has a command, docs/reference/api.md and docs/how-to/ci.md have Python.
"""

import base64
import json
import os
import signal
import sys
import tarfile
import urllib.error
import urllib.request
from contextlib import suppress
from functools import partial
from pathlib import Path

import psutil
import pytest

from tests.acceptance.console import Console
from tests.acceptance.guide import Guide
from tests.support.docker_bed import DockerBed
from tests.support.documentation import blocks, commands_of
from tests.support.guards import require_programs
from tests.support.leaks import current_owner
from tests.support.postgres_bed import PostgresBed
from tests.support.processes import runs
from tests.support.programs import finished, start, without_settings
from tests.support.server import APIKEY, BIN, LIMIT_S, USER, LiveServer, free_port
from tests.support.waiting import wait_until


@pytest.mark.slow
def test_the_replicas_of_the_guide(docker_bed: DockerBed, postgres_bed: PostgresBed, tmp_path: Path) -> None:
    ports = {"8001": str(free_port()), "8002": str(free_port())}
    here = {
        "postgresql://tutumd:PASSWORD@db.example.com/tutumd": f"'{postgres_bed.new_database()}'",
        "TUTUMD_SECRET_KEY=...": f"TUTUMD_SECRET_KEY={base64.b64encode(os.urandom(32)).decode()}",
        **{f"--port {number}": f"--port {port}" for number, port in ports.items()},
    }
    servers = next(block for block in blocks("docs/how-to/replicas.md") if "tutumd web" in block.text)
    lines = [command.text for command in commands_of(servers)]
    script = "\n".join(f"{line.partition('#')[0]} &" if line.startswith("tutumd") else line for line in lines)
    for text, replacement in here.items():
        assert text in script
        script = script.replace(text, replacement)
    environment = without_settings(docker_bed.environment) | {"PATH": f"{BIN}:{os.environ['PATH']}"} | current_owner()
    shell = start(["sh", "-euc", f"{script}\nwait"], tmp_path / "output", env=environment, cwd=tmp_path)
    try:
        for port in ports.values():
            wait_until(partial(_is_ready, port), f"{port} is ready; {tmp_path}/output")
    finally:
        with suppress(ProcessLookupError):
            os.killpg(shell.pid, signal.SIGTERM)
        shell.wait(LIMIT_S)
        wait_until(lambda: not _is_running(shell.pid), "all processes have ended")


def _is_ready(port: str) -> bool:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/readyz", timeout=LIMIT_S) as response:
            return bool(json.load(response)["status"] == "ready")
    except (OSError, urllib.error.HTTPError):
        return False


def _is_running(group: int) -> bool:
    """Return whether a process of the group runs; whoever adopts orphans may never wait for them."""
    for process in psutil.process_iter():
        with suppress(ProcessLookupError):
            if os.getpgid(process.pid) == group and runs(process):
                return True
    return False


@pytest.mark.slow
def test_the_backups_of_the_guide(console: Console, postgres_bed: PostgresBed, tmp_path: Path) -> None:
    require_programs("pg_dump")
    environment = console.server.client_environment | {"TUTUMD_DATA_DIR": str(console.server.data)}
    url = postgres_bed.new_database()
    guide = Guide("docs/how-to/database.md", tmp_path, environment, {" URL": f" '{url}'"})
    guide.run("tutumd backup")
    guide.run("pg_dump")
    with tarfile.open(tmp_path / "backup.tar") as backup:
        assert {"tutumd.db", "secret.key"} <= set(backup.getnames())
    assert (tmp_path / "backup.dump").read_bytes().startswith(b"PGDMP")


def test_the_doctor_of_the_guide(tmp_path: Path) -> None:
    # A server of its own: the doctor reports what other tests have left on a shared one.
    with LiveServer(tmp_path, "--engine", "local") as server:
        environment = server.client_environment | {"TUTUMD_DATA_DIR": str(server.data)}
        environment |= {"TUTUMD_ENGINE": "local", "TUTUMD_PORT": str(server.port)}
        told = Guide("docs/how-to/doctor.md", tmp_path, environment, {}).run("tutumd doctor")
    assert " 0 wrong" in f" {told}" or "wrong " not in told
    assert "settings" in told


@pytest.mark.slow
def test_the_python_of_the_guides(console: Console, tmp_path: Path) -> None:
    service = console.server.run_service("sdk")
    handler = console.server.add_handler(service)
    [api], [ci] = (
        [block.text for block in blocks(page) if block.language == "python"]
        for page in ("docs/reference/api.md", "docs/how-to/ci.md")
    )
    program = api + ci
    here = {
        '"admin"': f'"{USER}"',
        '"…"': f'"{APIKEY}"',
        "https://hooks.example.com": console.server.url,
        "61a29874-9134-48f9-b460-f37d4bec4826": service,
        "7eaf7fff-882c-4f3d-9a8f-a22317ac00ce": handler,
    }
    for text, replacement in here.items():
        assert text in program
        program = program.replace(text, replacement)
    done = finished([sys.executable, "-c", f"{program}\nprint(called.outcome.state)"], cwd=tmp_path)
    assert (done.returncode, done.stdout) == (0, "Success\n"), done.stderr
