"""Calls for tests: payloads as senders document them, and signing them."""

import hashlib
import hmac
import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from tutumd.application.admission.evaluate import CallInput, Verdict, evaluate, parse_options
from tutumd.application.admission.fields import HandlerOptions
from tutumd.web.messages.deliveries import write_reason

NOW = datetime(2026, 1, 1, tzinfo=UTC)
PAYLOADS = Path(__file__).parents[1] / "payloads"
NAMES = sorted(path.stem for path in PAYLOADS.glob("*.json"))


def options_of(**fields: object) -> HandlerOptions:
    return parse_options(fields, NOW)


def received(
    body: bytes = b"",
    headers: list[tuple[str, str]] | None = None,
    *,
    query: list[tuple[str, str]] | None = None,
    address: str = "192.0.2.1",
    now: datetime = NOW,
) -> CallInput:
    lower = [(name.lower(), value) for name, value in headers or ()]
    return CallInput(headers=lower, query=query or [], body=body, address=address, now=now)


def payload(name: str, *, as_form: bool = False, query: list[tuple[str, str]] | None = None) -> CallInput:
    """A recorded call; GitHub can send the same as a form."""
    recorded: dict[str, Any] = json.loads(PAYLOADS.joinpath(f"{name}.json").read_text(encoding="utf-8"))
    headers = dict(recorded["headers"])
    text = json.dumps(recorded["body"], ensure_ascii=False)
    if as_form:
        headers["Content-Type"] = "application/x-www-form-urlencoded"
        text = urlencode({"payload": text})
    return received(text.encode(), list(headers.items()), query=query)


def evaluation(call: CallInput, **fields: object) -> Verdict:
    return evaluate(options_of(**fields), call)


def text_of(verdict: Verdict) -> str:
    return write_reason(verdict.reason) if verdict.reason else ""


def hex_hmac(secret: str, body: bytes, algorithm: str = "sha256") -> str:
    return hmac.new(secret.encode(), body, getattr(hashlib, algorithm)).hexdigest()
