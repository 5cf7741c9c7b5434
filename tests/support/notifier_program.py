"""Program that runs and kills notifiers. Usage: `… DATABASE_URL DATA_DIR KEY`.

It answers each line of its standard input, a time in seconds, with one line after it has run a notifier for this time
and killed it. After the line `last`, a notifier runs until the end of the input.
"""

import os
import signal
import sys
import time
from collections.abc import Callable, Mapping
from datetime import timedelta
from functools import partial
from ipaddress import ip_network

from tutumd import logs
from tutumd.application.admission.encryption import SecretCipher
from tutumd.application.notification_targets import decrypted
from tutumd.main.storage import share_storage
from tutumd.model.notifications import Target, TargetKind
from tutumd.notifier import loop
from tutumd.notifier.outbound import Outbound
from tutumd.notifier.senders import WebhookSender
from tutumd.settings import Settings, read_settings

loop.LEASE = timedelta(seconds=0.3)  # no attempt takes as long, and the next notifier should not wait


def main() -> None:
    """Obey until the input ends. Each notifier is a fork: its start takes milliseconds."""
    url, folder, key = sys.argv[1:]
    logs.configure("critical")
    settings = read_settings({"database": url, "data_dir": folder})
    sender = WebhookSender(Outbound([ip_network("127.0.0.0/8")], user_agent="test"))
    decrypt = partial(decrypted, cipher=SecretCipher([key]))
    for line in iter(sys.stdin.readline, ""):
        pid = os.fork()
        if pid == 0:
            _run(settings, sender, decrypt)
        if line == "last\n":
            sys.stdin.read()
        else:
            time.sleep(float(line))
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        print("killed", flush=True)


def _run(settings: Settings, sender: WebhookSender, decrypt: Callable[[Target], Mapping[str, str]]) -> None:
    with share_storage(settings) as storage:
        senders = {TargetKind.WEBHOOK: sender}
        loop.Notifier(storage.notifications, senders, storage.clock, decrypt, name=str(os.getpid())).start()
        while True:
            signal.pause()


if __name__ == "__main__":
    main()
