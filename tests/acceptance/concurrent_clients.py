"""Concurrent clients with a connection each, like a build farm."""

import http.client
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

from tests.support.server import LIMIT_S, LiveServer


def post_all(server: LiveServer, paths: Sequence[str], clients: int) -> list[int]:
    """POST to every path from concurrent clients; return the statuses, with 0 for no response."""
    shares = [paths[first::clients] for first in range(clients)]
    with ThreadPoolExecutor(clients) as pool:
        return [status for statuses in pool.map(lambda share: _post(server, share), shares) for status in statuses]


def _post(server: LiveServer, paths: Sequence[str]) -> list[int]:
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=LIMIT_S)
    statuses = []
    try:
        for path in paths:
            try:
                connection.request("POST", path)
                response = connection.getresponse()
                response.read()
                statuses.append(response.status)
            except (OSError, http.client.HTTPException):
                connection.close()
                statuses.append(0)
    finally:
        connection.close()
    return statuses
