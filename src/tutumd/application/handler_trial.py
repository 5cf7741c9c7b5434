"""Trial of a call: what a payload of a person or a recorded delivery would do. Nothing is changed."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from urllib.parse import parse_qsl

from tutumd.application.admission.encryption import SecretCipher
from tutumd.application.admission.evaluate import CallInput, CheckResult, Verdict, explain
from tutumd.application.admission.options import read_stored
from tutumd.application.redelivery import read_input
from tutumd.errors import InvalidInputError
from tutumd.model import Delivery, Handler
from tutumd.reasons import Reason

_HEADER_LIMIT = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    """The predicted effect of a call.

    Attributes:
        notes: Parts that could not be checked, with the reason.
    """

    checks: Sequence[CheckResult]
    verdict: Verdict
    notes: tuple[Reason, ...] = ()


def try_call(handler: Handler, call: CallInput, *, cipher: SecretCipher) -> Trial:
    """Return the predicted effect of a call."""
    checks, verdict = explain(read_stored(handler.options, cipher), call)
    return Trial(checks=checks, verdict=verdict)


def try_delivery(handler: Handler, delivery: Delivery, now: datetime, *, cipher: SecretCipher) -> Trial:
    """Return the predicted effect of a recorded delivery if it arrived now, as far as it was stored.

    Signatures are never stored.
    """
    options = read_stored(handler.options, cipher)
    call, notes = read_input(delivery, delivery.address, now), list[Reason]()
    if not delivery.content:
        notes.append(Reason("trial-without-content"))
    if options.verify is not None:
        notes.append(Reason("trial-without-signature"))
    if delivery.content.get("is_cut"):
        notes.append(Reason("trial-of-cut-body"))
    if left_out := delivery.content.get("left_out", ()):
        notes.append(Reason("trial-without-parts", (", ".join(map(str, left_out)),)))
    checks = [check for check in explain(options, call)[0] if check.check != "verify"]
    failed = next((check.verdict for check in checks if check.verdict is not None), None)
    return Trial(
        checks=checks,
        verdict=failed or explain(replace(options, verify=None), call)[1],
        notes=tuple(notes),
    )


def parse_headers(text: str) -> list[tuple[str, str]]:
    """Return the headers of a text with one `Name: value` per line. Raises InvalidInputError."""
    lines = [line for line in text.replace("\r", "").split("\n") if line.strip()]
    if len(lines) > _HEADER_LIMIT:
        raise InvalidInputError(f"headers must be at most {_HEADER_LIMIT}, got {len(lines)}")
    headers = []
    for line in lines:
        name, found, value = line.partition(":")
        if not found or not name.strip():
            raise InvalidInputError(f"headers must be lines such as X-GitHub-Event: push, got {line[:60]!r}")
        headers.append((name.strip(), value.strip()))
    return headers


def parse_query_text(text: str) -> list[tuple[str, str]]:
    """Return the parameters of a query such as `tag=v2&wait=60`. Raises InvalidInputError."""
    try:
        return parse_qsl(text.strip().removeprefix("?"), keep_blank_values=True, max_num_fields=_HEADER_LIMIT)
    except ValueError:
        raise InvalidInputError(f"query must have at most {_HEADER_LIMIT} parameters") from None
