"""The database and the data folder: opening them, and excluding other servers."""

import errno
import fcntl
import os
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from shlex import quote
from typing import TYPE_CHECKING

from tutumd.errors import ConflictError, SettingsError, UnavailableError
from tutumd.main.key_files import DEMO_KEY_FILE, make_private, open_private, read_or_create
from tutumd.ports import Clock
from tutumd.store.objects.figures import SqlFigures
from tutumd.store.queue.leases import boot_clock
from tutumd.store.queue.notifier_queue import SqlNotificationQueue
from tutumd.store.queue.queue import SqlQueue
from tutumd.store.sql import Database, WakeSocket, Wakeup, probe
from tutumd.store.sql.faults import explain
from tutumd.store.sql.postgres_listener import Listener, database_clock
from tutumd.store.store import SqlStore
from tutumd.store.tables.upgrade import upgrade

if TYPE_CHECKING:
    from tutumd.settings import Settings


@dataclass(frozen=True, slots=True, kw_only=True)
class Storage:
    """The open database, and the objects that use it.

    Attributes:
        lock: File descriptor that excludes other servers for as long as any process has it open.
    """

    database: Database
    store: SqlStore
    figures: SqlFigures
    queue: SqlQueue
    notifications: SqlNotificationQueue
    wakeup: Wakeup
    clock: Clock
    lock: int


_LOCK_POLL_S = 0.05
ORPHAN_S = 15.0
"""A killed server leaves a worker, which ends within less than this time, unless the system is very busy."""


def now() -> datetime:
    """Return the time of this machine."""
    return datetime.now(UTC)


@contextmanager
def open_storage(settings: "Settings", *, serves_and_works: bool) -> Iterator[Storage]:
    """Open the database and bring its schema up to date.

    Args:
        serves_and_works: This process is the edge, and starts its worker. On SQLite, no other server may then use the
            database, and actions that a killed server left in progress are taken over immediately.

    Raises:
        SettingsError: The database or the data folder cannot be used, or another server uses it.
    """
    database = Database(settings.database_url, settings.listen_url, settings.pool_size)
    path = database.dialect.path
    exclusive = serves_and_works and path is not None
    with ExitStack() as stack:
        lock = stack.enter_context(lock_folder(settings, exclusive=exclusive))
        if path is not None:
            if os.access(restoring_file(path), os.F_OK):  # `exists` may raise
                raise SettingsError(f"{path} is half restored: run tutumd restore again, with the same backup")
            make_private(path, settings.data_dir)
        stack.callback(database.close)
        with _explained_faults(database):
            upgrade(database)
            with database.write() as connection:
                probe(connection)
        storage = stack.enter_context(_connected(database, lock))
        if exclusive:
            storage.queue.take_over()
        yield storage


@contextmanager
def lock_folder(settings: "Settings", *, exclusive: bool = True) -> Iterator[int]:
    """Hold the locks of the data folder; yield the file descriptor of the lock that a child process inherits.

    Raises SettingsError if a server uses the folder.
    """
    hint = f"another tutumd works with the data folder {settings.data_dir}: stop it, or give another --data-dir"
    # A command holds the first lock itself, so that a second command learns of it immediately. The worker of a server
    # inherits the other lock, which is therefore free only after the worker has ended.
    with (
        locked(settings.data_dir / "command.lock", hint, exclusive=exclusive),
        locked(settings.data_dir / "tutumd.lock", hint, exclusive=exclusive, wait_s=ORPHAN_S) as lock,
    ):
        yield lock


def restoring_file(database: Path) -> Path:
    """Return the file that exists while a backup replaces an SQLite database."""
    return database.with_name(f"{database.name}.restoring")


@contextmanager
def share_storage(settings: "Settings") -> Iterator[Storage]:
    """Open the database that the parent process has locked and upgraded."""
    database = Database(settings.database_url, settings.listen_url, settings.pool_size)
    with closing(database), _connected(database) as storage:
        yield storage


@contextmanager
def _connected(database: Database, lock: int = -1) -> Iterator[Storage]:
    database.logs_faults = True
    wakeup, path = Wakeup(), database.dialect.path
    with ExitStack() as stack:
        clock: Clock = now
        if path is not None:
            stack.callback(WakeSocket(path.with_suffix(".wake"), wakeup).close)
            lease_clock = boot_clock(database)
        else:  # shared with other machines, whose clocks may differ
            clock = lease_clock = shared_clock = database_clock(database)
            stack.callback(Listener(database.listen_url, wakeup, shared_clock).close)
        yield Storage(
            database=database,
            store=SqlStore(database, clock, wakeup),
            figures=SqlFigures(database, clock, wakeup, lease_clock),
            queue=SqlQueue(database, clock, wakeup, lease_clock),
            notifications=SqlNotificationQueue(database, clock, wakeup, lease_clock),
            wakeup=wakeup,
            clock=clock,
            lock=lock,
        )


