"""Deliveries for people: their content, formatted without changes, their results, and the sentences of reasons."""

import base64
import html
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any
from urllib.parse import parse_qsl

from tutumd.application.admission.evaluate import VerdictKind
from tutumd.errors import Reason
from tutumd.model import Delivery, DeliveryOutcome, Operation

SENTENCES: Mapping[str, str] = {
    # The handler accepts no call now, or none from this address.
    "disabled": "disabled",
    "expired": "expired",
    "used-up": "used up",
    "address-not-allowed": "{0} is not allowed",
    "invalid": "{0}",
    "too-many-calls": "{0}",
    # The sender.
    "header-missing": "the header {0} is missing",
    "header-repeated": "the header {0} occurs {1} times",
    "prefix-missing": "{0} does not begin with {1}",
    "signature-wrong": "{0} does not match the body",
    "scheme-wrong": "{0} is not of the form {1} TOKEN",
    "token-wrong": "the token in {0} is wrong",
    "timestamp-malformed": "webhook-timestamp is not in seconds since 1970",
    "timestamp-off": "webhook-timestamp is more than 5 minutes off",
    "body-not-utf8": "the body is not UTF-8, which Standard Webhooks requires",
    "webhook-signature-wrong": "webhook-signature does not match",
    # The identity token. Only the owner sees what follows the colon.
    "token-too-long": "the identity token is too long: it has {0} characters, more than {1}",
    "token-malformed": "the identity token is not a JSON Web Token",
    "token-algorithm": "the algorithm of the identity token is not allowed: it is {0}",
    "token-header": "the header of the identity token is not allowed: it has {0}",
    "token-key-id": "the key ID of the identity token is malformed: it is {0}",
    "token-issuer": "the identity token is of another issuer: it is of {0}, not of {1}",
    "token-no-audience": "the handler has no audience for identity tokens: set verify.audience or the public URL",
    "token-audience": "the identity token is for another audience: it is for {0}, not for {1}",
    "token-event": "the identity token is of a pull request: event_name is {0}, and verify.claims does not name it",
    "token-claim": "the claim {0} of the identity token does not match: it is {1}, not {2}",
    "token-times-malformed": "the identity token has no valid exp, iat and nbf",
    "token-too-early": "the identity token is not valid yet: it begins at {0}, and now is {1}",
    "token-lifetime": "the identity token lives for more than 24 hours: it lives for {0} seconds",
    "token-expired": "the identity token has expired: it ended at {0}, and now is {1}",
    "token-missing-keys": "the issuer's keys were not fetched within 24 hours: {1} may be unreachable",
    "token-unknown-kid": "the issuer has no such key: {1} has no key with the ID {0}",
    "token-forbidden-issuer": "the server does not allow the issuer of the identity token: see --oidc-issuer for {1}",
    "token-signature": "the signature of the identity token is wrong: {0} (key {1})",
    # The event.
    "ping": "it is a ping",
    "ref-deleted": "{0} {1!r} was deleted",
    "nothing-pushed": "nothing was pushed to the registry",
    "package-deleted": "a package was deleted",
    "no-pushed-tag": "there is no pushed tag: it is a layer, or one platform of an image",
    # The filter.
    "filter-failed": "the filter could not be evaluated: {0}",
    "filter-true": "the filter is true for this payload",
    "filter-not-true": "the filter is not true for this payload",
    "other-repository": "nothing was pushed to the repository {0!r}",
    "no-pushed-ref": "the payload names no pushed {0}; wanted is {1}",
    "no-pushed-ref-of-event": "the payload names no pushed {0} (event {2!r}); wanted is {1}",
    "ref-matches": "{0} {1!r} matches {2}",
    "ref-differs": "{0} {1!r} is not {2}",
    "no-commits": "the payload is not a push of commits and names no files",
    "files-unknown": "not all changed files are known, so it counts",
    "file-matches": "a changed file matches {0}",
    "no-file-matches": "none of {0} changed files matches {1}",
    "marker-found": "the commit message has {0}",
    "marker-not-found": "the commit message does not have {0}",
    # The tag and the body.
    "tag-failed": "the tag could not be found: {0}",
    "no-tag-at-source": "the payload names no tag where tag.from looks",
    "not-a-tag": "the value that tag.from finds is not a tag",
    "tag-not-allowed": "tag {0!r} is not among those allowed",
    "body-too-large": "the body was not passed on: it has {0} bytes, more than {1}",
    "body-not-text": "the body was not passed on: it is not UTF-8",
    "body-has-nul": "the body was not passed on: it has a NUL character",
    "not-stored": "this was not stored with the delivery and is missing: {0}",
    # Other deliveries.
    "repeated": "it repeats an earlier delivery, which action {0} carries out",
    "repeated-group-call": "it repeats an earlier call of the group",
    "later-tag": "a later call named the tag {0!r}",
    "later-body": "a later call brought another body",
    # Calls of groups.
    "no-service": "the owner of the group may not redeploy any of its services now, or none is left",
    "no-pushed-image": "the call names no pushed image that the group selects",
    "no-service-of-image": "the owner of the group has no service that runs {0}",
    "service-gone": "the service is gone, or no longer permitted",
    # Why a pending action waits.
    "debounce": "waiting for more calls (debounce)",
    "held": "held",
    "held-because": "held: {0}",
    "frozen": "freeze window {0}",
    "frozen-because": "freeze window {0}: {1}",
    "predecessor": "waits for {0} of group call {1}",
    # The order of the services of a group.
    "no-such-member": "no service {0} is called: the service waits for no such service",
    "earlier-order": "the call joined an earlier action, whose order applies",
    # Rollbacks.
    "rolled-back": "a rollback holds the redeploys of the service: it goes back no further until somebody resumes it",
    "rolling-back": "a rollback of the service has not ended yet",
    "not-rolled-back": "{0}",
    # Checks of a trial.
    "is-disabled": "the handler is disabled",
    "has-expired": "the handler has expired",
    "not-expired": "the handler has not expired yet",
    "address-allowed": "{0} is allowed",
    "sender-right": "{0}: right",
    "is-event": "neither a ping nor a deletion",
    "tag-chosen": "the tag is {0!r}",
    "no-tag": "the call names no tag",
    "body-passed": "the body becomes {0}",
    "trial-without-content": "The server stored nothing of this delivery. The trial has no headers, query or body.",
    "trial-without-signature": "The server stores no signatures and tokens. The trial cannot check the sender.",
    "trial-of-cut-body": "The server stored only the first part of the body. Filters and tags see only this part.",
    "trial-without-parts": "The server did not store these parts: {0}.",
}
STATUSES = {
    "disabled": 404,
    "expired": 404,
    "used-up": 404,
    "address-not-allowed": 404,
    "invalid": 400,
    "too-many-calls": 429,
    "not-rolled-back": 409,
}
"""The status of a call that was refused for a reason other than its sender, which is 401."""

