"""Requests go by the time that all processes agree on, wherever the clock of the replica's own machine is."""

import asyncio
import base64
import hashlib
import hmac
import json
from collections.abc import Iterator, Mapping
from datetime import timedelta
from typing import Any

import pytest
from starlette.types import Message

from tests.support.stores import Bench, bench
from tutumd.application.accounts import add_user
from tutumd.application.admission.encryption import SecretCipher, make_key
from tutumd.web.app import create_app
from tutumd.web.context import WebContext

KEY = "k" * 32
UNUSED = "/api/v1/webhook/handler/?unused_days=30"
SECRET = base64.b64encode(b"s" * 32).decode()


class Replica:
    """A web replica without a socket. The clock of its machine is the real one, which is not that of the bench."""

    def __init__(self, b: Bench) -> None:
        cipher = SecretCipher([make_key()])
        edge = WebContext(
            store=b.store,
            intake=b.intake,
            clock=b.clock,
            server_cap=10,
            cipher=cipher,
        )
        self._app = create_app(edge, "0")

    def request(self, method: str, path: str, body: bytes = b"", headers: Mapping[str, str] | None = None) -> Any:
        """Send a request as the admin; answers the status and the JSON of the answer."""
        raw = {"authorization": f"ApiKey root:{KEY}", **(headers or {})}
        path, _, query = path.partition("?")
        scope = {
            "type": "http",
            "method": method,
            "path": path,
            "query_string": query.encode(),
            "headers": [(name.encode(), value.encode()) for name, value in raw.items()],
            "client": ("127.0.0.1", 1),
        }
        sent: list[Message] = []

        async def receive() -> Message:
            return {"type": "http.request", "body": body, "more_body": False}

        async def send(message: Message) -> None:
            sent.append(message)

        async def answer() -> None:
            await self._app(scope, receive, send)

        asyncio.run(answer())
        return sent[0]["status"], json.loads(b"".join(message.get("body", b"") for message in sent[1:]))


@pytest.fixture
def b(database_url: str) -> Iterator[Bench]:
    with bench(database_url) as opened:
        opened.show("web")
        add_user(opened.store, "root", is_admin=True, key=KEY)
        yield opened


@pytest.fixture
def replica(b: Bench) -> Replica:
    return Replica(b)


def make(b: Bench, replica: Replica, **fields: object) -> str:
    """Make a handler; answers its path."""
    path = f"/api/v1/service/{b.service_uuid('web')}/webhook/handler/"
    status, made = replica.request("POST", path, json.dumps({"operation": "REDEPLOY", **fields}).encode())
    assert status == 201, made
    return f"{path}{made['uuid']}/"


def test_a_rotated_url_works_for_its_grace_and_no_longer(b: Bench, replica: Replica) -> None:
    old = make(b, replica)
    status, _ = replica.request("POST", f"{old}rotate/", b'{"grace": 60}')
    assert status == 201
    assert replica.request("POST", f"{old}call/")[0] == 202
    b.clock.move(61)
    assert replica.request("POST", f"{old}call/")[0] == 404


def test_a_handler_expires_at_the_agreed_time(b: Bench, replica: Replica) -> None:
    handler = make(b, replica, expires_datetime=(b.clock() + timedelta(hours=1)).isoformat())
    assert replica.request("POST", f"{handler}call/")[0] == 202
    assert replica.request("POST", f"{handler}test/", b'{"body": ""}')[1]["status"] == 202
    b.clock.move(3601)
    assert replica.request("POST", f"{handler}call/")[0] == 404


def test_a_signed_time_is_held_against_the_agreed_time(b: Bench, replica: Replica) -> None:
    verify = {"preset": "standard-webhooks", "secrets": [f"whsec_{SECRET}"]}
    handler = make(b, replica, verify=verify)
    told = str(int(b.clock().timestamp()))
    signed = hmac.digest(base64.b64decode(SECRET), f"m1.{told}.x".encode(), hashlib.sha256)
    headers = {
        "webhook-id": "m1",
        "webhook-timestamp": told,
        "webhook-signature": f"v1,{base64.b64encode(signed).decode()}",
    }
    assert replica.request("POST", f"{handler}call/", b"x", headers)[0] == 202
    b.clock.move(3600)
    assert replica.request("POST", f"{handler}call/", b"x", headers)[0] == 401


def test_handlers_that_nobody_uses_are_found_by_the_agreed_time(b: Bench, replica: Replica) -> None:
    make(b, replica)
    assert replica.request("GET", UNUSED)[1]["objects"] == []
    b.clock.move(timedelta(days=365).total_seconds())
    assert len(replica.request("GET", UNUSED)[1]["objects"]) == 1
