"""As much of the Docker Engine's API as it takes to show services, on a Unix socket; it notes when it is asked."""

import json
import re
import time
from contextlib import suppress
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from queue import Empty, SimpleQueue
from socketserver import ThreadingMixIn, UnixStreamServer
from threading import Condition, Event, Thread
from typing import Any

_CREATED = "2026-01-01T00:00:00Z"
_PATH = re.compile(r"(?:/v[0-9.]+)?(/[^?]*)")
_VERSION = {"ApiVersion": "1.47", "MinAPIVersion": "1.24", "Version": "27.0.0"}


def container(number: int) -> dict[str, Any]:
    """Make the inspect document of one running container."""
    return {
        "Id": f"{number:064x}",
        "Name": f"/app-{number}",
        "Created": _CREATED,
        "Image": f"sha256:{0:064x}",
        "Path": "/app",
        "Args": [],
        "RestartCount": 0,
        "State": {"Status": "running", "Running": True, "ExitCode": 0, "StartedAt": _CREATED, "FinishedAt": _CREATED},
        "Config": {"Image": "example/app:latest", "Labels": {}},
        "HostConfig": {"NetworkMode": "bridge", "RestartPolicy": {"Name": "", "MaximumRetryCount": 0}},
        "NetworkSettings": {"Ports": {}, "Networks": {}},
        "Mounts": [],
    }


def entry(document: dict[str, Any]) -> dict[str, Any]:
    """Return the entry of a container in the engine's list."""
    return {
        "Id": document["Id"],
        "Names": [document["Name"]],
        "Image": document["Config"]["Image"],
        "ImageID": document["Image"],
        "State": document["State"]["Status"],
        "Status": "Up 2 minutes",
        "Labels": document["Config"]["Labels"],
        "Ports": [],
        "Mounts": [],
    }


class FakeDocker:
    """Shows some containers that stand alone, and refuses to change anything."""

    def __init__(self, socket: Path, containers: int) -> None:
        self.url = f"unix://{socket}"
        self.documents = {one["Id"]: one for one in map(container, range(1, containers + 1))}
        self.stopping = Event()
        self.paths: list[str] = []
        self.events: SimpleQueue[dict[str, Any]] = SimpleQueue()
        self._asked: list[float] = []
        self._of_runs: list[float] = []
        self._changed = Condition()
        self._server = _Server(str(socket), _Handler)
        self._server.engine = self
        self._thread = Thread(target=self._server.serve_forever, args=(0.05,), daemon=True)
        self._thread.start()

    def tell(self, action: str, number: int, kind: str = "container") -> None:
        """Send an event about a container, or an image, to who follows them."""
        self.events.put({"Type": kind, "Action": action, "Actor": {"ID": f"{number:064x}"}, "time": int(time.time())})

    def note(self, path: str = "", *, of_run: bool = False) -> None:
        """Note that a request has come in, perhaps one that only the run of an action sends."""
        with self._changed:
            if of_run:
                self._of_runs.append(time.monotonic())
            self.paths.append(path)
            self._asked.append(time.monotonic())
            self._changed.notify_all()

    def wait_asked(self, after: float, timeout_s: float) -> float:
        """Wait for the first request after a moment, and return its time."""
        with self._changed:
            assert self._changed.wait_for(lambda: self._asked and self._asked[-1] >= after, timeout_s), "never asked"
            return next(moment for moment in self._asked if moment >= after)

    def wait_run(self, after: float, timeout_s: float) -> float:
        """Wait for the first request after a moment that only a run sends, and return its time."""
        with self._changed:
            assert self._changed.wait_for(lambda: self._of_runs and self._of_runs[-1] >= after, timeout_s), "no run"
            return next(moment for moment in self._of_runs if moment >= after)

    def wait_quiet(self, quiet_s: float, timeout_s: float) -> None:
        """Wait until nothing was asked for a while."""
        deadline = time.monotonic() + timeout_s
        with self._changed:
            while self._changed.wait(quiet_s) and time.monotonic() < deadline:
                pass

    def close(self) -> None:
        """Stop."""
        self.stopping.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(5)


class _Server(ThreadingMixIn, UnixStreamServer):
    daemon_threads = True
    request_queue_size = 128  # beyond it, connections are refused
    engine: FakeDocker


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _Server

    def do_GET(self) -> None:
        engine = self.server.engine
        matched = _PATH.match(self.path)
        path = matched.group(1) if matched else self.path
        if path == "/events":
            self._stream_events()
            return
        engine.note(path, of_run=path == "/info")  # looks at the engine do not ask for it
        if path in ("/version", "/_ping"):
            self._answer(200, _VERSION)
        elif path == "/containers/json":
            self._answer(200, [entry(one) for one in list(engine.documents.values())])
        elif path.startswith("/containers/") and path.split("/")[2] in engine.documents:
            self._answer(200, engine.documents[path.split("/")[2]])
        elif path.startswith("/images/"):
            self._answer(200, {"Id": f"sha256:{0:064x}", "RepoDigests": [], "Config": {}})
        else:
            self._answer(404, {"message": "no such object"})

    def do_POST(self) -> None:
        self.server.engine.note(of_run=True)
        self.rfile.read(int(self.headers.get("Content-Length") or 0))
        self._answer(403, {"message": "this engine changes nothing"})

    do_DELETE = do_POST

    def log_message(self, format: str, *args: object) -> None:
        """Keep quiet."""

    def _stream_events(self) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        self.wfile.flush()
        while not self.server.engine.stopping.is_set():
            with suppress(Empty):
                record = json.dumps(self.server.engine.events.get(timeout=0.1)).encode() + b"\n"
                self.wfile.write(b"%x\r\n%b\r\n" % (len(record), record))
        self.close_connection = True

    def _answer(self, status: int, document: object) -> None:
        body = json.dumps(document).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
