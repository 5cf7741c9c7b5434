"""The check for leftovers finds what a test left behind, ends it, and blames nobody else."""

import os
import subprocess
import sys
import threading
from pathlib import Path

from tests.support.leaks import LeakCheck, end_processes

SLEEP = [sys.executable, "-c", "import time; time.sleep(1000)"]


def test_a_process_is_blamed_on_its_test_and_ended() -> None:
    check = LeakCheck(end_s=0.5)
    with check.test("first"):
        left = subprocess.Popen(SLEEP)
    assert check.end_leftovers_of_test("second", None) == []
    (line,) = check.end_leftovers_of_test("first", None)
    assert str(left.pid) in line
    assert left.returncode is not None
    assert check.end_leftovers_of_test("first", None) == []


def test_a_process_of_a_wider_fixture_is_not_blamed_on_the_test() -> None:
    check = LeakCheck(end_s=0.5)
    with check.test("test"):
        with check.fixture("fixture"):
            left = subprocess.Popen(SLEEP)
        assert check.end_leftovers_of_test("test", None) == []
    assert str(left.pid) in end_processes("fixture")[0]


def test_a_process_that_works_in_the_folder_of_the_test_is_ended(tmp_path: Path) -> None:
    left = subprocess.Popen(SLEEP, cwd=tmp_path, env={})
    assert str(left.pid) in end_processes(folder=tmp_path)[0]


def test_a_thread_is_blamed_once() -> None:
    check = LeakCheck(end_s=0.5)
    stop = threading.Event()
    with check.test("test"):
        thread = threading.Thread(target=stop.wait, name="left")
        thread.start()
    try:
        assert check.end_leftovers_of_test("test", None) == ["thread left"]
        assert check.end_leftovers_of_test("test", None) == []
    finally:
        stop.set()
        thread.join()


def test_the_owner_before_a_test_is_the_owner_after_it() -> None:
    before = dict(os.environ)
    with LeakCheck().test("test"):
        assert dict(os.environ) != before
    assert dict(os.environ) == before
