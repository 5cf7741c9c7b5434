"""Redaction: the content of a call as it is stored for the handler's owner, without anything that grants access."""

from collections.abc import Sequence
from itertools import compress
from typing import Any
from urllib.parse import urlencode

from tutumd.application.admission.bodies import remove_secrets, truncate
from tutumd.application.admission.headers import Headers, contains_secret, hash_key, is_secret, redact_headers
from tutumd.application.admission.verify import Verification

_MAX_LEFT_OUT = 20


def redact_call(
    headers: Headers, query: Sequence[tuple[str, str]], body: bytes, verification: Verification | None
) -> dict[str, Any]:
    """Return what may be stored of a call, as JSON values.

    Left out are headers and parameters with the name of a secret, the header that `verify` reads, and whatever contains
    a secret of the handler. `left_out` names what a redelivery will miss; not the headers that no filter sees.
    """
    verified_header = verification.header.lower() if verification else ""
    secrets = _secret_forms(verification)
    visible = [(name, value) for name, value in headers if not is_secret(name) and name.lower() != verified_header]
    safe = [(name, value) for name, value in visible if not contains_secret(value, secrets)]
    stored_headers = redact_headers(safe)
    named = [(name, value) for name, value in query if not contains_secret(name, secrets)]
    is_stored = [not is_secret(name) and not contains_secret(value, secrets) for name, value in named]
    stored_query = list(compress(named, is_stored))
    redacted_body = remove_secrets(body, verification.secrets if verification else ())
    stored_body = truncate(redacted_body)
    left_out = [f"header {name.lower()[:100]}" for name, value in visible if contains_secret(value, secrets)]
    left_out += [
        f"query parameter {_printable(name)}" for (name, _), stored in zip(named, is_stored, strict=True) if not stored
    ]
    if len(named) < len(query):
        left_out.append("a query parameter")
    if len(stored_headers) < len(safe):
        left_out.append("headers beyond 8 KiB")
    if redacted_body != body:
        left_out.append("secrets in the body")
    content: dict[str, Any] = {"headers": stored_headers, "body": stored_body.text}
    if query:
        content["query"] = urlencode(stored_query)
    if left_out:
        content["left_out"] = list(dict.fromkeys(left_out))[:_MAX_LEFT_OUT]
    return content | {name: True for name in ("is_base64", "is_cut") if getattr(stored_body, name)}


def redact_key(key: str | None, verification: Verification | None) -> str | None:
    """Return what may be stored of a delivery key: its hash if it contains a secret of the handler."""
    if key is None or not contains_secret(key.partition(":")[2], _secret_forms(verification)):
        return key
    return hash_key(key)


def _secret_forms(verification: Verification | None) -> list[str]:
    """Return the secrets as they are, and as they look in a header, whose bytes are read as Latin-1."""
    secrets = verification.secrets if verification else ()
    return [form for secret in secrets for form in (secret, secret.encode().decode("latin-1"))]


def _printable(name: str) -> str:
    return "".join(char if char.isprintable() else "?" for char in name[:100])
