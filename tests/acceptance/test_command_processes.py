"""The `tutum` command in a process of its own, where no server can be reached."""

import os
import re
import subprocess
from pathlib import Path

import pytest

from tests.support.server import BIN

NOWHERE = "http://127.0.0.1:1"


def run_process(*arguments: str, home: Path, stdin: str = "", **environment: str) -> "subprocess.CompletedProcess[str]":
    """Run `tutum` with nothing from outside."""
    return subprocess.run(
        [BIN / "tutum", *arguments],
        input=stdin,
        capture_output=True,
        text=True,
        env={"PATH": os.environ["PATH"], "HOME": str(home), **environment},
        timeout=60,
        check=False,
    )


def test_an_unreachable_server_is_named_with_the_remedy(tmp_path: Path) -> None:
    done = run_process("service", "ps", home=tmp_path, TUTUM_REST_HOST=NOWHERE)
    assert done.returncode == 3
    assert re.fullmatch(r"tutum: cannot reach http://127\.0\.0\.1:1: .*refused.*TUTUM_REST_HOST.*\n", done.stderr)
    assert done.stdout == ""


def test_login_in_a_pipe_takes_the_server_as_an_option(tmp_path: Path) -> None:
    done = run_process("login", "--host", NOWHERE, home=tmp_path, stdin="bob\nkey\n")
    assert done.returncode == 3
    assert f"cannot reach {NOWHERE}" in done.stderr
    assert not (tmp_path / ".tutum").exists()


@pytest.mark.parametrize(
    ("line", "host"), [("tutum service redeploy w", NOWHERE), ("tutum webhook-handler show web d", "no URL")]
)
def test_completion_without_a_server_offers_and_says_nothing(tmp_path: Path, line: str, host: str) -> None:
    words = {"COMP_WORDS": line, "COMP_CWORD": str(len(line.split(" ")) - 1)}
    done = run_process(home=tmp_path, _TUTUM_COMPLETE="complete_bash", TUTUM_REST_HOST=host, **words)
    assert (done.returncode, done.stdout.split(), done.stderr) == (0, [], "")


def test_the_command_is_a_module_too(tmp_path: Path) -> None:
    done = subprocess.run(
        [BIN / "python", "-m", "tutum", "--version"], capture_output=True, text=True, timeout=60, check=False
    )
    assert (done.returncode, done.stdout) == (0, run_process("--version", home=tmp_path).stdout)
