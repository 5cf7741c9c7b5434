"""`tutumd serve`, and `tutumd web`, its edge alone: build the objects, serve until a signal, stop."""

import os
import socket
from collections.abc import Sequence
from contextlib import ExitStack, closing
from functools import partial
from importlib.metadata import version
from threading import Thread

import structlog

from tutumd.main import demo
from tutumd.main.child_process import COMMAND, NOTIFIER_COMMAND, ChildProcess
from tutumd.main.key_files import SECRET_KEY_FILE, load_cipher
from tutumd.main.startup import check_host, check_user_header, configure, listen, start_of_urls
from tutumd.main.storage import Storage, ensure_admin, open_storage
from tutumd.settings import Options, Settings
from tutumd.store.intake.intake import SqlIntake

_log = structlog.get_logger(__name__)


def serve(options: Options, worker_command: Sequence[str] = COMMAND) -> None:
    """Serve the API until SIGTERM or SIGINT, with a worker and a notifier as child processes.

    Args:
        worker_command: Replaces the worker, for tests. Empty: no worker and no notifier.

    Raises:
        SettingsError: The server cannot start with these settings. The text gives the reason. The worker cannot start,
            and has printed the reason.
    """
    settings = configure(options)
    check_host(settings)
    check_user_header(settings)
    if settings.secret_key or os.access(settings.data_dir / SECRET_KEY_FILE, os.F_OK):
        load_cipher(settings)  # a wrong key must not fail only after something was made
    with ExitStack() as stack:
        storage = stack.enter_context(open_storage(settings, serves_and_works=bool(worker_command)))
        listener = stack.enter_context(listen(settings))
        children = _start_children(settings, storage, worker_command) if worker_command else []
        for child in children:
            stack.callback(child.close)
        if children:
            from tutumd.main import http  # noqa: F401 (slow to import; the worker starts in the meantime)

            children[0].ready.result()  # first, so that a wrong option does not hide the new admin's key
        _serve_http(settings, storage, listener, children)


def _start_children(settings: Settings, storage: Storage, worker_command: Sequence[str]) -> list[ChildProcess]:
    """Start the worker, and a notifier as soon as it is needed."""
    # A process gets the settings that the edge has read: a file may change, or be missing when a process starts.
    start = partial(ChildProcess, settings=settings.as_values(), lock=storage.lock, grace_s=settings.grace)
    return [
        start("worker", worker_command),
        start("notifier", NOTIFIER_COMMAND, is_needed=storage.notifications.is_needed),
    ]


def _serve_http(
    settings: Settings, storage: Storage, listener: socket.socket, children: Sequence[ChildProcess]
) -> None:
    url = start_of_urls(settings, listener.getsockname()[1])
    is_first_start = ensure_admin(storage.store, settings, url)
    # All of these are slow to import.
    from tutumd.application.admission.identity import read_issuers
    from tutumd.main import http
    from tutumd.web.context import WebContext
    from tutumd.web.scrapes import Scrapes

    def report_ready() -> None:
        _log.info("server is ready", url=url)
        if children and settings.demo:
            Thread(
                target=demo.run,
                args=(storage.store, settings.data_dir, url, settings.max_containers, settings.dashboard),
                daemon=True,
            ).start()

    with closing(
        SqlIntake(
            storage.database,
            storage.clock,
            storage.wakeup,
            max_keys=settings.max_keys,
            log_bytes=settings.log_bytes,
        )
    ) as intake:
        cipher = load_cipher(settings, is_first_start=is_first_start)
        if storage.database.dialect.path is None and not settings.secret_key:
            _log.warning("TUTUMD_SECRET_KEY is not set: other replicas cannot read secrets and status URLs of this one")
        scrapes = Scrapes(
            storage.figures.read,
            version("tutumd"),
            token=settings.metrics_token,
            networks=settings.metrics_allow_from,
        )
        context = WebContext(
            store=storage.store,
            clock=storage.clock,
            intake=intake,
            server_cap=settings.max_containers,
            cipher=cipher,
            trusted_proxies=map(str, settings.trusted_proxies),
            public_url=settings.public_url,
            worker_state=(lambda: children[0].state) if children else None,
            notifier_state=(lambda: children[1].state) if children else (lambda: "ok"),
            notification_delay_s=storage.figures.notification_delay_s,
            logs_requests=settings.access_log,
            has_dashboard=settings.dashboard,
            dashboard_networks=settings.dashboard_allow_from,
            user_header=settings.user_header,
            notify_networks=settings.notify_allow,
            allowed_issuers=read_issuers(settings.oidc_issuer),
            scrapes=scrapes if settings.metrics_token or settings.metrics_allow_from else None,
        )

        def report_stop() -> None:
            _log.info("server is stopping", grace_s=settings.grace)
            for child in children:
                child.stop()
            context.long_poll.stop()

        http.serve(
            context,
            listener,
            grace_s=settings.grace,
            stop_delay_s=settings.stop_delay,
            on_ready=report_ready,
            on_stop=report_stop,
        )
