"""Further users, added while the server runs, and the operator's commands for them."""

import os
import secrets
import sqlite3
import subprocess
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from tests.support.server import BIN, LIMIT_S, Answer, LiveServer
from tutumd.application import accounts
from tutumd.application.digests import sha256_hex
from tutumd.model import NewKey
from tutumd.store.accounts import SqlAccounts
from tutumd.store.database import Database


@dataclass(frozen=True, slots=True, kw_only=True)
class Member:
    """A user with one of their keys."""

    server: LiveServer
    name: str
    key: str

    def send(self, method: str, path: str, body: object = None) -> Answer:
        """Send a request as this user."""
        return self.server.request(method, path, body, authorization=f"ApiKey {self.name}:{self.key}")


def run_tutumd(data: Path, *arguments: str, **variables: str) -> "subprocess.CompletedProcess[str]":
    """Run a command of `tutumd` to its end."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("TUTUM")}
    return subprocess.run(
        [str(BIN / "tutumd"), *arguments],
        env=inherited | {"TUTUMD_DATA_DIR": str(data)} | variables,
        capture_output=True,
        text=True,
        timeout=LIMIT_S,
        check=False,
    )


def add_member(server: LiveServer, name: str) -> Member:
    """Add a user with a key. `tutumd user add` and `tutumd apikey add` do the same, but take longer to start."""
    with opened_accounts(server) as store:
        accounts.add_user(store, name, is_admin=False)
        return Member(server=server, name=name, key=accounts.add_key(store, name))


def add_limited_key(server: LiveServer, name: str, **limits: Any) -> Member:
    """Give a user a key with the limits of `NewKey`."""
    key = accounts.generate_key()
    with opened_accounts(server) as store:
        store.add_key(name, NewKey(key_sha256=sha256_hex(key), hint=key[: accounts.HINT_LENGTH], **limits))
    return Member(server=server, name=name, key=key)


def key_id_of(member: Member) -> str:
    """Return the ID by which the API names the key of a user."""
    return sha256_hex(member.key)[: accounts.ID_LENGTH]


def add_login_link(server: LiveServer, name: str, *, lasts_s: float = 3600) -> str:
    """Return the token of a new link that signs a user in once."""
    token = secrets.token_urlsafe(32)
    with opened_accounts(server) as store:
        store.add_login_link(name, sha256_hex(token), datetime.now(UTC) + timedelta(seconds=lasts_s))
    return token


@contextmanager
def opened_accounts(server: LiveServer) -> Iterator[SqlAccounts]:
    """Open the accounts of a server beside it."""
    with closing(Database(f"sqlite:///{server.data / 'tutumd.db'}")) as database:
        yield SqlAccounts(database, lambda: datetime.now(UTC))


def give(server: LiveServer, service: str, owner: str) -> None:
    """Set the owner of a service of the local engine. On other engines the label `tutum.owner` does that."""
    with closing(sqlite3.connect(server.data / "tutumd.db", timeout=LIMIT_S)) as connection, connection:
        connection.execute("UPDATE services SET owner = ? WHERE uuid = ?", (owner, service))
