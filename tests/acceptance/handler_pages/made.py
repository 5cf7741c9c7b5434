"""A handler of a test, and what the tests of its pages look at."""

import hashlib
import hmac
import sqlite3
from contextlib import closing
from typing import Any

from tests.support.pages import Page
from tests.support.server import LiveServer

SECRET = "0123456789abcdef-secret"


class Made:
    """A handler that a test made over the API."""

    def __init__(self, server: LiveServer, service: str, **fields: Any) -> None:
        self.server, self.service = server, service
        self.handler = server.make_handler(service, **fields)
        self.path = f"/service/{service}/handler/{number_of(server, self.handler['uuid'])}/"

    @property
    def now(self) -> dict[str, Any]:
        return dict(self.server.request("GET", self.handler["resource_uri"]).json)

    def call(self, body: bytes = b"", query: str = "", **headers: str) -> int:
        return self.server.post(self.handler["url"] + query, body, **headers).status


def said(page: Page) -> str:
    """Return what a page says about what was done, or went wrong."""
    found = [each for each in page.root.walk() if each.attributes.get("role") in ("alert", "status")]
    return " ".join(each.text for each in found if "hidden" not in each.attributes).strip()


def number_of(server: LiveServer, uuid: str) -> int:
    with closing(sqlite3.connect(next(server.data.glob("*.db")))) as connection:
        return int(connection.execute("SELECT seq FROM handlers WHERE uuid = ?", (uuid,)).fetchone()[0])


def newest(server: LiveServer, service: str) -> dict[str, Any]:
    """Return the newest handler of a service, over the API."""
    return server.objects(f"/api/v1/service/{service}/webhook/handler/")[-1]


def sign(body: bytes) -> str:
    return "sha256=" + hmac.digest(SECRET.encode(), body, hashlib.sha256).hex()
