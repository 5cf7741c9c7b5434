"""`tutumd serve`, and its halves `tutumd web` and `tutumd worker`: build everything, work until a signal, end well."""

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
from tutumd.main import demo, engines, listening, storage
from tutumd.main.storage import Storage
from tutumd.ports import Engine
from tutumd.settings import Settings, read_settings
from tutumd.store.intake import SqlIntake
from tutumd.worker.loop import Worker, WorkerLimits

BuildEngines = Callable[[Settings, ExitStack], Mapping[str, Engine]]
"""Makes the engine instances by name; what has to be closed goes on the stack."""

_LOOK_S = 0.5
"""A signal that the system hands to another thread does not wake the main one, which alone handles it."""

_log = structlog.get_logger(__name__)


def serve(options: Mapping[str, Any], build_engines: BuildEngines = engines.build) -> None:
    """Serve the API and perform its actions until SIGTERM or SIGINT.

    Args:
        build_engines: Another source of engines than the setting `engine`, for tests.

    Raises:
        SettingsError: Something in the settings keeps it from starting; says what.
    """
    settings = _begin(options)
    with ExitStack() as stack:
        opened = stack.enter_context(storage.open_storage(settings, alone=True))
        listener = stack.enter_context(listening.listen(settings))
        address = listening.address(settings, listener)
        instances = build_engines(settings, stack)  # first: a wrong option must not hide the new admin's key
        storage.ensure_admin(opened.store, settings)
        worker = _start_worker(settings, opened, instances)
        served = Event()
        if settings.demo:
            arguments = (opened.store, settings.data_dir, address, settings.max_containers, served)
            Thread(target=demo.run, args=arguments, daemon=True).start()
        _serve_http(settings, opened, listener, address, stack, served.set)
        _log.info("server is ending", grace_s=settings.grace)
        worker.stop(settings.grace)


def web(options: Mapping[str, Any]) -> None:
    """Serve the API until a signal; its actions are performed by `tutumd worker` processes."""
    settings = _begin(options)
    with ExitStack() as stack:
        opened = stack.enter_context(storage.open_storage(settings, alone=False))
        listener = stack.enter_context(listening.listen(settings))
        storage.ensure_admin(opened.store, settings)
        _serve_http(settings, opened, listener, listening.address(settings, listener), stack, lambda: None)


def work(options: Mapping[str, Any], build_engines: BuildEngines = engines.build) -> None:
    """Perform actions until a signal. `build_engines` is as for `serve`."""
    settings = _begin(options)
    ended = Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: ended.set())
    with ExitStack() as stack:
        opened = stack.enter_context(storage.open_storage(settings, alone=False))
        worker = _start_worker(settings, opened, build_engines(settings, stack))
        _log.info("worker is ready")
        while not ended.wait(_LOOK_S):
            pass
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, signal.SIG_DFL)
        _log.info("worker is ending", grace_s=settings.grace)
        worker.stop(settings.grace)


def _begin(options: Mapping[str, Any]) -> Settings:
    logs.configure()
    settings, warnings = read_settings(os.environ, options)
    for warning in warnings:
        _log.warning(warning)
    return settings


def _start_worker(settings: Settings, opened: Storage, instances: Mapping[str, Engine]) -> Worker:
    limits = WorkerLimits(server_cap=settings.max_containers, keep=timedelta(days=settings.keep_days))
    worker = Worker(opened.queue, instances, limits, opened.clock)
    worker.start()
    return worker


def _serve_http(
    settings: Settings,
    opened: Storage,
    listener: socket.socket,
    address: str,
    stack: ExitStack,
    when_started: Callable[[], None],
) -> None:
    from tutumd.main import http  # slow to import: the worker is already at work
    from tutumd.main.secret_key import load_cipher
    from tutumd.web.context import WebContext

    intake = SqlIntake(opened.database, opened.clock, opened.wakeup)
    stack.callback(intake.close)
    cipher = load_cipher(settings)
    if opened.database.is_postgres and not settings.secret_key:
        _log.warning("TUTUMD_SECRET_KEY is not set: other replicas cannot read secrets and status URLs of this one")
    edge = WebContext(
        store=opened.store,
        clock=opened.clock,
        intake=intake,
        server_cap=settings.max_containers,
        cipher=cipher,
        trusted_proxies=settings.trusted_proxies,
    )
    server = http.make_server(edge, settings, address)
    server.when_started(when_started)
    http.run(server, listener)
