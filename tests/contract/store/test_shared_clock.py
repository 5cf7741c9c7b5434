"""Requests are judged by the shared clock, not by the clock of the replica's machine."""

import asyncio
import base64
import hashlib
import hmac
import json
from collections.abc import Mapping
from datetime import timedelta
from typing import Any

import pytest
from starlette.types import Message

from tests.support.stores import StoreBed
from tutumd.application.accounts import add_user
from tutumd.application.admission.encryption import SecretCipher, make_key
from tutumd.web.app import create_app
from tutumd.web.context import WebContext

KEY = "k" * 32
UNUSED = "/api/v1/webhook/handler/?unused_days=30"
SECRET = base64.b64encode(b"s" * 32).decode()


class Replica:
    """A web replica without a socket. The clock of its machine is the real one, unlike that of the store."""

    def __init__(self, bed: StoreBed) -> None:
        edge = WebContext(
            store=bed.store,
            intake=bed.intake,
            clock=bed.clock,
            server_cap=10,
            cipher=SecretCipher([make_key()]),
        )
        self._app = create_app(edge, "0")

    def request(self, method: str, path: str, body: bytes = b"", headers: Mapping[str, str] | None = None) -> Any:
        """Send a request as the admin, and return status and JSON of the response."""
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

        async def respond() -> None:
            await self._app(scope, receive, send)

        asyncio.run(respond())
        return sent[0]["status"], json.loads(b"".join(message.get("body", b"") for message in sent[1:]))


@pytest.fixture
def replica(bed: StoreBed) -> Replica:
    add_user(bed.store, "root", is_admin=True, key=KEY)
    return Replica(bed)


def make(bed: StoreBed, replica: Replica, **fields: object) -> str:
    """Create a handler, and return its path."""
    path = f"/api/v1/service/{bed.service_uuid('web')}/webhook/handler/"
    status, made = replica.request("POST", path, json.dumps({"operation": "REDEPLOY", **fields}).encode())
    assert status == 201, made
    return f"{path}{made['uuid']}/"


def test_a_rotated_url_works_for_its_grace_and_no_longer(bed: StoreBed, replica: Replica) -> None:
    old = make(bed, replica)
    status, _ = replica.request("POST", f"{old}rotate/", b'{"grace": 60}')
    assert status == 201
    assert replica.request("POST", f"{old}call/")[0] == 202
    bed.clock.move(61)
    assert replica.request("POST", f"{old}call/")[0] == 404


def test_a_handler_expires_by_the_shared_clock(bed: StoreBed, replica: Replica) -> None:
    handler = make(bed, replica, expires_datetime=(bed.clock() + timedelta(hours=1)).isoformat())
    assert replica.request("POST", f"{handler}call/")[0] == 202
    assert replica.request("POST", f"{handler}test/", b'{"body": ""}')[1]["status"] == 202
    bed.clock.move(3601)
    assert replica.request("POST", f"{handler}call/")[0] == 404


def test_a_signed_time_is_held_against_the_shared_clock(bed: StoreBed, replica: Replica) -> None:
    verify = {"preset": "standard-webhooks", "secrets": [f"whsec_{SECRET}"]}
    handler = make(bed, replica, verify=verify)
    timestamp = str(int(bed.clock().timestamp()))
    signed = hmac.digest(base64.b64decode(SECRET), f"m1.{timestamp}.x".encode(), hashlib.sha256)
    headers = {
        "webhook-id": "m1",
        "webhook-timestamp": timestamp,
        "webhook-signature": f"v1,{base64.b64encode(signed).decode()}",
    }
    assert replica.request("POST", f"{handler}call/", b"x", headers)[0] == 202
    bed.clock.move(3600)
    assert replica.request("POST", f"{handler}call/", b"x", headers)[0] == 401


def test_handlers_that_nobody_uses_are_found_by_the_shared_clock(bed: StoreBed, replica: Replica) -> None:
    make(bed, replica)
    assert replica.request("GET", UNUSED)[1]["objects"] == []
    bed.clock.move(timedelta(days=365).total_seconds())
    assert len(replica.request("GET", UNUSED)[1]["objects"]) == 1
