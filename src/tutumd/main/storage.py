"""Opening the database, and who may be on it and on the data folder."""

import fcntl
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from sqlalchemy.exc import DBAPIError

from tutumd.application import accounts
from tutumd.errors import ConflictError, SettingsError, UnavailableError
from tutumd.main import demo
from tutumd.ports import Clock
from tutumd.settings import Settings, read_settings
from tutumd.store.accounts import SqlAccounts
from tutumd.store.clocks import database_clock, machine_clock
from tutumd.store.database import Database
from tutumd.store.queue import SqlQueue
from tutumd.store.store import SqlStore
from tutumd.store.wakeup import Listener, Wakeup


@dataclass(frozen=True, slots=True, kw_only=True)
class Storage:
    """What stands on the database."""

    database: Database
    store: SqlStore
    queue: SqlQueue
    wakeup: Wakeup
    clock: Clock


def now() -> datetime:
    """Tell the time."""
    return datetime.now(UTC)


@contextmanager
def open_storage(settings: Settings, *, alone: bool) -> Iterator[Storage]:
    """Open the database and bring its schema up to date.

    Args:
        alone: This process both serves and works: on SQLite no other one may use the database, and what a killed
            one left in progress is taken up at once.
    """
    database = Database(settings.database_url)
    make_folder(settings.data_dir)
    how = fcntl.LOCK_EX if alone and not database.is_postgres else fcntl.LOCK_SH
    hint = f"another tutumd works with the data folder {settings.data_dir}: stop it, or give another --data-dir"
    with locked(settings.data_dir / "tutumd.lock", how, hint):
        _migrate(database)
        wakeup = Wakeup()
        clock, leases, listener = _agree_on_time(database, wakeup)
        queue = SqlQueue(database, clock, wakeup, leases)
        if how == fcntl.LOCK_EX:
            queue.take_over()
        try:
            store = SqlStore(database, clock, wakeup)
            yield Storage(database=database, store=store, queue=queue, wakeup=wakeup, clock=clock)
        finally:
            if listener is not None:
                listener.close()
            database.close()


def _agree_on_time(database: Database, wakeup: Wakeup) -> tuple[Clock, Clock, Listener | None]:
    """Make the clock, the clock of leases, and what keeps them right: other machines may have another time."""
    if not database.is_postgres:
        return now, machine_clock(database, now), None
    clock = database_clock(database)
    return clock, clock, Listener(database.url, wakeup, clock)


def open_accounts(options: Mapping[str, Any]) -> SqlAccounts:
    """Open the accounts for a command, also while the server runs."""
    settings, _ = read_settings(os.environ, options)
    path = Path(settings.database_url.removeprefix("sqlite:///"))
    if settings.database_url.startswith("sqlite:///") and not path.exists():
        raise SettingsError(f"there is no database {path}: start tutumd serve first, or give the right --data-dir")
    database = Database(settings.database_url)
    _migrate(database)
    return SqlAccounts(database, now)


def _migrate(database: Database) -> None:
    """Bring the schema up to date. Raises SettingsError where there is no usable database."""
    try:
        database.migrate()
    except (UnavailableError, DBAPIError) as error:
        fault = error if isinstance(error, DBAPIError) else error.__cause__
        why = fault.orig if isinstance(fault, DBAPIError) else error
        url = database.url.render_as_string(hide_password=True)
        raise SettingsError(f"the database {url} cannot be used: {why}") from error


def ensure_admin(store: SqlStore, settings: Settings) -> None:
    """Create the first admin where there is none, and show the key if it was made here."""
    if any(user.is_admin for user in store.users()):
        return
    name = settings.admin_user or "admin"
    key = settings.admin_apikey
    if not key:
        key = demo.read_or_make_key(settings.data_dir) if settings.demo else accounts.generate_key()
    try:
        accounts.add_user(store, name, is_admin=True, key=key)
    except ConflictError as error:
        if any(user.is_admin for user in store.users()):
            return  # another replica was quicker, and shows the key
        raise SettingsError(f"the first admin {name!r} cannot be made: {error}") from error
    if not settings.admin_apikey and not settings.demo:
        print("The first admin was created. This key is shown only now:", flush=True)
        print(f"  user:    {name}\n  API key: {key}", flush=True)


def make_folder(folder: Path) -> None:
    """Make a folder that only its owner reads, where there is none."""
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise SettingsError(f"the data folder {folder} cannot be used: {error.strerror}") from error


@contextmanager
def locked(path: Path, how: int, hint: str) -> Iterator[None]:
    """Hold a lock file. Raises SettingsError with the hint where somebody else holds it."""
    try:
        file = path.open("a")
    except OSError as error:
        raise SettingsError(f"the data folder {path.parent} cannot be used: {error.strerror}") from error
    with file:
        try:
            fcntl.flock(file, how | fcntl.LOCK_NB)
        except OSError:
            raise SettingsError(hint) from None
        yield
