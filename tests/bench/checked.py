"""What is called beside bare handlers: handlers that check who calls them, and groups of ten services."""

import hashlib
import hmac
import json
import sqlite3
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from datetime import UTC, datetime
from http.client import HTTPConnection
from itertools import cycle, islice
from pathlib import Path
from typing import Any
from uuid import uuid4

from tests.bench import programs
from tests.bench.load import BODY
from tests.bench.programs import Program
from tests.bench.results import GROUP, VERIFY_HMAC, VERIFY_OIDC, VERIFY_TOKEN
from tests.bench.seed import Called
from tests.support.identity_tokens import claims_of, public_jwk, sign

ISSUER = "https://issuer.example"
GROUPS, GROUP_SIZE = 10, 10
CHECKED = 500
"""Handlers of each kind that check who calls: the server keeps the options of 2,000 handlers in memory."""
TOKENS = 12_000
"""Tokens of one run: a second call with a token would be a repetition."""
_GROUPS = "/api/v1/webhook/group/"
_SECRET = "secret-of-the-benchmark"
_SIGNATURE = hmac.new(_SECRET.encode(), BODY.encode(), hashlib.sha256).hexdigest()
_CHECKS = {
    VERIFY_TOKEN: ("token", f"Authorization: Bearer {_SECRET}"),
    VERIFY_HMAC: ("github", f"X-Hub-Signature-256: sha256={_SIGNATURE}"),
}
_IDENTITY = {"preset": "oidc", "issuer": ISSUER, "audience": "bench", "claims": {"repository": "me/shop"}}


def make_calls(server: Program, called: Sequence[Called], runs: int) -> Iterator[tuple[str, list[list[str]]]]:
    """Make a handler of each kind for each service, and groups; yield the kind and the lines of each file of calls."""
    with closing(HTTPConnection("127.0.0.1", server.port, timeout=20)) as connection:
        for name, (preset, header) in _CHECKS.items():
            verify = {"preset": preset, "secrets": [_SECRET]}
            yield name, [[f"{path}\t{header}" for path in _make_handlers(connection, called[:CHECKED], verify)]]
        tens = [called[first : first + GROUP_SIZE] for first in range(0, GROUPS * GROUP_SIZE, GROUP_SIZE)]
        selectors = [{"services": [each.service_uuid for each in ten]} for ten in tens]
        yield GROUP, [[programs.ask(connection, "POST", _GROUPS, each)["url"] for each in selectors]]
        paths = _make_handlers(connection, called[:CHECKED], _IDENTITY)
    # Outside of the connection, which the server closes meanwhile.
    yield (
        VERIFY_OIDC,
        [[f"{path}\tAuthorization: Bearer {_new_token()}" for path in _repeat(paths)] for _ in range(runs)],
    )


def _make_handlers(connection: HTTPConnection, called: Sequence[Called], verify: Mapping[str, Any]) -> list[str]:
    body = {"operation": "REDEPLOY", "verify": verify}
    lists = [f"/api/v1/service/{each.service_uuid}/webhook/handler/" for each in called]
    return [programs.ask(connection, "POST", path, body)["url"] for path in lists]


def _new_token() -> str:
    """Return an identity token that no call has had yet."""
    return sign(claims_of(datetime.now(UTC), iss=ISSUER, aud="bench", jti=uuid4().hex, exp=int(time.time()) + 3600))


def _repeat(paths: Sequence[str]) -> Iterator[str]:
    return islice(cycle(paths), TOKENS)


def store_keys(database: Path) -> None:
    """Store the key of the tokens, as a notifier does that has fetched it."""
    keys, now = json.dumps({"keys": [public_jwk()]}), int(time.time() * 1e6)
    with closing(sqlite3.connect(database, timeout=20)) as connection, connection:
        values = (keys, now, now, ISSUER)
        changed = connection.execute("UPDATE issuers SET keys = ?, fetched = ?, tried = ? WHERE url = ?", values)
        assert changed.rowcount == 1, "no handler names the issuer"
