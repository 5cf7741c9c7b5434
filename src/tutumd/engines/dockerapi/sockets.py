"""HTTP connections of the SDK over sockets that a function opens."""

import socket
from collections.abc import Callable
from functools import partial
from typing import Any

from docker.transport import UnixHTTPAdapter
from urllib3.connection import HTTPConnection
from urllib3.connectionpool import HTTPConnectionPool

# Connects within a number of seconds. If it raises OSError, it leaves nothing open.
OpenSocket = Callable[[Any], socket.socket]


def open_unix(path: str, timeout_s: float) -> socket.socket:
    """Return a socket that is connected to the Unix socket at a path."""
    unix = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    unix.settimeout(timeout_s)
    try:
        unix.connect(path)
    except OSError:
        unix.close()  # The SDK leaves it to the garbage collector.
        raise
    return unix


class _Connection(HTTPConnection):
    def __init__(self, open_socket: OpenSocket, **options: Any) -> None:
        super().__init__(**options)
        self._open_socket = open_socket

    def connect(self) -> None:
        self.sock = self._open_socket(self.timeout)


class SocketAdapter(UnixHTTPAdapter):
    """The SDK's adapter with one pool of connections; the SDK has a pool for each URL, and so reuses few."""

    def __init__(self, open_socket: OpenSocket, size: int) -> None:
        super().__init__("")
        self._pool = HTTPConnectionPool("localhost", maxsize=size)
        connection: Any = partial(_Connection, open_socket)
        self._pool.ConnectionCls = connection

    def get_connection(self, url: Any, proxies: Any = None) -> Any:
        """Return the pool."""
        return self._pool

    def close(self) -> None:
        """Close the connections that are not in use. Each of the others is closed after its response."""
        self._pool.close()
        super().close()
