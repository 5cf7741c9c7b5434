"""What a process imports, and what it says if a package is not installed."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def run(program: str, folder: Path, **variables: str) -> "subprocess.CompletedProcess[str]":
    """Run a Python program in a folder."""
    environment = {"PATH": os.environ["PATH"], "HOME": str(folder), "PYTHONPATH": str(ROOT / "src"), **variables}
    return subprocess.run(
        [sys.executable, "-c", program],
        env=environment,
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@pytest.mark.parametrize(
    ("statement", "unused"),
    [
        ("import tutum, tutum.cli", ["tutum.client", "ssl", "httpx2", "rich", "typer"]),
        ("import tutumd.web.messages.sender_guide", ["tutum.client"]),
        ("import tutum.cli.services", ["httpx2", "rich"]),
        (
            "import tutumd.main, tutumd.main.engines, tutumd.main.serve, tutumd.main.http",
            ["kubernetes", "psycopg", "rich", "cryptography", "jwt", "sqlalchemy.dialects.postgresql"],
        ),
        (
            "import tutumd.main.work, tutumd.engines.docker.engine",
            ["rich", "pydantic", "sqlalchemy.dialects.postgresql", "tutumd.application", "tutumd.web"],
        ),
    ],
)
def test_what_is_not_needed_is_not_imported(statement: str, unused: list[str], tmp_path: Path) -> None:
    done = run(f"import sys; {statement}; print([name for name in {unused} if name in sys.modules])", tmp_path)
    assert done.stdout.splitlines()[-1:] == ["[]"], done


@pytest.mark.slow
@pytest.mark.parametrize(
    ("module", "setting"),
    [
        ("psycopg", "TUTUMD_DATABASE=postgresql://tutumd@db.example.com/tutumd"),
    ],
)
def test_the_server_says_it_in_one_line_and_makes_nothing(tmp_path: Path, module: str, setting: str) -> None:
    program = f"""
import sys
sys.modules["{module}"] = None
sys.argv = ["tutumd", "serve", "--port", "0"]
from tutumd.main import main
main()
"""
    name, _, value = setting.partition("=")
    done = run(program, tmp_path, **{name: value})
    assert (done.returncode, done.stdout) == (1, "")
    assert f"needs the package {module}, which is not installed: run {ROOT}/script/setup " in done.stderr
    assert "Traceback" not in done.stderr
    assert list(tmp_path.iterdir()) == []
