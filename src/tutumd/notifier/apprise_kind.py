"""The kind `apprise`: a short text to a chat, a phone or a mailbox."""

import json
import os
import subprocess
import sys
from importlib.util import find_spec

from tutumd.model.notifications import MAX_ERROR_CHARS, ClaimedNotification, Event, SendResult
from tutumd.notifier.texts import page_links, shorten, write_body, write_title

LIMIT_S = 30
_COMMAND = (sys.executable, "-P", "-m", "tutumd.notifier.apprise_child")
_KINDS = {Event.ACTION_FAILED: "failure", Event.ENGINE_DOWN: "failure", Event.TARGET_DISABLED: "warning"}


class AppriseSender:
    """Sends a message in a process of its own, which gets the URL on standard input and ends within 30 seconds."""

    def __init__(self, *, public_url: str = "", limit_s: float = LIMIT_S) -> None:
        """Create the sender; an empty `public_url` sends no links."""
        self._public_url = public_url
        self._limit_s = limit_s

    def send(self, claimed: ClaimedNotification) -> SendResult:
        if not claimed.target.owner_is_admin:
            return SendResult(
                sent=False,
                error="the target's owner is no admin any more: only admins may have targets of the kind apprise",
                is_final=True,
            )
        if find_spec("apprise") is None:
            return SendResult(
                sent=False, error="the notifier does not have the Python package apprise: install tutumd[notify]"
            )
        payload = claimed.notification.payload
        message = {
            "url": claimed.target.settings["url"],
            "title": write_title(payload),
            "body": write_body(payload, page_links(claimed.notification, self._public_url)),
            "kind": _KINDS.get(claimed.notification.event, "info"),
        }
        # The settings of tutumd contain the key of all secrets.
        variables = {name: value for name, value in os.environ.items() if not name.startswith("TUTUMD_")}
        try:
            ended = subprocess.run(
                _COMMAND,
                input=json.dumps(message).encode(),
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                env=variables,
                timeout=self._limit_s,
                check=False,
            )
        except subprocess.TimeoutExpired:
            return SendResult(sent=False, error=f"the service did not respond within {self._limit_s:.0f} s")
        if ended.returncode:
            return SendResult(sent=False, error=f"Apprise ended with the code {ended.returncode}")
        return SendResult(sent=not ended.stdout, error=shorten(ended.stdout.decode(), MAX_ERROR_CHARS))
