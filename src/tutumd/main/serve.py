"""`tutumd serve`: builds everything, serves until a signal, and ends in good order."""

import fcntl
import os
import signal
import socket
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import IO, Any

import structlog
import uvicorn

from tutumd import logs
from tutumd.application import accounts
from tutumd.errors import SettingsError
from tutumd.main import demo, engines
from tutumd.settings import Settings, read_settings
from tutumd.store.accounts import SqlAccounts
from tutumd.store.database import Database
from tutumd.store.intake import SqlIntake
from tutumd.store.queue import SqlQueue
from tutumd.store.signal import Signal
from tutumd.store.store import SqlStore
from tutumd.web.app import create_app
from tutumd.web.protocol import BoundedProtocol
from tutumd.web.state import Edge
from tutumd.worker.loop import Limits, Worker

GRACE_S = 10.0
_log = structlog.get_logger(__name__)


def serve(options: Mapping[str, Any]) -> None:
    """Serve until SIGTERM or SIGINT.

    Raises:
        SettingsError: Something in the settings keeps it from starting; says what.
    """
    logs.configure()
    settings, warnings = read_settings(os.environ, options)
    for warning in warnings:
        _log.warning(warning)
    with _alone(settings), _listen(settings) as listener:
        database = Database(settings.database_url)
        database.migrate()
        wake_up = Signal()
        store = SqlStore(database, _now, wake_up)
        queue = SqlQueue(database, _now, wake_up)
        queue.take_over()
        address = _address(settings, listener)
        _ensure_admin(store, settings)
        instances = engines.build(settings, own_container=engines.own_container_id())
        worker = Worker(queue, instances, Limits(max_containers=settings.max_containers), _now)
        intake = SqlIntake(database, _now, wake_up)
        edge = Edge(store=store, intake=intake, max_containers=settings.max_containers)
        worker.start()
        server = _server(create_app(edge, version("tutumd")), listener, address, tuple(instances))
        if settings.demo:
            show = threading.Thread(
                target=demo.run, args=(store, settings.data_dir, address, settings.max_containers), daemon=True
            )
            server.when_started(show.start)
        _run(server, listener)
        _log.info("server is ending")
        worker.stop(GRACE_S)
        intake.close()
        for instance in instances.values():
            instance.close()
        database.close()


def open_accounts(options: Mapping[str, Any]) -> SqlAccounts:
    """Open the accounts for a command, also while the server runs."""
    settings, _ = read_settings(os.environ, options)
    path = _sqlite_path(settings)
    if path is not None and not path.exists():
        raise SettingsError(f"there is no database {path}: start tutumd serve first, or give the right --data-dir")
    database = Database(settings.database_url)
    database.migrate()
    return SqlAccounts(database, _now)


class _Server(uvicorn.Server):
    """A uvicorn server that tells when it is ready."""

    def when_started(self, tell: Any) -> None:
        self._tell = [*getattr(self, "_tell", []), tell]

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        for tell in getattr(self, "_tell", []):
            tell()


def _server(app: Any, listener: socket.socket, address: str, names: tuple[str, ...]) -> _Server:
    config = uvicorn.Config(
        app,
        http=BoundedProtocol,
        ws="none",
        log_config=None,
        access_log=False,
        server_header=False,
        lifespan="off",
        proxy_headers=False,
        timeout_graceful_shutdown=int(GRACE_S),
        backlog=2048,
    )
    server = _Server(config)
    server.when_started(lambda: _log.info("server is ready", url=address, engines=", ".join(names)))
    return server


def _run(server: uvicorn.Server, listener: socket.socket) -> None:
    """Serve until a signal. uvicorn raises it once more when it is done, which must not end us before our work is."""

    def ignore(_number: int, _frame: object) -> None:
        pass

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, ignore)
    server.run(sockets=[listener])
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_DFL)


def _now() -> datetime:
    return datetime.now(UTC)


def _ensure_admin(store: SqlStore, settings: Settings) -> None:
    if any(user.is_admin for user in store.users()):
        return
    name = settings.admin_user or "admin"
    key = settings.admin_apikey or (
        demo.read_or_make_key(settings.data_dir) if settings.demo else accounts.generate_key()
    )
    accounts.add_user(store, name, is_admin=True)
    accounts.store_key(store, name, key)
    if not settings.admin_apikey and not settings.demo:
        print(
            f"The first admin was created. This key is shown only now:\n  user:    {name}\n  API key: {key}", flush=True
        )


@contextmanager
def _alone(settings: Settings) -> Iterator[None]:
    """Hold the data folder: a second server on it would perform everything twice."""
    try:
        settings.data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        lock: IO[str] = (settings.data_dir / "tutumd.lock").open("a")
    except OSError as error:
        raise SettingsError(f"the data folder {settings.data_dir} cannot be used: {error.strerror}") from error
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise SettingsError(
                f"another tutumd serves the data folder {settings.data_dir}: stop it, or give another --data-dir"
            ) from None
        yield


@contextmanager
def _listen(settings: Settings) -> Iterator[socket.socket]:
    try:
        listener = socket.create_server(
            (settings.host, settings.port),
            family=socket.AF_INET6 if ":" in settings.host else socket.AF_INET,
            backlog=2048,
        )
    except OSError as error:
        raise SettingsError(
            f"cannot listen on {settings.host} port {settings.port}: {error.strerror or error}; choose another --port"
        ) from error
    with listener:
        yield listener


def _address(settings: Settings, listener: socket.socket) -> str:
    if settings.public_url:
        return settings.public_url
    host = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}.get(settings.host, settings.host)  # noqa: S104 (only read)
    host = f"[{host}]" if ":" in host and not host.startswith("[") else host
    return f"http://{host}:{listener.getsockname()[1]}"


def _sqlite_path(settings: Settings) -> Path | None:
    prefix = "sqlite:///"
    return Path(settings.database_url.removeprefix(prefix)) if settings.database_url.startswith(prefix) else None
