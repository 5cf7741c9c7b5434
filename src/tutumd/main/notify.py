"""The notifier: the command `tutumd notifier`, and the child process of `tutumd serve`
(`python -m tutumd.main.notify`).
"""

from contextlib import ExitStack
from functools import partial
from importlib.metadata import version

from tutumd.application.notification_targets import decrypted
from tutumd.main import program
from tutumd.main.key_files import load_cipher
from tutumd.main.storage import Storage
from tutumd.model.notifications import TargetKind
from tutumd.notifier.apprise_kind import AppriseSender
from tutumd.notifier.issuers import fetch_due
from tutumd.notifier.loop import Notifier
from tutumd.notifier.outbound import Outbound
from tutumd.notifier.senders import ForgeSender, WebhookSender
from tutumd.ports import Sender
from tutumd.settings import Options, Settings


def notify(options: Options) -> None:
    """Send notifications until a signal. Raises SettingsError."""
    program.run("notifier", options, _build)


def _build(settings: Settings, storage: Storage, _stack: ExitStack, name: str, is_successor: bool) -> Notifier:
    if is_successor:
        storage.notifications.take_over(name)
    outbound = Outbound(settings.notify_allow, user_agent=f"tutumd/{version('tutumd')}")
    public_url = settings.public_url if settings.dashboard else ""  # links are addresses of pages
    senders: dict[TargetKind, Sender] = {
        TargetKind.WEBHOOK: WebhookSender(outbound, public_url=public_url),
        TargetKind.APPRISE: AppriseSender(public_url=public_url),
        TargetKind.FORGE: ForgeSender(outbound, public_url=public_url),
    }
    return Notifier(
        storage.notifications,
        senders,
        storage.clock,
        partial(decrypted, cipher=load_cipher(settings)),
        name=name,
        fetch_keys=partial(fetch_due, storage.notifications, outbound),
    )


if __name__ == "__main__":
    program.run_for_edge("notifier", _build)