VERDICT_STATUSES = {
    VerdictKind.GO: 202,
    VerdictKind.SKIPPED: 200,
    VerdictKind.NOT_FOUND: 404,
    VerdictKind.UNAUTHORIZED: 401,
    VerdictKind.INVALID: 400,
}
"""The status of the response for each kind of verdict."""


def write_reason(reason: Reason) -> str:
    """Return the sentence of a reason."""
    return SENTENCES[reason.code].format(*reason.values)


def write_refusal(reason: Reason) -> str:
    """Return the sentence of a refusal for the caller: which check of an identity token failed, without the values."""
    return write_reason(reason).split(": ")[0] if reason.code.startswith("token-") else write_reason(reason)


def write_reasons(reasons: Sequence[Reason]) -> str:
    """Return the sentences of reasons."""
    return "; ".join(map(write_reason, reasons))


def write_delivery_reason(delivery: Delivery) -> str:
    """Return the reason for a delivery's outcome, with the status of a call that was refused before its sender was
    checked.

    Empty if there is nothing to say.
    """
    text = write_reasons(delivery.reasons)
    statuses = [STATUSES[reason.code] for reason in delivery.reasons if reason.code in STATUSES]
    return f"{statuses[0]}: {text}" if statuses else text


MAX_DEPTH = 40
"""Deeper bodies are shown unchanged: their indentation would exceed their content."""

_INDENT = "  "
_OPENS, _CLOSES = ("{", "["), ("}", "]")
_TOKEN = re.compile(r'"(?:[^"\\]+|\\.)*"?|[\[\]{},:]|[^\s\[\]{},:"]+', re.DOTALL)
_HANDLER_URL = re.compile(r"((?:handler|group)(?:\\*/|\\u002f|%2f)+)[0-9a-f]{8}-[0-9a-f-]{0,27}", re.IGNORECASE)
"""The password in a handler's URL, also escaped or truncated. GitHub's pings and headers of proxies contain it."""
_MAX_ENCODINGS = 8
_ESCAPE = re.compile(r"(?:%|\\+x|\\+u00)([0-9a-f]{2})|\\+u\{0*([0-9a-f]{2})\}", re.IGNORECASE)
_BASE64 = re.compile(r"[A-Za-z0-9+/]{40,}")


@dataclass(frozen=True, slots=True, kw_only=True)
class DeliveryText:
    """What was received.

    Attributes:
        body: The body for people; `kind` is its kind: `JSON`, `form`, `text`, `binary` (as hexadecimal), or empty.
        notes: Sentences about missing parts.
    """

    headers: tuple[tuple[str, str], ...]
    query: tuple[tuple[str, str], ...]
    body: str
    kind: str
    notes: tuple[str, ...]

    @property
    def is_stored(self) -> bool:
        """Whether anything of it is stored."""
        return bool(self.headers or self.query or self.body)


