"""Many clients at once, each with a connection of its own, as a build farm or an impatient script makes them."""

import http.client
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

from tests.support.server import LiveServer


def post_all(server: LiveServer, paths: Sequence[str], clients: int) -> list[int]:
    """POST to every path, shared out among clients that all send at once; return the statuses, 0 for no answer."""
    shares = [paths[first::clients] for first in range(clients)]
    with ThreadPoolExecutor(clients) as pool:
        return [status for statuses in pool.map(lambda share: _post(server, share), shares) for status in statuses]


def _post(server: LiveServer, paths: Sequence[str]) -> list[int]:
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=30)
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
