"""What a machine has made once is complete, made by one at a time, and survives a run that was killed."""

import subprocess
import sys
from functools import partial
from pathlib import Path

import pytest

from tests.support.machine_cache import made_once
from tests.support.waiting import wait_until


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    return tmp_path / "tutumd-tests"


def write(folder: Path) -> None:
    (folder / "file").write_text("made")


def fail(folder: Path) -> None:
    (folder / "half").touch()
    raise RuntimeError("no network")


def test_it_is_made_once() -> None:
    folder = made_once("thing", "1", write)
    assert (folder / "file").read_text() == "made"
    assert made_once("thing", "1", fail) == folder


def test_what_failed_is_made_again_and_leaves_nothing(cache: Path) -> None:
    with pytest.raises(RuntimeError, match="no network"):
        made_once("thing", "1", fail)
    assert [path.name for path in made_once("thing", "1", write).iterdir()] == ["file"]
    assert {path.name for path in cache.iterdir()} == {"thing-1", "thing.lock"}


def test_what_a_killed_run_left_is_removed(cache: Path) -> None:
    program = """
import time
from tests.support.machine_cache import made_once
made_once("thing", "1", lambda folder: ((folder / "half").touch(), time.sleep(600)))
"""
    with subprocess.Popen([sys.executable, "-c", program], cwd=Path(__file__).parents[2]) as other:
        wait_until(lambda: list(cache.glob(".thing-*/half")), "the other run is half done")
        other.kill()
    assert [path.name for path in made_once("thing", "1", write).iterdir()] == ["file"]
    assert {path.name for path in cache.iterdir()} == {"thing-1", "thing.lock"}


def is_later(touched: Path, than: Path) -> bool:
    touched.touch()
    return touched.stat().st_mtime > than.stat().st_mtime


def test_of_each_kind_the_newest_are_kept(cache: Path) -> None:
    for key in "12345":
        made = made_once("thing", key, write)
        wait_until(partial(is_later, cache / "thing.lock", made), "the clock of the file system goes on", pause_s=0.001)
    made_once("other", "1", write)
    assert {path.name for path in cache.glob("*-*")} == {"thing-3", "thing-4", "thing-5", "other-1"}
