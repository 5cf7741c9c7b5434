"""Commands about backups, and what is in a data folder."""

import re
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

from tests.acceptance.console import run_tutumd
from tests.support import killed_program
from tests.support.programs import without_settings
from tests.support.server import BIN, LIMIT_S

Ran = subprocess.CompletedProcess[bytes]


def tutumd(*arguments: str | Path, stdin: bytes = b"") -> Ran:
    clean = without_settings()
    words = list(map(str, arguments))
    # A backup gives way to other processes from then on, and a server goes on.
    if words[0] in ("user", "restore") and not stdin:
        return run_tutumd(clean, *words)
    command = [str(BIN / "tutumd"), *words]
    return subprocess.run(command, input=stdin, capture_output=True, env=clean, timeout=LIMIT_S, check=False)


def says(done: Ran, pattern: str) -> None:
    """Assert that a command failed with one line."""
    text = done.stderr.decode()
    assert done.returncode == 1 and re.search(pattern, text), (done.returncode, text)
    assert "Traceback" not in text


def users(data: Path, name: str = "tutumd.db") -> list[str]:
    with closing(sqlite3.connect(data / name)) as database:
        return [name for (name,) in database.execute("SELECT name FROM users ORDER BY created")]


def run_killed(nth: int, folder: Path, *arguments: str | Path) -> int:
    command = [sys.executable, killed_program.__file__, str(nth), str(folder), *map(str, arguments)]
    return subprocess.run(command, capture_output=True, timeout=LIMIT_S, check=False).returncode
