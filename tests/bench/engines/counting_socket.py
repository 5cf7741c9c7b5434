"""A Unix socket in front of an engine's, which counts the requests that pass."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from socket import AF_UNIX, SHUT_WR, socket
from socketserver import BaseRequestHandler, ThreadingMixIn, UnixStreamServer
from threading import Thread

_REQUEST = re.compile(rb"(?:^|\r\n)((?:GET|HEAD|POST|PUT|DELETE) /\S*) HTTP/1\.1\r\n")


class _Server(ThreadingMixIn, UnixStreamServer):
    daemon_threads = True
    request_queue_size = 128  # beyond it, connections are refused


@contextmanager
def counting(path: Path, engine: Path) -> Iterator[list[str]]:
    """Forward to the engine's socket while the block runs; yield the requests, in their order."""
    asked: list[str] = []

    class Forward(BaseRequestHandler):
        def handle(self) -> None:
            outer: socket = self.request
            with socket(AF_UNIX) as inner:
                inner.connect(str(engine))
                back = Thread(target=_copy, args=(inner, outer), daemon=True)
                back.start()
                _copy(outer, inner, asked)
                back.join()

    with _Server(str(path), Forward) as server:
        serving = Thread(target=server.serve_forever, args=(0.05,))
        serving.start()
        try:
            yield asked
        finally:
            server.shutdown()
            serving.join()


def _copy(source: socket, target: socket, asked: list[str] | None = None) -> None:
    try:
        while received := source.recv(65536):
            if asked is not None:
                asked += [request.decode() for request in _REQUEST.findall(received)]
            target.sendall(received)
        target.shutdown(SHUT_WR)
    except OSError:
        return
