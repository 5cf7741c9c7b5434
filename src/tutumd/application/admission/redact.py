"""What is kept of a call, for its handler's owner to look at or to do once more: nothing that lets somebody in."""

from collections.abc import Sequence
from typing import Any
from urllib.parse import urlencode

from tutumd.application.admission import bodies
from tutumd.application.admission.headers import Headers, hashed_key, holds, is_secret, keep
from tutumd.application.admission.verify import Verification

_MOST_NAMED = 20


def keep_call(
    headers: Headers, query: Sequence[tuple[str, str]], body: bytes, verification: Verification | None
) -> dict[str, Any]:
    """Take what may be stored of a call, as JSON values.

    Left out are headers and parameters whose names say that they are secret, the one that `verify` looks at, and
    whatever holds one of the handler's own secrets. `left_out` says what a repetition will miss: not headers that no
    filter sees either.
    """
    trusted = verification.header.lower() if verification else ""
    secrets = _forms(verification)
    seen = [(name, value) for name, value in headers if not is_secret(name) and name.lower() != trusted]
    safe = [(name, value) for name, value in seen if not holds(value, secrets)]
    kept_headers = keep(safe)
    named = [(name, value) for name, value in query if not holds(name, secrets)]
    kept_query = [(name, value) for name, value in named if not is_secret(name) and not holds(value, secrets)]
    stripped = bodies.without(body, verification.secrets if verification else ())
    kept_body = bodies.keep(stripped)
    left_out = [f"header {name.lower()[:100]}" for name, value in seen if holds(value, secrets)]
    left_out += [f"query parameter {_shown(name)}" for name, value in named if (name, value) not in kept_query]
    if len(named) < len(query):
        left_out.append("a query parameter")
    if len(kept_headers) < len(safe):
        left_out.append("headers beyond 8 KiB")
    if stripped != body:
        left_out.append("secrets in the body")
    content: dict[str, Any] = {"headers": kept_headers, "body": kept_body.text}
    if query:
        content["query"] = urlencode(kept_query)
    if left_out:
        content["left_out"] = list(dict.fromkeys(left_out))[:_MOST_NAMED]
    return content | {name: True for name in ("is_base64", "is_cut") if getattr(kept_body, name)}


def keep_key(key: str | None, verification: Verification | None) -> str | None:
    """Take what may be stored of a delivery's key: its hash where it holds one of the handler's secrets."""
    if key is None or not holds(key.partition(":")[2], _forms(verification)):
        return key
    return hashed_key(key)


def _forms(verification: Verification | None) -> list[str]:
    return [form for secret in (verification.secrets if verification else ()) for form in (secret, _as_header(secret))]


def _shown(name: str) -> str:
    """Write a name that anybody may have made up, for a text that a database takes and a person reads."""
    return "".join(char if char.isprintable() else "?" for char in name[:100])


def _as_header(secret: str) -> str:
    """Write a secret as it shows in a header, whose bytes are read as Latin-1."""
    return secret.encode().decode("latin-1")
