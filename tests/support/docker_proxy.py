"""A proxy in front of a Docker Engine: it counts the requests, answers some itself, and adds containers to the list."""

import http.client
import json
import re
import socket
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from socketserver import ThreadingMixIn, UnixStreamServer
from typing import Any

from tests.bench.fake_docker import container, entry

# Returns status and body in place of the engine's response, b"" to hang up, or None to let the engine answer.
Answer = Callable[[str], tuple[int, bytes] | None]
_PATH = re.compile(r"(?:/v[0-9.]+)?(/[^?]*)")


class DockerProxy:
    """The proxy. `requests` are method and path of each request, without the version.

    Args:
        engine: Socket of the engine.
        answer: Called with the path of each request, which is without the version.
        others: Number of containers that only the proxy knows.
    """

    def __init__(self, socket_path: Path, engine: str, answer: Answer, others: int) -> None:
        self.url = f"unix://{socket_path}"
        self.engine = engine.removeprefix("unix://")
        self.answer = answer
        self.requests: list[tuple[str, str]] = []
        self.others: Mapping[str, dict[str, Any]] = {one["Id"]: one for one in map(container, range(1, others + 1))}


@contextmanager
def proxied(folder: Path, engine: str, answer: Answer = lambda path: None, others: int = 0) -> Iterator[DockerProxy]:
    """Yield a proxy that listens in a folder."""
    proxy = DockerProxy(folder / "proxy.sock", engine, answer, others)
    server = _Server(str(folder / "proxy.sock"), _Handler)
    server.proxy = proxy
    serving = threading.Thread(target=server.serve_forever, args=(0.05,))
    serving.start()
    try:
        yield proxy
    finally:
        server.shutdown()
        serving.join()
        server.server_close()


class _Server(ThreadingMixIn, UnixStreamServer):
    daemon_threads = True
    request_queue_size = 128  # beyond it, connections are refused
    proxy: DockerProxy


class _Upstream(http.client.HTTPConnection):
    def __init__(self, path: str) -> None:
        super().__init__("localhost")
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.connect(self._path)


class _Handler(BaseHTTPRequestHandler):
    server: _Server

    def do_GET(self) -> None:
        """Answer a request, or pass it on. The end of the connection is the end of the body."""
        proxy = self.server.proxy
        matched = _PATH.match(self.path)
        path = matched.group(1) if matched else self.path
        proxy.requests.append((self.command, path))
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))  # unread, it would reset the connection
        parts = path.split("/")
        own = proxy.others.get(parts[2]) if path.startswith("/containers/") else None
        answered = (200, json.dumps(own).encode()) if own else proxy.answer(path)
        if answered is None:
            self._pass_on(path, body)
        elif answered[1]:
            self._send(answered[0], {"Content-Type": "application/json"})
            self.wfile.write(answered[1])

    do_POST = do_DELETE = do_PUT = do_HEAD = do_GET

    def log_message(self, format: str, *args: object) -> None:
        """Keep quiet."""

    def _pass_on(self, path: str, body: bytes) -> None:
        upstream = _Upstream(self.server.proxy.engine)
        upstream.request(self.command, self.path, body, dict(self.headers))
        with upstream.getresponse() as response:
            self._send(response.status, dict(response.headers))
            if path == "/containers/json":
                listed = json.loads(response.read()) + [entry(one) for one in self.server.proxy.others.values()]
                self.wfile.write(json.dumps(listed).encode())
            while part := response.read1(65_536):
                self.wfile.write(part)
        upstream.close()

    def _send(self, status: int, headers: Mapping[str, str]) -> None:
        self.send_response_only(status)
        for name, value in headers.items():
            if name.lower() not in ("connection", "content-length", "transfer-encoding"):
                self.send_header(name, value)
        self.send_header("Connection", "close")
        self.end_headers()
