"""A stand-in for `tutumd web` behind a proxy: it records what it gets, and hangs or refuses as told."""

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Event, Thread


@dataclass
class Replica:
    """A replica that records what it gets, and responds with `status` once `gate` is set.

    Attributes:
        headers: Their names in lower case, of each request.
    """

    status: int = 202
    gate: Event = field(default_factory=Event)
    got: list[tuple[str, str, bytes]] = field(default_factory=list)
    headers: list[set[str]] = field(default_factory=list)
    port: int = 0


@contextmanager
def replica(
    status: int = 202, *, is_open: bool = True, port: int = 0, responses: int | None = None
) -> Iterator[Replica]:
    """Run a replica while the block runs.

    Args:
        is_open: It responds at once.
        port: To listen on; 0 chooses a free one.
        responses: It keeps a connection open for that many, and closes it when the next request has arrived.
    """
    made = Replica(status)
    if is_open:
        made.gate.set()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.0" if responses is None else "HTTP/1.1"
        left = 1 if responses is None else responses

        def do_GET(self) -> None:
            made.headers.append({name.lower() for name in self.headers})
            self.send_response(204)
            self.end_headers()

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", "0")))
            made.headers.append({name.lower() for name in self.headers})
            made.got.append((self.path, self.headers["Idempotency-Key"], body))
            made.gate.wait(300)
            self.left -= 1
            if self.left < 0:
                self.close_connection = True
                return
            with suppress(BrokenPipeError):  # nginx has given up
                self.send_response(made.status)
                self.send_header("Content-Length", "2")
                self.end_headers()
                self.wfile.write(b"{}")

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", port), Handler) as server:
        made.port = server.server_port
        thread = Thread(target=server.serve_forever, daemon=True)
        thread.start()
        try:
            yield made
        finally:
            made.gate.set()
            server.shutdown()
            thread.join(60)
