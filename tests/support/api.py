"""The API of a server that listens on a port of loopback, as the examples' user."""

import http.client
import json
import os
import socket
import sys
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from tests.support.programs import without_settings
from tests.support.waiting import wait_until
from tutumd.ports.accounts import Accounts
from tutumd.store.objects.accounts import SqlAccounts
from tutumd.store.sql.database import Database
from tutumd.store.sql.wakeup import Wakeup

USER = "username"
APIKEY = "apikey-of-the-tests-0123456789"
BIN = Path(sys.executable).parent

LIMIT_S = 240.0
"""Of what a busy machine does in seconds: it only ends a hang, and is longer than any wait that a test asks for."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """A response of the server."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


class Api:
    """Requests to a server.

    Args:
        folder: Holds the data folder.
        apikey: Of the examples' user, if the server has another one.
    """

    def __init__(self, folder: Path, port: int, *, apikey: str = APIKEY) -> None:
        self.folder = folder
        self.data = folder / "data"
        self.port = port
        self.url = f"http://127.0.0.1:{port}"
        self._apikey = apikey

    @contextmanager
    def accounts(self) -> Iterator[Accounts]:
        """Open the accounts of the server beside it."""
        with closing(Database(f"sqlite:///{self.data / 'tutumd.db'}")) as database:
            yield SqlAccounts(database, lambda: datetime.now(UTC), Wakeup())

    @property
    def client_environment(self) -> dict[str, str]:
        """The environment of a client program: this server, the examples' user, and an empty home."""
        home = self.folder / "home"
        home.mkdir(exist_ok=True)
        inherited = without_settings()
        return inherited | {
            "HOME": str(home),
            "PATH": f"{BIN}:{os.environ['PATH']}",
            "TUTUM_USER": USER,
            "TUTUM_APIKEY": self._apikey,
            "TUTUM_BASE_URL": f"{self.url}/api/v1/",
        }

    def request(self, method: str, path: str, body: object = None, *, authorization: str | None = "") -> Answer:
        """Send one request as the examples' user, or with another `authorization`, or with none.

        Args:
            body: Sent as JSON; None sends no body.
        """
        headers = {"Accept": "application/json"}
        if authorization is not None:
            headers["Authorization"] = authorization or f"ApiKey {USER}:{self._apikey}"
        return request(self.port, method, path, headers=headers, body=body)

    def post(self, path: str, body: bytes = b"", **headers: str) -> Answer:
        """POST without credentials, as a sender of webhooks does; `_` in a header's name stands for `-`."""
        head = [f"POST {path} HTTP/1.1", "Host: x", f"Content-Length: {len(body)}", "Connection: close"]
        head += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
        return self.send("\r\n".join(head).encode() + b"\r\n\r\n" + body)

    def send(self, raw: bytes) -> Answer:
        """Send bytes over a new connection, and return the response."""
        with socket.create_connection(("127.0.0.1", self.port), timeout=LIMIT_S) as connection:
            connection.sendall(raw)
            response = http.client.HTTPResponse(connection, method=raw.split(b" ", 1)[0].decode())
            response.begin()
            with response:
                return _read(response)

    def create_service(self, name: str, run_command: str = "sleep 36000", containers: int = 1) -> dict[str, Any]:
        """Create a service of the `local` engine, which does not run yet, and return it."""
        definition = {"name": name, "image": "none", "run_command": run_command, "target_num_containers": containers}
        created = self.request("POST", "/api/v1/service/", definition)
        assert created.status == 201, created
        return dict(created.json)

    def run_service(self, name: str, run_command: str = "sleep 36000", containers: int = 1) -> str:
        """Create a service of the `local` engine, start it, wait until it runs, and return its UUID."""
        uuid = str(self.create_service(name, run_command, containers)["uuid"])
        assert self.request("POST", f"/api/v1/service/{uuid}/start/").status == 202
        self.wait_for_service(uuid, state="Running", running_num_containers=containers)
        return uuid

    def service(self, uuid: str) -> dict[str, Any]:
        return dict(self.request("GET", f"/api/v1/service/{uuid}/").json)

    def wait_for_service(self, uuid: str, timeout_s: float = LIMIT_S, **fields: object) -> None:
        """Wait until the service shows these values."""
        wait_until(lambda: fields.items() <= self.service(uuid).items(), f"{fields}", timeout_s=timeout_s)

    def find(self, name: str, **fields: object) -> dict[str, Any]:
        """Wait until a service of this name shows these values, and return it."""

        def matching() -> dict[str, Any] | None:
            services = self.request("GET", f"/api/v1/service/?name={name}").json["objects"]
            return next((dict(each) for each in services if fields.items() <= each.items()), None)

        return wait_until(matching, f"service {name} shows {fields}")

    def make_handler(self, service: str, **fields: Any) -> dict[str, Any]:
        """Create a webhook handler with these fields and return it."""
        created = self.request("POST", f"/api/v1/service/{service}/webhook/handler/", {"name": "hook", **fields})
        assert created.status == 201, created
        return dict(created.json)

    def add_handler(self, service: str, name: str = "hook", operation: str = "REDEPLOY") -> str:
        """Create a webhook handler and return its UUID."""
        return str(self.make_handler(service, name=name, operation=operation)["uuid"])

    def wait_for_action(self, path: str, timeout_s: float = LIMIT_S) -> dict[str, Any]:
        """Wait until an action has ended, and return it."""

        def ended() -> dict[str, Any] | None:
            action = dict(self.request("GET", path).json)
            return action if action["state"] in ("Success", "Failed", "Canceled") else None

        return wait_until(ended, f"{path} ends", timeout_s=timeout_s)

    def objects(self, path: str) -> list[dict[str, Any]]:
        """Return the objects of every page of a list."""
        found: list[dict[str, Any]] = []
        link: str | None = f"{path}?limit=100"
        while link:
            page = self.request("GET", link).json
            found += page["objects"]
            link = page["meta"]["next"]
        return found


def request(
    port: int, method: str, path: str, *, headers: Mapping[str, str], body: object = None, limit_s: float = LIMIT_S
) -> Answer:
    """Send one request over a new connection, with a body as JSON unless it is None.

    Raises:
        OSError or HTTPException: there was no complete response.
    """
    content = None if body is None else json.dumps(body).encode()
    types = {} if body is None else {"Content-Type": "application/json"}
    with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=limit_s)) as connection:
        connection.request(method, path, content, {**headers, **types})
        return _read(connection.getresponse())


def _read(response: http.client.HTTPResponse) -> Answer:
    body = response.read()
    return Answer(status=response.status, headers={k.lower(): v for k, v in response.getheaders()}, body=body)
