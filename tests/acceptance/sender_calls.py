"""Calls as senders make them: their recorded payloads, signed as their documentation says."""

import hashlib
import hmac
import json
from pathlib import Path

from tests.support.server import Answer, LiveServer

_PAYLOADS = Path(__file__).parents[1] / "unit/application/payloads"


def send_payload(
    server: LiveServer,
    url: str,
    name: str,
    sender: str,
    secret: str,
    *,
    replaced: tuple[str, str] = ("", ""),
    key: str = "",
) -> Answer:
    """POST a recorded payload to a handler's whole URL.

    Args:
        sender: Key of the sender in the server's table, which signs it with `secret`; empty: it is not signed.
        replaced: A text of the body, and what stands there instead.
        key: Replaces the sender's ID of the delivery, so that it is another one.
    """
    recorded = json.loads(_PAYLOADS.joinpath(f"{name}.json").read_text(encoding="utf-8"))
    text = json.dumps(recorded["body"])
    body = (text.replace(*replaced) if replaced[0] else text).encode()
    headers = {name: value for name, value in recorded["headers"].items() if name != "Authorization"}
    headers |= {name: key for name in headers if key and (name.endswith("-Delivery") or name == "Idempotency-Key")}
    signature = hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()
    signed = {
        "github": {"X-Hub-Signature-256": f"sha256={signature}"},
        "ghcr": {"X-Hub-Signature-256": f"sha256={signature}"},
        "gitlab": {"X-Gitlab-Token": secret},
        "gitea": {"X-Gitea-Signature": signature, "X-Hub-Signature": f"sha1={'0' * 40}"},
        "bitbucket": {"X-Hub-Signature": f"sha256={signature}"},
        "harbor": {"Authorization": secret},
        "alertmanager": {"Authorization": f"Bearer {secret}"},
    }
    return server.post(url.removeprefix(server.url), body, **headers, **signed.get(sender, {}))
