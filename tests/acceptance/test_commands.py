"""The commands of an operator, also while the server runs: users, keys, settings, and what they say about mistakes."""

import ctypes
import os
import re
import shlex
import signal
import stat
import subprocess
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


def _is_told(done: "subprocess.CompletedProcess[str]", text: str) -> None:
    assert done.returncode in (1, 2), done
    assert text in done.stderr, done
    assert "Traceback" not in done.stderr, done
    assert "p4ssw0rd" not in done.stderr
    assert done.stdout == "", done


@pytest.mark.slow
def test_a_mistake_is_told(tmp_path: Path) -> None:
    with Serving(tmp_path / "data", "--engine", "local", "--port", "0", TUTUMD_ADMIN_USER=USER) as server:
        server.wait_for("server is ready")

        def run(arguments: tuple[str, ...]) -> "subprocess.CompletedProcess[str]":
            return run_tutumd(tmp_path / ("new" if arguments[0] == "serve" else "data"), *arguments)

        for arguments, text in MISTAKES.items():
            _is_told(run(arguments), text)


class Serving:
    """`tutumd serve` with its two outputs, until it is left."""

    def __init__(self, data: Path, *options: str, **variables: str) -> None:
        self._data = data
        self._options = options
        self._variables = variables

    def __enter__(self) -> "Serving":
        self._data.parent.mkdir(parents=True, exist_ok=True)
        self._out, self._log = self._data.parent / "out.txt", self._data.parent / "log.txt"
        with self._out.open("wb") as out, self._log.open("wb") as log:
            self._process = subprocess.Popen(
                [str(BIN / "tutumd"), "serve", "--data-dir", str(self._data), *self._options],
                env={name: value for name, value in os.environ.items() if not name.startswith("TUTUM")}
                | self._variables,
                cwd=self._data.parent,
                stdout=out,
                stderr=log,
                start_new_session=True,
            )
        return self

    def __exit__(self, *_: object) -> None:
        self._process.send_signal(signal.SIGTERM)
        try:
            assert self._process.wait(LIMIT_S) in (0, -signal.SIGTERM)
        finally:
            self._process.kill()
            self._process.wait(LIMIT_S)

    def wait_for(self, text: str) -> None:
        wait_until(lambda: text in self.log or text in self.out or self._ended(), f"{text!r} is written")

    def _ended(self) -> bool:
        assert self._process.poll() is None, self.log
        return False

    @property
    def out(self) -> str:
        return self._out.read_text()

    @property
    def log(self) -> str:
        return self._log.read_text()


@pytest.mark.slow
def test_the_first_start_makes_an_admin_and_shows_the_key_once(tmp_path: Path) -> None:
    options = ("--engine", "local", "--port", "0")
    with Serving(tmp_path / "data", *options) as first:
        first.wait_for("server is ready")
        (key,) = KEY.findall(first.out)
        assert not KEY.search(first.log)
        (url,) = re.findall(r"http://127\.0\.0\.1:[1-9]\d+", first.log)
        assert first.out.endswith(f"Sign in with it at {url}/\n")
    with Serving(tmp_path / "data", *options) as second:
        second.wait_for("server is ready")
        assert second.out == ""
        (command,) = re.findall(r"For a new API key run: (.*)", second.log)
    done = subprocess.run(
        shlex.split(command), capture_output=True, text=True, timeout=LIMIT_S, check=True, cwd=tmp_path
    )
    assert KEY.fullmatch(done.stdout.splitlines()[-1])
    listed = run_tutumd(tmp_path / "data", "apikey", "list", "admin").stdout
    assert any(key.startswith(line.split("\t")[0]) for line in listed.splitlines())
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
