"""`tutumd healthcheck` asks a worker before a server, and imports nothing slow."""

import os
import sys
from pathlib import Path

import pytest

from tests.support.guards import lacking
from tests.support.programs import Finished, finished

WORKER = """
import sys, tutumd.main.healthcheck as h
with h.process_health("notifier" if "notifier" in sys.argv else "worker", lambda: sys.argv[1], lambda: sys.argv[2]):
    try:
        print(h.check_health({}, live="--live" in sys.argv))
    except Exception as error:
        print(error)
"""
SERVER = """
import json, sys, http.server, threading, tutumd.main.healthcheck as h
answers = {"/readyz": {"status": "down", "worker": None, "engines": {}}, "/healthz": {"status": "ok"}}
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(503 if self.path == "/readyz" else 200)
        self.end_headers()
        self.wfile.write(json.dumps(["another"] if "another" in sys.argv else answers[self.path]).encode())
    def log_message(self, *arguments):
        pass
server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
threading.Thread(target=server.serve_forever, daemon=True).start()
try:
    print(h.check_health({"TUTUMD_PORT": str(server.server_port)}, live="--live" in sys.argv))
except Exception as error:
    print(error)
"""
MAIN = """
import sys
sys.argv = ["tutumd", "healthcheck", *sys.argv[1:]]
from tutumd.main import main
try:
    main()
finally:
    print(sorted({name.partition(".")[0] for name in sys.modules} - sys.stdlib_module_names - {"__main__"}))
"""


def run(program: str, *arguments: str, **variables: str) -> Finished:
    """Run a program in a view of the file system of its own, as in a container: else workers of other tests answer."""
    if os.geteuid() != 0:
        lacking("this test needs root for a mount namespace: sudo script/test")
    return finished(
        ["unshare", "--mount", sys.executable, "-c", program, *arguments],
        env={"PATH": os.environ["PATH"], "PYTHONPATH": str(Path(__file__).parents[3] / "src"), **variables},
    )


@pytest.mark.parametrize(
    ("health", "live", "told"),
    [
        ("ok", ("ok",), "ok"),
        ("no heartbeat for 40 s", ("ok",), "the worker is unhealthy: no heartbeat for 40 s"),
        ("no heartbeat for 40 s", ("ok", "--live"), "ok"),
        ("ok", ("stuck: claim for 200 s", "--live"), "the worker is unhealthy: stuck: claim for 200 s"),
        ("away for 40 s", ("ok", "notifier"), "the notifier is unhealthy: away for 40 s"),
    ],
)
def test_a_worker_says_whether_it_is_healthy_and_whether_it_lives(
    health: str, live: tuple[str, ...], told: str
) -> None:
    assert run(WORKER, health, *live).stdout == f"{told}\n"


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ((), "the server is unhealthy: the database cannot be used; its log says why"),
        (("--live",), "ok"),
    ],
)
def test_a_server_without_its_database_lives(arguments: tuple[str, ...], told: str) -> None:
    assert run(SERVER, *arguments).stdout == f"{told}\n"


@pytest.mark.parametrize("arguments", [(), ("--live",)])
def test_another_server_on_the_port_is_none(arguments: tuple[str, ...]) -> None:
    told = run(SERVER, "another", *arguments).stdout
    assert told.startswith("no server responds on 127.0.0.1 port "), told


@pytest.mark.parametrize("arguments", [(), ("--live",)])
def test_without_a_server_it_fails_and_has_imported_nothing_slow(arguments: tuple[str, ...]) -> None:
    done = run(MAIN, *arguments, TUTUMD_PORT="1")
    assert done.returncode == 1
    assert done.stderr == (
        "tutumd: no server responds on 127.0.0.1 port 1: [Errno 111] Connection refused; "
        "TUTUMD_HOST and TUTUMD_PORT must be as it has them\n"
    )
    assert done.stdout == "['tutumd']\n"
