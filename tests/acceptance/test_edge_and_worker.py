"""The two processes of `tutumd serve`: whichever is killed, stopped or ended, calls are kept and no orphan stays."""

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.support.leaks import end_processes
from tests.support.processes import is_zombie, runs
from tests.support.server import BIN, LIMIT_S, PATIENT, LiveServer, free_port, request
from tests.support.waiting import wait_until

NAMES_OF_MODULES = """
import atexit, sys
atexit.register(lambda: print("modules:", *sorted(sys.modules)))
from tutumd.main import main
main()
"""

KEEPER = """
import ctypes, os, subprocess, sys
ctypes.CDLL(None).prctl(36, 1)  # PR_SET_CHILD_SUBREAPER: it becomes the parent of orphans
edge = subprocess.Popen(sys.argv[1:], process_group=0)
try:
    while True:
        os.wait()
except ChildProcessError:
    pass
"""


@pytest.fixture
def server(tmp_path: Path) -> Iterator[LiveServer]:
    with LiveServer(tmp_path, "--engine", "local", command=PATIENT) as started:
        yield started


def readiness(server: LiveServer) -> dict[str, Any]:
    return dict(server.request("GET", "/readyz", authorization=None).json)


def wait_until_ready(server: LiveServer) -> None:
    wait_until(lambda: readiness(server)["status"] == "ready", "everything works")


def wait_until_replaced(server: LiveServer, former: psutil.Process) -> None:
    """Wait for another worker. Until the edge has noticed the end of the former one, it still says that it works."""
    wait_until(lambda: (worker := server.find_worker()) and worker.pid != former.pid, "there is another worker")
    wait_until_ready(server)


def is_gone(process: psutil.Process) -> bool:
    return not runs(process)


def begin_redeploy(server: LiveServer, name: str) -> tuple[str, str, Path]:
    """Let a redeploy wait for an old process; return the action, the service, and the file that lets it go on."""
    service, gate = server.run_gated_service(name)
    action = str(server.post(server.make_handler(service)["url"]).json["action"])
    wait_until(lambda: server.request("GET", action).json["state"] == "In progress", "the redeploy runs")
    return action, service, gate


def test_a_killed_worker_is_replaced_and_its_runs_go_on(server: LiveServer) -> None:
    action, service, gate = begin_redeploy(server, "killed")
    handler = server.make_handler(service)
    former = server.worker
    former.kill()
    assert server.post(handler["url"]).status == 202
    gate.touch()
    assert server.wait_for_action(action)["state"] == "Success"
    assert server.worker.pid != former.pid
    assert "was ended by signal 9; a new one starts" in server.log
    wait_until_ready(server)


@pytest.mark.slow
def test_a_worker_that_dies_again_and_again_is_told_and_calls_are_kept(server: LiveServer) -> None:
    handler = server.make_handler(server.run_service("kept"))
    assert readiness(server)["worker"] == "ok"
    killed: set[int] = set()

    def shows_a_pause() -> dict[str, Any] | None:
        if (worker := server.find_worker()) is not None and worker.pid not in killed:
            killed.add(worker.pid)
            worker.kill()
        shown = readiness(server)
        return shown if re.search(r"; a new one starts in (3|7|10) s", shown["worker"]) else None

    shown = wait_until(shows_a_pause, "the pauses grow", pause_s=0.02)
    assert shown["status"] == "degraded"
    assert shown["worker"].startswith("was ended by signal 9")
    called = server.post(handler["url"])
    assert called.status == 202
    assert server.wait_for_action(called.json["action"])["state"] == "Success"
    wait_until_ready(server)


@pytest.mark.slow
def test_a_new_server_goes_on_at_once_after_the_edge_was_killed(server: LiveServer) -> None:
    action, _, gate = begin_redeploy(server, "handed-over")
    orphan = server.worker
    server.kill_edge()
    server.start()
    assert is_gone(orphan), "two workers use the database"
    gate.touch()
    assert server.wait_for_action(action)["state"] == "Success"


@pytest.mark.slow
def test_the_worker_holds_the_lock_of_the_data_folder_together_with_the_edge(server: LiveServer) -> None:
    def locks(pid: int) -> set[str]:
        links = {Path(os.readlink(path)) for path in Path(f"/proc/{pid}/fd").iterdir() if path.is_symlink()}
        return {link.name for link in links if link.parent == server.data and link.suffix == ".lock"}

    assert locks(server.worker.pid) == {"tutumd.lock", "local.lock"}
    assert locks(server.pid) == {"tutumd.lock", "command.lock"}


@pytest.mark.slow
def test_a_stopped_worker_ends_when_the_edge_is_killed(tmp_path: Path) -> None:
    # Linux continues a stopped orphan by itself, unless its new parent is in the same session.
    with LiveServer(tmp_path, "--engine", "local", command=(sys.executable, "-c", KEEPER, *PATIENT)) as server:
        [edge] = psutil.Process(server.pid).children()
        [worker] = wait_until(edge.children, "the edge has a worker")
        worker.suspend()
        edge.kill()
        with suppress(TimeoutError):
            wait_until(lambda: is_gone(worker), "the worker ends")
        has_ended = is_gone(worker)
        if not has_ended:
            worker.kill()
        server.wait()
    assert has_ended


