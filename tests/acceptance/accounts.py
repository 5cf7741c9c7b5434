"""Further users, added while the server runs, and the operator's commands for them."""

import secrets
import sqlite3
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from tests.acceptance import console
from tests.support.api import BIN, LIMIT_S, Answer, Api
from tests.support.programs import Finished, finished, without_settings
from tutumd.application import accounts
from tutumd.application.digests import sha256_hex
from tutumd.model import NewKey


@dataclass(frozen=True, slots=True, kw_only=True)
class Member:
    """A user with one of their keys."""

    server: Api
    name: str
    key: str

    def send(self, method: str, path: str, body: object = None) -> Answer:
        """Send a request as this user."""
        return self.server.request(method, path, body, authorization=f"ApiKey {self.name}:{self.key}")


def run_tutumd(data: Path, *arguments: str, **variables: str) -> Finished:
    """Run a command of `tutumd` to its end: in this process, unless it serves if nothing keeps it from that."""
    inherited = without_settings()
    environment = inherited | {"TUTUMD_DATA_DIR": str(data)} | variables
    if arguments[0] != "serve":
        done = console.run_tutumd(environment, *arguments)
        return Finished(arguments, done.returncode, done.stdout.decode(), done.stderr.decode())
    command = [str(BIN / "tutumd"), *arguments]
    return finished(command, env=environment)


def add_member(server: Api, name: str) -> Member:
    """Add a user with a key. `tutumd user add` and `tutumd apikey add` do the same, but take longer to start."""
    with server.accounts() as store:
        key = accounts.generate_key()
        accounts.add_user(store, name, is_admin=False, key=key)
    return Member(server=server, name=name, key=key)


def add_limited_key(server: Api, name: str, **limits: Any) -> Member:
    """Give a user a key with the limits of `NewKey`."""
    key = accounts.generate_key()
    with server.accounts() as store:
        store.add_key(name, NewKey(key_sha256=sha256_hex(key), hint=key[: accounts.HINT_LENGTH], **limits))
    return Member(server=server, name=name, key=key)


def key_id_of(member: Member) -> str:
    """Return the ID by which the API names the key of a user."""
    return sha256_hex(member.key)[:16]


def add_login_link(server: Api, name: str, *, lasts_s: float = 3600) -> str:
    """Return the token of a new link that signs a user in once."""
    token = secrets.token_urlsafe(32)
    with server.accounts() as store:
        store.add_login_link(name, sha256_hex(token), datetime.now(UTC) + timedelta(seconds=lasts_s))
    return token


def give(server: Api, service: str, owner: str) -> None:
    """Set the owner of a service of the local engine. On other engines the label `tutum.owner` does that."""
    with closing(sqlite3.connect(server.data / "tutumd.db", timeout=LIMIT_S)) as connection, connection:
        connection.execute("UPDATE services SET owner = ? WHERE uuid = ?", (owner, service))
