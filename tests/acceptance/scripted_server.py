"""An HTTP server that sends the answers of a script, and keeps the requests."""

import json
import threading
from collections.abc import Iterator, Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

Answer = tuple[int, dict[str, str], object]


class Scripted(ThreadingHTTPServer):
    """Sends these answers one after the other, and keeps the requests. A status of 0 closes the connection."""

    def __init__(self, answers: Sequence[Answer]) -> None:
        super().__init__(("127.0.0.1", 0), Answering)
        self.answers = list(answers)
        self.requests: list[tuple[str, str, dict[str, str], str]] = []


class Answering(BaseHTTPRequestHandler):
    """Sends the next answer."""

    server: Scripted

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0))).decode()
        self.server.requests.append((self.command, self.path, dict(self.headers.items()), body))
        status, headers, document = self.server.answers.pop(0)
        if status == 0:
            return
        content = document.encode() if isinstance(document, str) else json.dumps(document, ensure_ascii=False).encode()
        self.send_response(status)
        for name, value in {**headers, "Content-Length": str(len(content))}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(content)

    do_GET = do_POST

    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture
def scripted() -> Iterator[Scripted]:
    with Scripted([]) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        yield server
        server.shutdown()
        thread.join()
