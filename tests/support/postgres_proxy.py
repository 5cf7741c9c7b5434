"""A network between a client and a PostgreSQL bed: it delays or loses what passes, and counts the round trips."""

import socket
import threading
import time
from pathlib import Path

THREADS = "proxy"
"""Name of its threads, which last as long as the connections."""


class PostgresProxy:
    """Forwards a TCP port of this machine to the socket of a bed.

    Attributes:
        delay_s: How long what a client or the server sends is on its way.
        loses: `request` or `response`: the connection that sends the next one ends instead.
        round_trips: How often a client sent something after it had got a response.
    """

    def __init__(self, folder: Path) -> None:
        self.delay_s = 0.0
        self.loses = ""
        self.round_trips = 0
        self._late: tuple[socket.socket, bytes, threading.Event] | None = None
        self._upstream = str(folder / ".s.PGSQL.5432")
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._sockets = [self._listener]
        self._threads: list[threading.Thread] = []
        self._start(self._accept)

    def url(self, direct: str) -> str:
        """Return the URL of a database that leads through the proxy."""
        name = direct.partition("@/")[2].partition("?")[0]
        return f"postgresql://tutumd@127.0.0.1:{self._listener.getsockname()[1]}/{name}"

    def deliver_late(self) -> None:
        """Deliver the lost request to the server, and wait for the server's response."""
        assert self._late is not None
        server, data, has_response = self._late
        server.sendall(data)
        assert has_response.wait(60)

    def close(self) -> None:
        for each in self._sockets:
            try:
                each.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass  # the other side was quicker
            each.close()
        for thread in self._threads:
            thread.join(10)

    def _start(self, target: object, *arguments: object) -> None:
        thread = threading.Thread(target=target, args=arguments, name=THREADS, daemon=True)  # type: ignore[arg-type]  # a function
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return  # it was closed
            server = socket.socket(socket.AF_UNIX)
            server.connect(self._upstream)
            self._sockets += [client, server]
            has_response = threading.Event()
            has_response.set()
            self._start(self._forward, client, server, has_response, True)
            self._start(self._forward, server, client, has_response, False)

    def _forward(
        self, source: socket.socket, target: socket.socket, has_response: threading.Event, is_client: bool
    ) -> None:
        try:
            while data := source.recv(1 << 20):
                if not is_client:
                    has_response.set()
                elif has_response.is_set():
                    has_response.clear()
                    self.round_trips += 1
                if self.loses == ("request" if is_client else "response"):
                    self.loses, self._late = "", (target, data, has_response)
                    return (source if is_client else target).shutdown(socket.SHUT_RDWR)
                time.sleep(self.delay_s)
                target.sendall(data)
            target.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass  # it was closed
