"""The commands of an operator, also while the server runs: users, keys, settings, and what they say about mistakes."""

import ctypes
import json
import os
import re
import shlex
import signal
import stat
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest

from tests.acceptance.accounts import run_tutumd
from tests.support.programs import running
from tests.support.server import BIN, LIMIT_S, USER, LiveServer
from tests.support.waiting import wait_until

KEY = re.compile(r"tutumd_[0-9a-f]{40}")


MISTAKES: dict[tuple[str, ...], str] = {
    ("user", "add", USER): "already",
    ("user", "add", "a b"): "without space",
    ("apikey", "add", "nobody"): "tutumd user add nobody",
    ("apikey", "revoke", "nobody"): "tutumd apikey list",
    ("user", "list", "--data-dir", "no/such/folder"): "tutumd serve first",
    ("user", "list", "--database", "mysql://u:p4ssw0rd@h/d"): "sqlite:///PATH",
    ("serve", "--port", "many"): "--port",
    ("serve", "--port", "0", "--engine", "podman"): "'podman'",
    ("serve", "--public-url", "hooks.example.com"): "https://hooks.example.com",
    ("serve", "--colour", "blue"): "--colour",
}


@pytest.mark.slow
def test_a_mistake_is_told(tmp_path: Path) -> None:
    with serving(tmp_path, TUTUMD_ADMIN_USER=USER):
        for arguments, text in MISTAKES.items():
            done = run_tutumd(tmp_path / ("new" if arguments[0] == "serve" else "data"), *arguments)
            assert (done.returncode in (1, 2), done.stdout) == (True, ""), done
            assert text in done.stderr, done
            assert "Traceback" not in done.stderr and "p4ssw0rd" not in done.stderr, done


@contextmanager
def serving(folder: Path, **variables: str) -> Iterator[tuple[Path, Path]]:
    """Run `tutumd serve`; yield the files of its output and its log when it is ready."""
    output, log = folder / "out.txt", folder / "log.txt"
    command = [str(BIN / "tutumd"), "serve", "--data-dir", str(folder / "data"), "--engine", "local", "--port", "0"]
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("TUTUM")}
    with output.open("wb") as out, log.open("wb") as err:
        with running(command, env=inherited | variables, stdout=out, stderr=err) as process:
            wait_until(lambda: "server is ready" in log.read_text(), "the server is ready")
            yield output, log
        assert process.returncode in (0, -signal.SIGTERM)


@pytest.mark.slow
def test_the_first_start_makes_an_admin_and_shows_the_key_once(tmp_path: Path) -> None:
    with serving(tmp_path) as (output, log):
        (key,) = KEY.findall(output.read_text())
        assert not KEY.search(log.read_text())
        (url,) = re.findall(r"http://127\.0\.0\.1:[1-9]\d+", log.read_text())
        assert output.read_text().endswith(f"Sign in with it at {url}/\n")
    with serving(tmp_path) as (output, log):
        assert output.read_text() == ""
        (command,) = re.findall(r"For a new API key run: (.*)", log.read_text())
    done = subprocess.run(
        shlex.split(command), capture_output=True, text=True, timeout=LIMIT_S, check=True, cwd=tmp_path
    )
    assert KEY.fullmatch(done.stdout.splitlines()[-1])
    made = run_tutumd(tmp_path / "data", "apikey", "add", "admin", "--name", "ci").stdout.splitlines()[-1]
    heading, first, *_, last = run_tutumd(tmp_path / "data", "apikey", "ls", "admin").stdout.splitlines()
    assert heading.split() == ["KEY", "NAME", "USER", "SCOPE", "FOR", "EXPIRES", "LAST", "USED", "CREATED"]
    assert key.startswith(first.split()[0]) and first.split()[1:3] == ["admin", "admin"]
    assert last.split()[:6] == [made[:12], "ci", "admin", "call", "everything", "never"]
    told = json.loads(run_tutumd(tmp_path / "data", "apikey", "list", "--json").stdout)
    assert [(each["hint"], each["name"]) for each in told[:: len(told) - 1]] == [(key[:12], ""), (made[:12], "ci")]
    assert [each["role"] for each in json.loads(run_tutumd(tmp_path / "data", "user", "ls", "--json").stdout)] == [
        "admin"
    ]
    assert (tmp_path / "data").stat().st_mode & 0o077 == 0


def test_the_demo_prints_lines_that_work_and_prints_them_again(tmp_path: Path) -> None:
    with LiveServer(tmp_path, "--engine", "local", "--demo") as demo:
        wait_until(lambda: "call/3/" in demo.log, "the demo is shown")
        shown = demo.log
        key = (demo.data / "demo-apikey").read_text().strip()
        assert stat.S_IMODE((demo.data / "demo-apikey").stat().st_mode) == 0o600
        assert f"user:    {USER}" in shown
        assert f"API key: {key}" in shown
        services = demo.request("GET", "/api/v1/service/", authorization=f"ApiKey {USER}:{key}").json["objects"]
        assert [(each["name"], each["running_num_containers"]) for each in services] == [("hello", 2)]
        lines = re.findall(r"^ +(curl -X POST (http\S+/call/))$", shown, re.MULTILINE)
        assert len(lines) == 2
        for _, url in lines:
            assert url.startswith(f"{demo.url}/api/v1/service/{services[0]['uuid']}/")
            called = demo.request("POST", url.removeprefix(demo.url), authorization=None)
            assert demo.wait_for_action(called.headers["x-tutum-action-uri"])["state"] == "Success"
        demo.wait_for_service(services[0]["uuid"], running_num_containers=3)
        demo.kill()
        first = (demo.folder / "server.log").stat().st_size
        demo.start()
        wait_until(lambda: "call/3/" in demo.log[first:], "the demo is shown again")
        again = demo.log[first:]
        for line in (key, *(line for line, _ in lines)):
            assert line in again
        demo.wait_for_service(services[0]["uuid"], running_num_containers=3)


@pytest.mark.slow
def test_a_worker_ends_whichever_of_its_threads_gets_the_signal(tmp_path: Path) -> None:
    log = tmp_path / "log.txt"
    command = [str(BIN / "tutumd"), "worker", "--engine", "local", "--data-dir", str(tmp_path / "data")]
    environment = {name: value for name, value in os.environ.items() if not name.startswith("TUTUM")}
    with log.open("wb") as file, running(command, env=environment, stdout=file, stderr=file) as worker:
        wait_until(lambda: "worker is ready" in log.read_text(), "the worker is ready")
        other = next(thread.id for thread in psutil.Process(worker.pid).threads() if thread.id != worker.pid)
        assert ctypes.CDLL(None).tgkill(worker.pid, other, signal.SIGTERM) == 0
        assert worker.wait(LIMIT_S) == 0
