"""The process of one message, since Apprise blocks without a limit: `python -m tutumd.notifier.apprise_child`.

Standard input is a JSON object with `url`, `title`, `body` and `kind`. Standard output is an error text; empty: the
message was sent.
"""

import json
import logging
import re
import resource
import signal
import sys
from urllib.parse import unquote

from apprise import Apprise, AppriseAsset, NotifyFormat

LIMIT_S = 30
_MEMORY_BYTES = 1024**3
_LONG = 6
_DELIMITERS = re.compile(r"[/:@?&=#,;+]+")


class _Reasons(logging.Handler):
    """Keeps what Apprise says about a failure, and prints nothing."""

    def __init__(self) -> None:
        super().__init__()
        self.texts: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        text = " ".join(record.getMessage().split())
        if record.levelno >= logging.WARNING:
            self.texts.append(text)
        elif text.startswith("Socket Exception: "):  # the cause: its last part, because requests quotes the URL before
            self.texts.append(text.rpartition(": ")[2].rstrip("'\")"))


def redact(text: str, url: str) -> str:
    """Return a text without the parts of a URL, except its scheme. A long part is removed within words, too."""
    raw = set(_DELIMITERS.split(url.partition("://")[2])) - {""}
    parts = raw | {unquote(part) for part in raw}
    for part in sorted(parts, key=len, reverse=True):
        pattern = re.escape(part) if len(part) >= _LONG else rf"(?<!\w){re.escape(part)}(?!\w)"
        text = re.sub(pattern, "…", text)
    return text


def send(url: str, title: str, body: str, kind: str) -> str:
    """Send a message, and return why it was not sent; empty: it was. Nothing is read from files or stored in files."""
    reasons = _Reasons()
    logger = logging.getLogger("apprise")
    logger.addHandler(reasons)
    logger.setLevel(logging.DEBUG)
    logger.propagate = False
    asset = AppriseAsset(
        app_id="tutumd",
        app_desc="tutumd",
        app_url="",
        image_url_mask="",
        image_url_logo="",
        image_path_mask=False,
        async_mode=False,
        http_redirects=False,
        pgp_autogen=False,
        pem_autogen=False,
        storage_mode="memory",
        allow_templates=False,
    )
    service = Apprise.instantiate(url, asset=asset, suppress_exceptions=True)
    if service is None:
        return "Apprise cannot read the URL of the target: compare it with the form that Apprise documents"
    sender = Apprise(asset=asset)
    sender.add(service)
    if sender.notify(body, title=title, notify_type=kind, body_format=NotifyFormat.TEXT):
        return ""
    return redact("; ".join(dict.fromkeys(reasons.texts)), url) or "Apprise gave no reason"


def main() -> None:
    """Send the message of standard input."""
    signal.alarm(LIMIT_S)
    resource.setrlimit(resource.RLIMIT_DATA, (_MEMORY_BYTES, _MEMORY_BYTES))
    output, sys.stdout = sys.stdout.buffer, sys.stderr  # what a library prints is no error text
    output.write(send(**json.load(sys.stdin)).encode())


if __name__ == "__main__":
    main()