def sqlite_path(settings: "Settings") -> Path | None:
    """Return the file of an SQLite database; None: the database is on PostgreSQL."""
    _, prefix, path = settings.database_url.partition("sqlite:///")
    return Path(path) if prefix else None


def open_store(settings: "Settings") -> SqlStore:
    """Open the store for a command, also while the server runs.

    Only a server changes the schema of an older version: a command must not begin an upgrade beside older servers.
    """
    path = sqlite_path(settings)
    if path is not None and not os.access(path, os.F_OK):  # `exists` may raise
        raise SettingsError(f"there is no database {path}: start tutumd serve first, or give the right --data-dir")
    database = Database(settings.database_url)
    with _explained_faults(database):
        upgrade(database, from_older=False)
    return SqlStore(database, now, Wakeup())


@contextmanager
def _explained_faults(database: Database) -> Iterator[None]:
    try:
        yield
    except UnavailableError as error:
        cause, said = explain(error)
        raise SettingsError(
            f"the database {database.url.render_as_string(hide_password=True)} cannot be used: {cause} ({said})"
        ) from error


def ensure_admin(store: SqlStore, settings: "Settings", url: str) -> bool:
    """Create the first admin if there is none, and print the key if it was generated; return whether the admin was
    created.

    If an admin exists and people read the log, print how to get a key.
    """
    admin = next((user.name for user in store.users() if user.is_admin), None)
    if admin is not None:
        if settings.log_format == "text":  # otherwise a program reads it
            # The URL of a database may contain a password.
            place = "--database URL" if settings.database else f"--data-dir {quote(str(settings.data_dir))}"
            print(  # not through the log, which hides any text after `apikey`
                f"For a new API key run: {quote(sys.argv[0])} apikey add {quote(admin)} --scope admin {place}",
                file=sys.stderr,
                flush=True,
            )
        return False
    from tutumd.application import accounts  # slow to import, and the worker is without it

    name = settings.admin_user or "admin"
    key = settings.admin_apikey or (
        read_or_create(settings.data_dir / DEMO_KEY_FILE, accounts.generate_key)
        if settings.demo
        else accounts.generate_key()
    )
    try:
        accounts.add_user(store, name, is_admin=True, key=key)
    except ConflictError as error:
        if any(user.is_admin for user in store.users()):
            return False  # another replica was faster, and prints the key
        raise SettingsError(f"the first admin {name!r} cannot be created: {error}") from error
    if not settings.admin_apikey and not settings.demo:
        print(
            f"The first admin was created. This key is shown only now:\n  user:    {name}\n  API key: {key}"
            + (f"\nSign in with it at {url}/" if settings.dashboard else ""),
            flush=True,
        )
    return True


@contextmanager
def locked(path: Path, hint: str, *, exclusive: bool, wait_s: float = 0.0) -> Iterator[int]:
    """Hold a lock file. If its folder does not exist, it is created so that only its owner can read it.

    Args:
        wait_s: Maximum wait for another process that is ending.

    Yields:
        The file descriptor. A process that inherits it also holds the lock until it ends.

    Raises:
        SettingsError: The folder cannot be used, or its file system has no locks. If another process holds the lock,
            the text is `hint`.
    """
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        # For reading, too, because NFS gives no shared lock otherwise.
        file = open(path, "a+", opener=open_private)  # noqa: SIM115 (closed below)
    except OSError as error:
        raise SettingsError(f"the data folder {path.parent} cannot be used: {_with_fix(path.parent, error)}") from error
    with file:
        deadline = time.monotonic() + wait_s
        while True:
            try:
                fcntl.flock(file, (fcntl.LOCK_EX if exclusive else fcntl.LOCK_SH) | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() >= deadline:
                    raise SettingsError(hint) from None
            except OSError as error:
                raise SettingsError(
                    f"{path} cannot be locked: {error.strerror}; give a --data-dir on a file system with locks (flock)"
                ) from error
            time.sleep(_LOCK_POLL_S)
        yield file.fileno()


def _with_fix(folder: Path, error: OSError) -> str:
    if isinstance(error, PermissionError):
        return (
            f"{error.strerror}; run chown -R {os.geteuid()}:{os.getegid()} {quote(str(folder))}, for a container on the"
            " folder or volume that is mounted there"
        )
    if error.errno == errno.EROFS:
        return f"{error.strerror}; mount a volume there, or give another --data-dir"
    return str(error.strerror)
