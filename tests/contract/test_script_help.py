"""`script/NAME --help` prints how to use the script, and does nothing else."""

import os
import subprocess
from pathlib import Path

import pytest

SCRIPTS = Path(__file__).parents[2] / "script"
# The others give `--help` to a program that has it.
NAMES = ("bench", "check", "generate", "image", "install-packages", "lock", "setup", "test", "vendor")


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("option", ["--help", "-h"])
def test_help_prints_the_head_of_the_script_and_runs_nothing(tmp_path: Path, name: str, option: str) -> None:
    called = tmp_path / "called"
    for program in ("apt-get", "uv", "npm", "python3"):
        (tmp_path / program).write_text(f'#!/bin/sh\necho {program} "$@" >> {called}\n')
        (tmp_path / program).chmod(0o755)
    environment = os.environ | {"PATH": f"{tmp_path}:{os.environ['PATH']}"}
    command = [str(SCRIPTS / name), "--quick", option] if name == "bench" else [str(SCRIPTS / name), option]
    done = subprocess.run(
        command, env=environment, cwd=tmp_path, capture_output=True, text=True, timeout=120, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert f"script/{name}" in done.stdout
    assert "#" not in done.stdout.partition("\n")[0]
    assert not called.exists()
