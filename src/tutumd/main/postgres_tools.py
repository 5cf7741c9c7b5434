"""How to back up a database on PostgreSQL, whose own tools do it."""

import shutil
import subprocess
from shlex import quote

import sqlalchemy as sa

from tutumd.errors import TutumdError
from tutumd.main.key_files import SECRET_KEY_FILE
from tutumd.settings import Settings
from tutumd.store.sql.database import Database

_LIMIT_S = 10


def explain_dump(settings: Settings, target: str) -> str:
    """Return the command that backs up the database to a file, and what is missing for it."""
    database = Database(settings.database_url)
    try:
        url = _without_password(database.url)
        found, server = _tool_version("pg_dump"), _server_version(database)
        lines = [
            "the database is on PostgreSQL, whose own tools back it up. Run",
            f"  (umask 077; pg_dump --format=custom --file={quote(target)} --dbname={quote(url)})",
        ]
        if database.url.password:
            lines.append("with the password in PGPASSWORD or ~/.pgpass.")
        if found is None:
            wanted = f"postgresql-client-{server}" if server else "postgresql-client"
            lines.append(f"pg_dump is not installed here: run it on another machine, or install {wanted}.")
        elif server and found < server:
            lines.append(
                f"pg_dump {found} here is older than the server, {server}: install postgresql-client-{server}."
            )
    finally:
        database.close()
    key = settings.data_dir / SECRET_KEY_FILE
    kept = "TUTUMD_SECRET_KEY" if settings.secret_key else str(key)
    lines.append(f"Keep the key for secrets, {kept}, with it. To restore, see docs/how-to/database.md")
    return "\n".join(lines)


def explain_restore() -> str:
    """Return how to restore a database on PostgreSQL."""
    return (
        "the database is on PostgreSQL, and tutumd restore is for SQLite: empty the database, and restore the dump with"
        " pg_restore, see docs/how-to/database.md"
    )


def _without_password(url: sa.URL) -> str:
    return sa.URL.create(
        "postgresql", username=url.username, host=url.host, port=url.port, database=url.database, query=url.query
    ).render_as_string()


def _tool_version(program: str) -> int | None:
    if shutil.which(program) is None:
        return None
    told = subprocess.run([program, "--version"], capture_output=True, text=True, timeout=_LIMIT_S, check=False).stdout
    digits = next((word.partition(".")[0] for word in told.split() if word[0].isdigit()), "")
    return int(digits) if digits.isdigit() else None


def _server_version(database: Database) -> int | None:
    try:
        with database.read() as connection:
            return int(connection.exec_driver_sql("SHOW server_version_num").scalar_one()) // 10_000
    except TutumdError:
        return None
