"""`script/setup` installs what was asked for, and keeps it."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.wheelhouse import wheels

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]

ROOT = Path(__file__).parents[2]
HERE = f"{sys.version_info.major}.{sys.version_info.minor}"
FIND = "from importlib.util import find_spec; print(*[m for m in ('docker', 'kubernetes', 'psycopg') if find_spec(m)])"


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, tmp_path)
    for name in ("requirements", "script", "src"):
        shutil.copytree(ROOT / name, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__"))
    return tmp_path


def run(checkout: Path, *command: str) -> "subprocess.CompletedProcess[str]":
    locked = {
        "PIP_NO_INDEX": "1",
        "PIP_FIND_LINKS": str(wheels(HERE, "all", "build")),
        "PIP_CONFIG_FILE": os.devnull,
        "PIP_NO_COMPILE": "1",
    }
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(("TUTUM", "PIP_"))}
    return subprocess.run(
        command, cwd=checkout, env=inherited | locked, capture_output=True, text=True, timeout=900, check=False
    )


def installed(checkout: Path) -> list[str]:
    return run(checkout, ".venv/bin/python", "-c", FIND).stdout.split()


@pytest.mark.nightly
def test_an_extra_is_installed_by_the_command_that_the_server_prints_and_stays(checkout: Path) -> None:
    refused = run(checkout, "script/server", "--engine", "kubernetes", "--port", "0")
    assert installed(checkout) == ["docker"]
    told = refused.stderr.splitlines()[-1]
    assert told.startswith("tutumd: the engine kubernetes needs the package ")
    command = told.rpartition(": run ")[2]
    assert command == f"{checkout}/script/setup kubernetes"

    done = run(checkout, "sh", "-c", command)
    assert (done.returncode, installed(checkout)) == (0, ["docker", "kubernetes"])
    assert "found no cluster" in run(checkout, "script/server", "--engine", "kubernetes", "--port", "0").stderr

    (checkout / ".venv/incomplete").touch()
    assert run(checkout, "script/setup").stderr.endswith("installing into .venv: server kubernetes\n")
    assert run(checkout, "script/setup").stderr == ""
    assert installed(checkout) == ["docker", "kubernetes"]
