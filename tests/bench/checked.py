"""Handlers that check who calls them, and the headers of the calls that they accept."""

import hashlib
import hmac
from collections.abc import Iterator, Sequence
from contextlib import closing
from http.client import HTTPConnection

from tests.bench import programs
from tests.bench.load import BODY
from tests.bench.programs import Program
from tests.bench.results import VERIFY_HMAC, VERIFY_TOKEN
from tests.bench.seed import Called

_SECRET = "secret-of-the-benchmark"
_SIGNATURE = hmac.new(_SECRET.encode(), BODY.encode(), hashlib.sha256).hexdigest()
_CHECKS = {
    VERIFY_TOKEN: ("token", f"Authorization: Bearer {_SECRET}"),
    VERIFY_HMAC: ("github", f"X-Hub-Signature-256: sha256={_SIGNATURE}"),
}


def make_handlers(server: Program, called: Sequence[Called]) -> Iterator[tuple[str, list[Called], tuple[str, ...]]]:
    """Make a handler of each kind for each service; yield the kind, the handlers and the headers of their calls."""
    with closing(HTTPConnection("127.0.0.1", server.port, timeout=20)) as connection:
        for name, (preset, header) in _CHECKS.items():
            body = {"operation": "REDEPLOY", "verify": {"preset": preset, "secrets": [_SECRET]}}
            made = []
            for one in called:
                path = f"/api/v1/service/{one.service_uuid}/webhook/handler/"
                uuid = programs.ask(connection, "POST", path, body)["uuid"]
                made.append(Called(service_uuid=one.service_uuid, handler_uuid=uuid))
            yield name, made, (header,)
