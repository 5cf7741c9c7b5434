"""Calls by people: the trial of a payload, which changes nothing, and the redelivery of a stored delivery."""

import base64
from asyncio import to_thread
from dataclasses import replace
from datetime import datetime
from urllib.parse import parse_qsl

from tutumd.application.admission.encryption import SecretCipher
from tutumd.application.admission.evaluate import CallInput, Trial, explain, read_stored
from tutumd.application.calls import AdmissionCache, Remembered, StoreCall, accept, evaluate_call
from tutumd.errors import ConflictError, InvalidInputError, NotFoundError, Reason
from tutumd.model import Call, Delivery, EvaluationNeeded, Handler, Origin, User
from tutumd.ports import Store, Stored


async def redeliver(
    store: Store,
    store_call: StoreCall,
    cache: AdmissionCache,
    viewer: User,
    *,
    service_uuid: str,
    handler_uuid: str,
    number: int,
    origin: Origin,
    now: datetime,
    form_sha256: str = "",
) -> tuple[Call, Stored]:
    """Call a handler with the content of a delivery, without a check of its sender or for duplicates.

    Args:
        form_sha256: Hash of the submitted form. A repeated submission of the form repeats the same call.

    Raises:
        NotFoundError: The viewer has no such delivery.
        ConflictError: The delivery was not stored completely, or the handler cannot be called now.
        UnavailableError: The call could not be stored.
    """
    delivery = await to_thread(store.delivery, viewer, service_uuid, handler_uuid, number)
    if obstacle := find_obstacle(delivery):
        raise ConflictError(obstacle)
    call = Call(
        service_uuid=service_uuid,
        handler_uuid=handler_uuid,
        amount=delivery.amount,
        origin=origin,
        body_size=delivery.body_size,
        key=form_sha256 or None,
        content=delivery.raw,
        has_tag_param=True,  # the store then needs an evaluation even if there are no options
    )
    call_input = read_input(delivery, origin.address, now)
    await to_thread(store.record_redelivery, viewer, service_uuid, handler_uuid, number)

    async def evaluate(needed: EvaluationNeeded) -> Call:
        options = replace(cache.read(call.handler_path, needed), verify=None, allow_from=())
        evaluation = await to_thread(evaluate_call, Remembered(options, needed.version), call_input)
        # The sender of the delivery was verified when it arrived.
        missing = ", ".join(map(str, delivery.content.get("left_out", ())))
        notes = (*evaluation.notes, Reason("not-stored", (missing,))) if missing else evaluation.notes
        return replace(call, evaluation=replace(evaluation, notes=notes, revision=delivery.revision))

    try:
        return await accept(call, store_call, evaluate)
    except NotFoundError:
        await to_thread(store.handler, viewer, service_uuid, handler_uuid)
        raise ConflictError("the handler takes no calls now: it is disabled, has expired, or is used up") from None


def find_obstacle(delivery: Delivery) -> str:
    """Return why a delivery with this content cannot be redelivered; empty if it can."""
    return "this delivery was not stored whole: let its sender send it again" if delivery.content.get("is_cut") else ""


def read_input(delivery: Delivery, address: str, now: datetime) -> CallInput:
    """Return a delivery as call input: its stored content, sent from an address."""
    content = delivery.content
    text = str(content.get("body", ""))
    return CallInput(
        headers=[(str(name).lower(), str(value)) for name, value in content.get("headers", ())],
        query=parse_qsl(str(content.get("query", "")), keep_blank_values=True),
        body=base64.b64decode(text) if content.get("is_base64") else text.encode(),
        address=address,
        now=now,
    )


_HEADER_LIMIT = 200


def try_delivery(handler: Handler, delivery: Delivery, now: datetime, *, cipher: SecretCipher) -> Trial:
    """Return the predicted effect of a recorded delivery if it arrived now, as far as it was stored.

    Signatures are never stored.
    """
    options = read_stored(handler.options, cipher)
    call, content = read_input(delivery, delivery.address, now), delivery.content
    left_out = ", ".join(map(str, content.get("left_out", ())))
    gaps = {
        Reason("trial-without-content"): not content,
        Reason("trial-without-signature"): options.verify is not None,
        Reason("trial-of-cut-body"): content.get("is_cut"),
        Reason("trial-without-parts", (left_out,)): left_out,
    }
    checks = [check for check in explain(options, call).checks if check.check != "verify"]
    failed = next((check.verdict for check in checks if check.verdict is not None), None)
    return Trial(
        checks=checks,
        verdict=failed or explain(replace(options, verify=None), call).verdict,
        notes=tuple(note for note, applies in gaps.items() if applies),
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
        headers.append((name.strip().lower(), value.strip()))
    return headers


def parse_query_text(text: str) -> list[tuple[str, str]]:
    """Return the parameters of a query such as `tag=v2&wait=60`. Raises InvalidInputError."""
    try:
        return parse_qsl(text.strip().removeprefix("?"), keep_blank_values=True, max_num_fields=_HEADER_LIMIT)
    except ValueError:
        raise InvalidInputError(f"query must have at most {_HEADER_LIMIT} parameters") from None
