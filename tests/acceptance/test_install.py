"""The wheel, installed by pipx, uv and pip without a checkout, from the locked versions of what it needs."""

import os
import re
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

from tests.support.server import BIN, LiveServer
from tests.support.waiting import wait_until
from tests.support.wheelhouse import build_wheel, wheels

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

HERE = f"{sys.version_info.major}.{sys.version_info.minor}"
LISTED = "import importlib.metadata as m; print(*sorted(d.name.lower().replace('_', '-') for d in m.distributions()))"
LOADED = "import sys, tutum.auth, tutum.cli.services; print(*sorted({name.partition('.')[0] for name in sys.modules}))"
TOOLS = {
    "pipx": (["pipx", "install"], "pipx install --force 'tutumd[kubernetes]'"),
    "uv": (["uv", "tool", "install"], "uv tool install 'tutumd[kubernetes]'"),
}


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_wheel(tmp_path_factory.mktemp("wheel"))


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    """An empty home, in which the tools install the locked versions without a network."""
    locked = str(wheels(HERE, "all", "build"))
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(("TUTUM", "PIP_", "UV_"))}
    return inherited | {
        "HOME": str(tmp_path),
        "PATH": f"{tmp_path}/.local/bin:{BIN}:{os.environ['PATH']}",
        "PIP_NO_INDEX": "1",
        "PIP_FIND_LINKS": locked,
        "PIP_CONFIG_FILE": os.devnull,
        "UV_NO_INDEX": "1",
        "UV_FIND_LINKS": locked,
        "UV_PYTHON": sys.executable,
        "PIPX_HOME": f"{tmp_path}/pipx",
        "PIPX_BIN_DIR": f"{tmp_path}/.local/bin",
    }


def run(environment: Mapping[str, str], *command: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        command, env=environment, cwd=environment["HOME"], capture_output=True, text=True, timeout=280, check=False
    )


def install(environment: Mapping[str, str], *command: str) -> None:
    done = run(environment, *command)
    assert done.returncode == 0, done.stderr


def packages(environment: Mapping[str, str], program: Path) -> set[str]:
    """Return the packages beside an installed program."""
    return set(run(environment, str(program.resolve().with_name("python")), "-c", LISTED).stdout.split())


@pytest.mark.parametrize("tool", TOOLS)
def test_the_server_of_a_wheel_takes_a_call(
    tool: str, wheel: Path, environment: dict[str, str], tmp_path: Path
) -> None:
    command, add_kubernetes = TOOLS[tool]
    install(environment, *command, f"{wheel}[server]")
    program = tmp_path / ".local/bin/tutumd"
    found = packages(environment, program)
    assert {"tutumd", "fastapi", "docker"} <= found
    assert not {"kubernetes", "psycopg", "hatchling"} & found

    with LiveServer(
        tmp_path, "--engine", "local", "--demo", environment=environment, command=(str(program),)
    ) as server:
        wait_until(lambda: "redeploy it:" in server.log, "the demo prints its URLs", timeout_s=240)
        path = re.search(r"curl -X POST http://[^/]+(/\S+)", server.log)
        assert path is not None
        assert server.post(f"{path[1]}?wait=120").json["state"] == "Success"

    done = run(environment, str(program), "serve", "--engine", "kubernetes", "--data-dir", "other", "--port", "0")
    assert f"which is not installed: run {add_kubernetes}" in done.stderr
    done = run(environment, str(program), "serve", "--database", "postgresql://tutumd@db.example.com/tutumd")
    assert f"which is not installed: run {add_kubernetes.replace('kubernetes', 'postgres')}" in done.stderr


def test_the_extras_of_a_wheel_are_there(wheel: Path, environment: dict[str, str], tmp_path: Path) -> None:
    install(environment, "uv", "tool", "install", f"{wheel}[kubernetes,postgres]")
    done = run(environment, "tutumd", "serve", "--engine", "kubernetes", "--port", "0")
    assert done.stderr.startswith("tutumd: the engine kubernetes found no cluster")
    assert {"psycopg", "psycopg-binary"} <= packages(environment, tmp_path / ".local/bin/tutumd")


def test_the_command_line_and_the_sdk_alone_bring_nothing_of_the_server(
    wheel: Path, environment: dict[str, str], tmp_path: Path
) -> None:
    install(environment, sys.executable, "-m", "venv", "--without-pip", f"{tmp_path}/env")
    python = str(tmp_path / "env/bin/python")
    install(environment, sys.executable, "-m", "pip", "--python", python, "install", str(wheel))
    server = {"fastapi", "starlette", "structlog", "sqlalchemy", "alembic", "docker", "uvicorn", "cryptography"}
    assert not server & set(run(environment, python, "-c", LISTED).stdout.split())
    assert not {*server, "tutumd"} & set(run(environment, python, "-c", LOADED).stdout.split())
    assert "webhook-handler" in run(environment, f"{tmp_path}/env/bin/tutum", "--help").stdout
    done = run(environment, f"{tmp_path}/env/bin/tutumd", "serve")
    assert (done.returncode, done.stdout) == (1, "")
    assert re.fullmatch(
        r"tutumd: the server needs the package \w+, which is not installed: run .*'tutumd\[server\]'\n", done.stderr
    )


def test_the_wheel_holds_the_packages_and_nothing_else(wheel: Path) -> None:
    listed = subprocess.run(
        [sys.executable, "-m", "zipfile", "--list", str(wheel)], capture_output=True, text=True, timeout=240, check=True
    ).stdout.splitlines()[1:]
    tops = {line.split()[0].partition("/")[0] for line in listed}
    assert tops == {"tutum", "tutumd", wheel.name.removesuffix("-py3-none-any.whl") + ".dist-info"}
    assert any(line.startswith("tutumd/store/tables/migrations/versions/v1_") for line in listed)
    assert any(line.startswith("tutum/handler_fields.json") for line in listed)