def read_delivery_text(content: Mapping[str, Any]) -> DeliveryText:
    """Return the stored content of a delivery for people who may see it without the right to call handlers."""
    headers = tuple((str(name), hide_uuids(str(value))) for name, value in content.get("headers", ()))
    media_type = next((value.lower() for name, value in headers if name.lower() == "content-type"), "")
    text, is_cut = hide_uuids(str(content.get("body", ""))), bool(content.get("is_cut"))
    kind, body = ("binary", write_hex(text)) if content.get("is_base64") else lay_out(text, media_type, is_cut=is_cut)
    notes = [f"Not stored: {part}." for part in content.get("left_out", ())]
    if is_cut and text:
        notes.append("Only the first 16 KiB of the body are stored.")
    return DeliveryText(
        headers=headers,
        query=tuple(parse_qsl(hide_uuids(str(content.get("query", ""))), keep_blank_values=True)),
        body=body,
        kind=kind,
        notes=tuple(notes),
    )


def hides_url(delivery: Delivery, text: DeliveryText, handler_uuid: str) -> bool:
    """Return whether people without the right to call handlers may see nothing of a delivery.

    This is so if the URL of a handler remains in any form, or if the body is not text, because it may be compressed.
    """
    values = chain(*(reason.values for reason in delivery.reasons))
    texts = ["\n".join((*chain(*text.headers, *text.query), text.body, delivery.user_agent, *values))]
    for each in texts:  # the content of base64 is added below
        for _ in range(_MAX_ENCODINGS):
            digits = re.sub("[^0-9a-f]", "", each.lower())
            if handler_uuid.replace("-", "") in digits or _HANDLER_URL.search(each):
                return True
            before, each = each, _ESCAPE.sub(lambda match: chr(int(match[1] or match[2], 16)), html.unescape(each))
            if each == before:
                break
        if len(texts) <= _MAX_ENCODINGS and (runs := _BASE64.findall(each)):
            texts.append(" ".join(base64.b64decode(run[: len(run) // 4 * 4]).decode("latin-1") for run in runs))
    return text.kind == "binary"


def hide_uuids(text: str) -> str:
    """Return a text without the passwords in handler URLs."""
    return _HANDLER_URL.sub(r"\1…", text)


def lay_out(text: str, media_type: str, *, is_cut: bool = False) -> tuple[str, str]:
    """Return the kind of a body, and the body for people."""
    if not text.strip():
        return "", text
    if text.lstrip()[:1] in ("{", "["):
        return ("JSON", indent_json(text)) if is_cut or _is_json(text) else ("text", text)
    if "x-www-form-urlencoded" not in media_type:
        return "text", text
    try:
        fields = parse_qsl(text, keep_blank_values=True, strict_parsing=True, max_num_fields=1000)
    except ValueError:
        return "text", text
    # In GitHub's form, the field `payload` has the JSON.
    return "form", "\n".join(f"{name} = {indent_json(value) if _is_json(value) else value}" for name, value in fields)


def indent_json(text: str) -> str:
    """Return JSON with line breaks and indentation; numbers, texts and repeated names do not change.

    Truncated JSON is also accepted. JSON that is nested deeper than MAX_DEPTH is returned unchanged.
    """
    parts: list[str] = []
    tokens, depth = _TOKEN.findall(text), 0
    for before, token, after in zip(["", *tokens], tokens, [*tokens[1:], ""], strict=False):
        if token in _OPENS:
            depth += 1
            if depth > MAX_DEPTH:
                return text
            parts.append(token if after in _CLOSES else f"{token}\n{_INDENT * depth}")
        elif token in _CLOSES:
            depth = max(0, depth - 1)
            parts.append(token if before in _OPENS else f"\n{_INDENT * depth}{token}")
        else:
            parts.append({",": f",\n{_INDENT * depth}", ":": ": "}.get(token, token))
    return "".join(parts)


def write_hex(encoded: str) -> str:
    """Return bytes that are stored as base64 in rows of hexadecimal digits, 16 bytes each."""
    raw = base64.b64decode(encoded)
    rows = (raw[start : start + 16] for start in range(0, len(raw), 16))
    return "\n".join(f"{index * 16:06x}  {row.hex(' ')}" for index, row in enumerate(rows))


def _is_json(text: str) -> bool:
    try:
        json.loads(text)
    except (ValueError, RecursionError):
        return False
    return True


OUTCOMES = {
    DeliveryOutcome.QUEUED: "It queued an action.",
    DeliveryOutcome.JOINED: "It joined an action that was already waiting.",
    DeliveryOutcome.SUPERSEDED: "It joined an action, and a later call replaced its tag or body.",
    DeliveryOutcome.SKIPPED: "It was skipped: nothing runs. Its sender got a 200.",
    DeliveryOutcome.REFUSED: "It was refused: nothing runs.",
    DeliveryOutcome.REPEATED: "It repeats an earlier call: nothing runs twice. Its sender got the earlier response.",
}


def describe_reason(delivery: Delivery) -> str:
    """Return the reason for a delivery's outcome, for a page that links to the action of the repeated delivery."""
    if delivery.repeats:
        return "it repeats an earlier delivery"
    return hide_uuids(write_delivery_reason(delivery))


def describe_wish(delivery: Delivery, operation: Operation) -> str:
    """Return the request of a delivery beyond the operation: a tag, or a number of containers; empty if there is
    none.
    """
    if operation is Operation.SCALEUP:
        return f"{delivery.amount} more"
    return f"tag {delivery.tag}" if delivery.tag else ""
