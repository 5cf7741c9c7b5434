"""`tutumd serve`, and its halves `tutumd web` and `tutumd worker`: build the objects, run until a signal, stop."""

import os
import signal
import socket
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from datetime import timedelta
from threading import Event, Thread
from typing import Any

import structlog

from tutumd import logs
from tutumd.application import accounts
from tutumd.main import demo, engines
from tutumd.main.listening import listen, public_url
from tutumd.main.memory import limit_arenas
from tutumd.main.storage import Storage, ensure_admin, is_new, open_storage
from tutumd.ports.engine import Engine
from tutumd.settings import Settings, environment_warnings, read_settings
from tutumd.store.intake import SqlIntake
from tutumd.worker.loop import Worker, WorkerLimits

# Builds the engine instances by name, and puts on the stack what has to be closed.
BuildEngines = Callable[[Settings, ExitStack], Mapping[str, Engine]]

# A signal that the system delivers to another thread does not wake the main thread, which alone handles it.
_SIGNAL_POLL_S = 0.5

_log = structlog.get_logger(__name__)


def serve(options: Mapping[str, Any], build_engines: BuildEngines = engines.build) -> None:
    """Serve the API and perform its actions until SIGTERM or SIGINT.

    Args:
        build_engines: Replaces the engines of the setting `engine`, for tests.

    Raises:
        SettingsError: The server cannot start with these settings. The text says why.
    """
    settings = _configure(options)
    with ExitStack() as stack:
        storage = stack.enter_context(open_storage(settings, serves_and_works=True))
        listener = stack.enter_context(listen(settings))
        url = public_url(settings, listener)
        instances = build_engines(settings, stack)  # first: a wrong option must not hide the new admin's key
        ensure_admin(storage.store, settings)
        worker = _start_worker(settings, storage, instances)
        ready = Event()
        if settings.demo:
            arguments = (storage.store, settings.data_dir, url, settings.max_containers, ready)
            Thread(target=demo.run, args=arguments, daemon=True).start()
        stopping = Thread(target=worker.stop, args=(settings.grace,))
        _serve_http(settings, storage, listener, url, ready.set, stopping.start)
        stopping.join()


def web(options: Mapping[str, Any]) -> None:
    """Serve the API until a signal; `tutumd worker` processes perform the actions."""
    settings = _configure(options)
    with ExitStack() as stack:
        storage = stack.enter_context(open_storage(settings, serves_and_works=False))
        listener = stack.enter_context(listen(settings))
        ensure_admin(storage.store, settings)
        _serve_http(settings, storage, listener, public_url(settings, listener))


def work(options: Mapping[str, Any], build_engines: BuildEngines = engines.build) -> None:
    """Perform actions until a signal. `build_engines` is as for `serve`."""
    settings = _configure(options)
    stopped = Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stopped.set())
    with ExitStack() as stack:
        storage = stack.enter_context(open_storage(settings, serves_and_works=False))
        worker = _start_worker(settings, storage, build_engines(settings, stack))
        _log.info("worker is ready")
        while not stopped.wait(_SIGNAL_POLL_S):
            pass
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, signal.SIG_DFL)
        _log.info("worker is stopping", grace_s=settings.grace)
        worker.stop(settings.grace)


def _configure(options: Mapping[str, Any]) -> Settings:
    limit_arenas()
    logs.configure()
    settings = read_settings(options)
    _check(settings)
    for warning in environment_warnings(os.environ):
        _log.warning(warning)
    return settings


def _check(settings: Settings) -> None:
    """Raise SettingsError or InvalidInputError for what would fail only after something was made."""
    engines.parse_specs([text for text in settings.engine if text != "auto"])
    accounts.check_name(settings.admin_user or "admin")
    if settings.admin_apikey and is_new(settings):
        accounts.check_key(settings.admin_apikey)
    if settings.secret_key:
        from tutumd.main.secret_key import load_cipher  # slow to import

        load_cipher(settings)


def _start_worker(settings: Settings, storage: Storage, instances: Mapping[str, Engine]) -> Worker:
    limits = WorkerLimits(
        server_cap=settings.max_containers,
        keep=timedelta(days=settings.keep_days),
        run=settings.run_limits,
        engine_slots=settings.engine_slots,
        max_runs=settings.max_runs,
        log_rows=settings.log_rows,
        log_bytes=settings.log_bytes,
    )
    worker = Worker(storage.queue, instances, limits, storage.clock)
    worker.start()
    return worker


def _serve_http(
    settings: Settings,
    storage: Storage,
    listener: socket.socket,
    url: str,
    on_ready: Callable[[], None] = lambda: None,
    on_stop: Callable[[], None] = lambda: None,
) -> None:
    # All slow to import: the worker already works.
    from tutumd.main import http
    from tutumd.main.secret_key import load_cipher
    from tutumd.web.context import WebContext

    def report_ready() -> None:
        _log.info("server is ready", url=url)
        on_ready()

    intake = SqlIntake(
        storage.database,
        storage.clock,
        storage.wakeup,
        max_keys=settings.max_keys,
        log_bytes=settings.log_bytes,
    )
    try:
        cipher = load_cipher(settings)
        if storage.database.is_postgres and not settings.secret_key:
            _log.warning("TUTUMD_SECRET_KEY is not set: other replicas cannot read secrets and status URLs of this one")
        context = WebContext(
            store=storage.store,
            clock=storage.clock,
            intake=intake,
            server_cap=settings.max_containers,
            cipher=cipher,
            trusted_proxies=map(str, settings.trusted_proxies),
            public_url=settings.public_url,
        )

        def report_stop() -> None:
            _log.info("server is stopping", grace_s=settings.grace)
            on_stop()
            context.long_poll.stop()

        http.serve(context, listener, grace_s=settings.grace, on_ready=report_ready, on_stop=report_stop)
    finally:
        intake.close()
