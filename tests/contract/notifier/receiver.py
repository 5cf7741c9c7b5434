"""A receiver that behaves as a test says."""

import socket
import ssl
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from threading import Event, Thread

Behave = Callable[[socket.socket, Event], None]


class Receiver:
    """A server on loopback. It keeps the requests.

    Attributes:
        ended: Set at the end of the test: a behaviour that never ends waits for it.
    """

    def __init__(self, behave: Behave, certificate: Path | None = None) -> None:
        self.requests: list[bytes] = []
        self.ended = Event()
        self._behave = behave
        self._tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER) if certificate else None
        if self._tls and certificate:
            self._tls.load_cert_chain(certificate)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._listener.getsockname()[1])

    def serve(self) -> None:
        while True:
            connection, _ = self._listener.accept()
            if self.ended.is_set():
                connection.close()
                return
            with suppress(OSError), connection:
                self._answer(self._tls.wrap_socket(connection, server_side=True) if self._tls else connection)

    def close(self) -> None:
        self.ended.set()
        with suppress(OSError):
            socket.create_connection(("127.0.0.1", self.port)).close()

    def _answer(self, connection: socket.socket) -> None:
        with connection:
            request = b""
            while not _is_complete(request):
                if not (part := connection.recv(65_536)):
                    return
                request += part
            self.requests.append(request)
            self._behave(connection, self.ended)


def _is_complete(request: bytes) -> bool:
    head, end, body = request.partition(b"\r\n\r\n")
    lengths = [int(line.partition(b":")[2]) for line in head.splitlines() if line.lower().startswith(b"content-length")]
    return bool(end) and len(body) >= sum(lengths)


def answers(status: int, *headers: str, body: bytes = b"") -> Behave:
    """Return the behaviour of a receiver that answers and closes the connection."""
    head = "".join(f"{header}\r\n" for header in headers)
    response = f"HTTP/1.1 {status} Text\r\n{head}Content-Length: {len(body)}\r\n\r\n".encode() + body
    return lambda connection, _: connection.sendall(response)


@contextmanager
def receiver(behave: Behave, certificate: Path | None = None) -> Iterator[Receiver]:
    """Run a receiver."""
    server = Receiver(behave, certificate)
    thread = Thread(target=server.serve)
    thread.start()
    try:
        yield server
    finally:
        server.close()
        thread.join()
        server._listener.close()
