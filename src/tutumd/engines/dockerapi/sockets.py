"""Unix sockets for the SDK that are closed if connecting fails; the SDK leaves its own to the garbage collector."""

import socket
from typing import Any

from docker.transport.unixconn import UnixHTTPAdapter, UnixHTTPConnection, UnixHTTPConnectionPool


class _Connection(UnixHTTPConnection):
    def connect(self) -> None:
        unix = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        unix.settimeout(self.timeout)
        try:
            unix.connect(self.unix_socket)
        except OSError:
            unix.close()
            raise
        self.sock = unix


class _Pool(UnixHTTPConnectionPool):
    def _new_conn(self) -> Any:
        timeout: Any = self.timeout
        return _Connection(self.base_url, self.socket_path, timeout)


class UnixAdapter(UnixHTTPAdapter):
    """The SDK's adapter, with connections that close their sockets."""

    def get_connection(self, url: Any, proxies: Any = None) -> UnixHTTPConnectionPool:
        """Return the pool of the socket, which is created on first use."""
        with self.pools.lock:
            pool: UnixHTTPConnectionPool | None = self.pools.get(url)
            if pool is None:
                pool = _Pool(url, self.socket_path, self.timeout, maxsize=self.max_pool_size)
                self.pools[url] = pool
        return pool
