"""What the guard of unit tests refuses."""

import os
import socket
import sqlite3
import subprocess
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest

from tests.support.guards import UnitGuard

GUARD = UnitGuard()


@pytest.mark.parametrize(
    "act",
    [
        lambda: socket.create_connection(("127.0.0.1", 1)),
        lambda: socket.create_server(("127.0.0.1", 0)),
        lambda: subprocess.run(["true"], check=True),
        lambda: sqlite3.connect(":memory:"),
        lambda: Path("written-by-a-test").touch(),
        lambda: Path("written-by-a-test").write_text(""),
    ],
    ids=["connect", "listen", "process", "database", "touch", "write"],
)
def test_input_and_output_fail_a_unit_test_that_survives_them(act: Callable[[], object], tmp_path: Path) -> None:
    failed = pytest.raises(pytest.fail.Exception, match="a unit test has no input or output")
    with failed, GUARD.watch(tmp_path), suppress(OSError):
        act()
    assert not Path("written-by-a-test").exists()


def test_files_of_the_test_and_reading_are_allowed(tmp_path: Path) -> None:
    with GUARD.watch(tmp_path):
        (tmp_path / "file").write_text("text")
        Path(__file__).read_text(encoding="utf-8")
        with open(os.devnull, "w") as nothing:
            nothing.write("text")