@pytest.mark.slow
def test_a_stopped_edge_replaces_the_worker_when_it_goes_on(server: LiveServer) -> None:
    edge, worker = psutil.Process(server.pid), server.worker
    edge.suspend()
    worker.kill()
    wait_until(lambda: is_gone(worker), "the worker is dead")
    edge.resume()
    wait_until_replaced(server, worker)


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT], ids=lambda number: number.name)
def test_a_signal_to_both_ends_both_when_the_runs_have_ended(server: LiveServer, number: signal.Signals) -> None:
    action, service, gate = begin_redeploy(server, "ended")
    edge, worker = psutil.Process(server.pid), server.worker
    for process in (edge, worker):  # as systemd does
        process.send_signal(number)
    wait_until(lambda: "worker is stopping" in server.log and "server is stopping" in server.log, "both stop")
    assert not is_gone(worker)
    gate.touch()
    assert server.wait() in (0, -number)
    assert is_gone(edge)
    assert is_gone(worker)
    assert "a new one starts" not in server.log
    server.start()
    assert server.wait_for_action(action)["state"] == "Success"
    server.wait_for_service(service, state="Running")


@pytest.mark.nightly
def test_a_stopped_worker_does_not_keep_the_server_from_ending(tmp_path: Path) -> None:
    with LiveServer(tmp_path, "--grace", "0", "--engine=local") as server:
        worker = server.worker
        worker.suspend()
        assert server.stop() == 0
        assert is_gone(worker)
        server.start()


@pytest.mark.slow
def test_the_edge_imports_no_engine_and_no_worker(tmp_path: Path) -> None:
    command = (str(BIN / "python"), "-c", NAMES_OF_MODULES)
    with LiveServer(tmp_path, "--engine=local", "--engine=docker:tcp://127.0.0.1:9", command=command) as server:
        assert server.request("GET", "/api/v1/service/").status == 200
        server.stop()
        (line,) = [line for line in server.log.splitlines() if line.startswith("modules:")]
        imported = {tuple(name.split(".")[:2]) for name in line.split()[1:]}
        assert ("tutumd", "web") in imported
        assert not imported & {("docker",), ("kubernetes",), ("tutumd", "engines"), ("tutumd", "worker")}
        server.start()


@pytest.mark.slow
def test_as_the_first_process_of_a_container_the_edge_reaps_orphans(tmp_path: Path) -> None:
    port, data = free_port(), tmp_path / "data"
    options = ["serve", "--port", str(port), "--data-dir", str(data), "--engine", "local", "--admin-user", "admin"]
    in_namespace = ["unshare", "--pid", "--fork", "--mount-proc"]
    if subprocess.run([*in_namespace, "true"], capture_output=True, timeout=LIMIT_S, check=False).returncode:
        pytest.skip("this user cannot make a PID namespace")
    log = tmp_path / "log.txt"
    with log.open("wb") as out:
        outer = subprocess.Popen(
            [*in_namespace, str(BIN / "tutumd"), *options],
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=out,
            cwd=tmp_path,
            start_new_session=True,
            env=os.environ | {"TUTUMD_ADMIN_APIKEY": "a-key-of-the-tests-0123"},
        )
    headers = {"Authorization": "ApiKey admin:a-key-of-the-tests-0123"}

    def send(method: str, path: str, body: object = None) -> Any:
        return request(port, method, f"/api/v1/service/{path}", headers=headers, body=body).json

    try:
        wait_until(lambda: "server is ready" in log.read_text(), "the server is ready")
        (edge,) = psutil.Process(outer.pid).children()
        # Its child loses its parent at once, and lives for a moment in a session of its own.
        command = f"(setsid sleep 0.3; touch {tmp_path}/ended) & exec sleep 600"
        definition = {"name": "orphans", "image": "none", "run_command": f"({command}) & sleep 0.1; exec sleep 600"}
        uuid = send("POST", "", definition)["uuid"]
        send("POST", f"{uuid}/start/")
        wait_until(lambda: (tmp_path / "ended").exists(), "the orphan ends")
        wait_until(lambda: send("GET", f"{uuid}/")["state"] == "Running", "the service runs")
        send("POST", f"{uuid}/stop/")
        wait_until(lambda: send("GET", f"{uuid}/")["state"] == "Stopped", "the service is stopped")
        wait_until(edge.children, "the worker lives")
        wait_until(lambda: not any(map(is_zombie, edge.children())), "no zombie stays")
        edge.terminate()
        assert outer.wait(LIMIT_S) == 0, log.read_text()
    finally:
        end_processes(folder=tmp_path)
        outer.wait(LIMIT_S)


@pytest.mark.slow
def test_a_worker_that_cannot_start_ends_the_server_with_its_message_and_no_admin(tmp_path: Path) -> None:
    data = tmp_path / "data"
    environment = {name: value for name, value in os.environ.items() if not name.startswith("TUTUM")}
    command = [str(BIN / "tutumd"), "serve", "--port", "0", "--data-dir", str(data), "--engine", "kubernetes:none"]
    broken = environment | {"KUBECONFIG": str(tmp_path / "broken")}
    data.mkdir()
    (data / "tutumd.db").touch(0o600)  # as after a first start: before that, the server itself tries the engines
    (tmp_path / "broken").write_text(json.dumps({"contexts": 1}))
    done = subprocess.run(command, capture_output=True, text=True, timeout=LIMIT_S, check=False, env=broken)
    assert done.returncode == 1
    assert [line for line in done.stderr.splitlines() if line.startswith("tutumd: ")] == done.stderr.splitlines()
    assert len(done.stderr.splitlines()) == 1
    assert done.stdout == "", "the first admin was made"
