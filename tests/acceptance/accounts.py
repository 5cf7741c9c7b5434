"""Further users, added while the server runs, and the operator's commands for them."""

import os
import sqlite3
import subprocess
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from tests.support.server import BIN, Answer, LiveServer
from tutumd.application import accounts
from tutumd.store.accounts import SqlAccounts
from tutumd.store.database import Database


@dataclass(frozen=True, slots=True, kw_only=True)
class Member:
    """A user who is not an admin."""

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
        timeout=30,
        check=False,
    )


def add_member(server: LiveServer, name: str) -> Member:
    """Add a user with a key. `tutumd user add` and `tutumd apikey add` do the same, but take longer to start."""
    database = Database(f"sqlite:///{server.data / 'tutumd.db'}")
    try:
        store = SqlAccounts(database, lambda: datetime.now(UTC))
        accounts.add_user(store, name, is_admin=False)
        return Member(server=server, name=name, key=accounts.add_key(store, name))
    finally:
        database.close()


def give(server: LiveServer, service: str, owner: str) -> None:
    """Set the owner of a service of the local engine. On other engines the label `tutum.owner` does that."""
    with closing(sqlite3.connect(server.data / "tutumd.db", timeout=10)) as connection, connection:
        connection.execute("UPDATE services SET owner = ? WHERE uuid = ?", (owner, service))
