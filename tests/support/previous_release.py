"""The release before this one, d238f91: its code from the repository's history, in a process of its own."""

import io
import json
import os
import subprocess
import sys
import tarfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.support import guards

COMMIT = "d238f91"
ROOT = Path(__file__).parents[2]
_PROGRAM = Path(__file__).with_name("previous_release_program.py")


def extract(folder: Path) -> Path:
    """Write the source of that release to a folder, and return the folder of its packages."""
    command = ["git", "-C", str(ROOT), "archive", COMMIT, "src"]
    done = subprocess.run(command, capture_output=True, check=False)
    if done.returncode:
        guards.lacking(f"this test needs the history of the repository, with the commit {COMMIT}: a full clone")
    with tarfile.open(fileobj=io.BytesIO(done.stdout)) as archive:
        archive.extractall(folder, filter="data")
    return folder / "src"


class PreviousRelease:
    """An edge and a worker of that release on a database."""

    def __init__(self, process: "subprocess.Popen[str]") -> None:
        self._process = process

    def __call__(self, name: str, *arguments: object) -> Any:
        """Call a method of the program, and return what it returns."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps([name, arguments]) + "\n")
        self._process.stdin.flush()
        return json.loads(self._process.stdout.readline())


@contextmanager
def previous_release(source: Path, url: str) -> Iterator[PreviousRelease]:
    """Run the program on a database. `source` is what `extract` returned."""
    environment = {**os.environ, "PYTHONPATH": str(source)}
    process = subprocess.Popen(
        [sys.executable, str(_PROGRAM), url],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env=environment,
        cwd=source,
    )
    try:
        yield PreviousRelease(process)
    finally:
        process.communicate(timeout=120)
