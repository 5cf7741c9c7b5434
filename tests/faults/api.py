"""HTTP client of the fault rounds, which uses whichever web replica responds."""

import http.client
from collections.abc import Iterator, Sequence
from typing import Any

from tests.support.server import APIKEY, USER, Answer, request
from tests.support.waiting import wait_until

LIMIT_S = 120.0
CREDENTIALS = f"ApiKey {USER}:{APIKEY}"
_PAGE = 100


class Api:
    """Sends requests, and repeats each until the status is not 503."""

    def __init__(self, ports: Sequence[int]) -> None:
        self._ports = list(ports)

    def get(self, path: str) -> Any:
        return self.send("GET", path).json

    def send(self, method: str, path: str, body: object = None) -> Answer:
        """Send a request that may be repeated, until it is answered with success."""
        answer = wait_until(lambda: self._try_all(method, path, body), f"{method} {path} is answered", LIMIT_S)
        assert answer.status < 300, f"{method} {path}: {answer.status} {answer.body!r}"
        return answer

    def every(self, path: str) -> Iterator[dict[str, Any]]:
        """List all objects of a list, page after page."""
        offset = 0
        while True:
            mark = "&" if "?" in path else "?"
            page = self.get(f"{path}{mark}limit={_PAGE}&offset={offset}")
            yield from page["objects"]
            offset += _PAGE
            if page["meta"]["next"] is None:
                return

    def count(self, path: str) -> int:
        return int(self.get(path)["meta"]["total_count"])

    def _try_all(self, method: str, path: str, body: object) -> Answer | None:
        for port in self._ports:
            try:
                answer = request(port, method, path, body=body, headers={"Authorization": CREDENTIALS})
            except (OSError, http.client.HTTPException):
                continue
            if answer.status != 503:
                return answer
        return None
