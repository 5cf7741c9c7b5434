"""A web replica on a store bed, without a socket."""

import asyncio
import json
from collections.abc import Mapping
from typing import Any

import httpx2

from tests.support.stores import StoreBed
from tutumd.application.accounts import add_user
from tutumd.application.admission.encryption import SecretCipher, make_key
from tutumd.application.refused_calls import RefusedCalls
from tutumd.web.app import create_app
from tutumd.web.context import WebContext
from tutumd.web.pace import Pace

KEY = "k" * 32


class Replica:
    """A web replica without a socket. The clock of its machine is the real one, unlike that of the store."""

    def __init__(self, bed: StoreBed, **settings: Any) -> None:
        if "root" not in (user.name for user in bed.store.users()):
            add_user(bed.store, "root", is_admin=True, key=KEY)
        edge = WebContext(
            store=bed.store,
            intake=bed.intake,
            clock=bed.clock,
            server_cap=10,
            cipher=SecretCipher([make_key()]),
            **settings,
        )
        self.edge = edge
        edge.refused_calls = RefusedCalls(lambda: bed.clock().timestamp())
        self._app = create_app(edge, "0")

    def request(
        self,
        method: str,
        path: str,
        body: bytes = b"",
        headers: Mapping[str, str] | None = None,
        client: str = "127.0.0.1",
    ) -> Any:
        """Send a request as the admin, and return status and JSON of the response."""
        self.edge.pace = Pace()  # the one of the event loop of this request
        sent = {"authorization": f"ApiKey root:{KEY}", **(headers or {})}
        status, text = ask(self._app, method, path, body, sent, client)
        return status, json.loads(text)


def ask(
    app: Any, method: str, path: str, body: bytes = b"", headers: Mapping[str, str] | None = None, client: str = "::1"
) -> tuple[int, bytes]:
    """Send a request to an ASGI application; return status and body of the response."""

    async def send() -> httpx2.Response:
        transport = httpx2.ASGITransport(app, client=(client, 1))
        async with httpx2.AsyncClient(transport=transport, base_url="http://replica") as http:
            return await http.request(method, path, content=body, headers=headers)

    response = asyncio.run(send())
    return response.status_code, response.content


def make(bed: StoreBed, replica: Replica, **fields: object) -> str:
    """Create a handler, and return its path."""
    path = f"/api/v1/service/{bed.service_uuid('web')}/webhook/handler/"
    status, made = replica.request("POST", path, json.dumps({"operation": "REDEPLOY", **fields}).encode())
    assert status == 201, made
    return f"{path}{made['uuid']}/"
