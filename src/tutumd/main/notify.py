"""The notifier: the command `tutumd notifier`, and the child process of `tutumd serve`
(`python -m tutumd.main.notify`).
"""

import uuid
from collections.abc import Mapping
from contextlib import ExitStack
from importlib.metadata import version
from typing import Any

import structlog

from tutumd.main import told_errors
from tutumd.main.edge import Edge, StopRequest
from tutumd.main.healthcheck import process_health
from tutumd.main.key_files import load_cipher
from tutumd.main.startup import configure
from tutumd.main.storage import Storage, open_storage, share_storage
from tutumd.model.notifications import TargetKind
from tutumd.notifier.apprise_kind import AppriseSender
from tutumd.notifier.forge import ForgeSender
from tutumd.notifier.loop import Notifier
from tutumd.notifier.outbound import Outbound
from tutumd.notifier.webhook import WebhookSender
from tutumd.ports.notifications import Sender
from tutumd.settings import Settings

_log = structlog.get_logger(__name__)


def notify(options: Mapping[str, Any]) -> None:
    """Send notifications until a signal.

    Raises:
        SettingsError: The notifier cannot start with these settings. The text gives the reason.
    """
    settings = configure(options)
    stop = StopRequest()
    with ExitStack() as stack:
        storage = stack.enter_context(open_storage(settings, serves_and_works=False))
        notifier = _start(settings, storage, str(uuid.uuid4()))
        stack.enter_context(process_health("notifier", lambda: notifier.state, lambda: notifier.liveness))
        _log.info("notifier is ready")
        _stop_when_requested(notifier, stop, settings.grace)


def notify_for_edge() -> None:
    """Send notifications until the edge or a signal requests a stop, or the edge dies."""
    edge = Edge()
    if edge.task is None:
        return
    with told_errors(), ExitStack() as stack:
        settings = configure(edge.task["options"], is_checked=True)
        storage = stack.enter_context(share_storage(settings))
        if edge.task["is_successor"]:
            storage.notifications.take_over(edge.task["name"])
        notifier = _start(settings, storage, edge.task["name"])
        edge.report_ready(lambda: notifier.stop(0))
        _stop_when_requested(notifier, edge.stop, settings.grace)


def _start(settings: Settings, storage: Storage, name: str) -> Notifier:
    notifier = Notifier(storage.notifications, _build_senders(settings), storage.clock, name=name)
    notifier.start()
    return notifier


def _build_senders(settings: Settings) -> dict[TargetKind, Sender]:
    cipher = load_cipher(settings)
    outbound = Outbound(settings.notify_allow, user_agent=f"tutumd/{version('tutumd')}")
    public_url = settings.public_url if settings.dashboard else ""  # links are addresses of pages
    return {
        TargetKind.WEBHOOK: WebhookSender(outbound, cipher, public_url=public_url),
        TargetKind.APPRISE: AppriseSender(cipher, public_url=public_url),
        TargetKind.FORGE: ForgeSender(outbound, cipher, public_url=public_url),
    }


def _stop_when_requested(notifier: Notifier, stop: StopRequest, grace_s: float) -> None:
    stop.wait()
    _log.info("notifier is stopping", grace_s=grace_s)
    notifier.stop(grace_s)


if __name__ == "__main__":
    notify_for_edge()
