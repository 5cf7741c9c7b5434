"""What each command does on a database that a newer or an older version has made, or that has another encoding."""

import os
import subprocess
from pathlib import Path

import pytest
import sqlalchemy as sa

from tests.support import next_release
from tests.support.server import BIN, free_port
from tutumd.main.storage import open_storage
from tutumd.settings import read_settings
from tutumd.store.sql.database import Database
from tutumd.store.tables.schema import HEAD
from tutumd.store.tables.upgrade import upgrade

SERVERS = {"serve": ("serve", "--engine", "local"), "web": ("web",), "worker": ("worker", "--engine", "local")}
ACCOUNTS = {"user": ("user", "list"), "apikey": ("apikey", "add", "admin")}


def run(folder: Path, database_url: str, *arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    """Run a command that ends."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("TUTUM")}
    options = ["--data-dir", str(folder / "data"), "--database", database_url]
    port = {"TUTUMD_PORT": str(free_port())}
    command = [str(BIN / "tutumd"), *arguments, *options]
    return subprocess.run(
        command,
        env=environment | port | variables,
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )


def schema(database_url: str) -> str:
    database = Database(database_url)
    with database.read() as connection:
        version = connection.scalar(sa.text("SELECT version_num FROM alembic_version"))
    database.close()
    return str(version)


@pytest.fixture
def newer(database_url: str, tmp_path: Path) -> str:
    """A database that a newer version has upgraded."""
    with open_storage(
        read_settings({"data_dir": tmp_path / "data", "database": database_url}), serves_and_works=True
    ) as opened:
        opened.store.add_user("admin", is_admin=True)
        with opened.database.write() as connection:
            connection.execute(sa.text("UPDATE alembic_version SET version_num = '9999'"))
    return database_url


@pytest.fixture
def older(database_url: str, tmp_path: Path) -> tuple[str, str]:
    """A database of this release, and where the next one is, which needs another schema."""
    database = Database(database_url)
    upgrade(database)
    database.close()
    return database_url, str(next_release.write_source(tmp_path / "next-release"))


@pytest.mark.slow
@pytest.mark.parametrize("command", [*SERVERS, *ACCOUNTS])
def test_a_schema_of_a_newer_version_is_refused_in_words(newer: str, tmp_path: Path, command: str) -> None:
    done = run(tmp_path, newer, *(SERVERS | ACCOUNTS)[command])
    assert (done.returncode, done.stdout) == (1, ""), done
    (line,) = [line for line in done.stderr.splitlines() if line.startswith("tutumd: ")]
    assert "the database has the schema 9999, and this tutumd 0." in line
    assert f"knows none after {HEAD}" in line
    assert line.endswith(
        "Install the newer tutumd, or restore the backup that was made before the upgrade; see UPGRADING.md"
    )
    assert "migrat" not in done.stderr
    assert schema(newer) == "9999"


@pytest.mark.slow
@pytest.mark.parametrize("command", ACCOUNTS)
def test_a_command_for_accounts_does_not_begin_an_upgrade(older: tuple[str, str], tmp_path: Path, command: str) -> None:
    database_url, source = older
    done = run(tmp_path, database_url, *ACCOUNTS[command], PYTHONPATH=source)
    assert (done.returncode, done.stdout) == (1, ""), done
    assert f"the database has the schema {HEAD} of an older tutumd" in done.stderr
    told = f"needs {next_release.HEAD}: start its server first, which upgrades the database; see UPGRADING.md"
    assert told in done.stderr
    assert schema(database_url) == HEAD
