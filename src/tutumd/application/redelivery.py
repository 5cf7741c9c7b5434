"""Doing a delivery once more, as its handler's owner: from what was kept of it."""

import base64
from concurrent.futures import Future
from dataclasses import replace
from datetime import datetime
from urllib.parse import parse_qsl

from tutumd.application.admission.evaluate import Received
from tutumd.application.calls import AdmissionCache, evaluation
from tutumd.errors import ConflictError, NotFoundError, UnavailableError
from tutumd.model import Accepted, Call, Delivery, Evaluation, EvaluationNeeded, NotQueued, Origin, User
from tutumd.ports import CallResult, Intake, Store

_TIMEOUT_S = 30.0
_TRIES = 3


def redeliver(
    store: Store,
    intake: Intake,
    options: AdmissionCache,
    viewer: User,
    *,
    service_uuid: str,
    handler_uuid: str,
    number: int,
    origin: Origin,
    now: datetime,
) -> tuple[Call, Accepted | NotQueued]:
    """Call a handler with what an earlier delivery brought; its sender and its being a repetition are not looked at.

    Raises:
        NotFoundError: The viewer has no such delivery.
        ConflictError: Its body was too large to be kept, or the handler takes no calls now.
        UnavailableError: The store cannot take it.
    """
    delivery = store.delivery(viewer, service_uuid, handler_uuid, number)
    if delivery.content.get("is_cut"):
        raise ConflictError("the body of this delivery was too large to be kept whole: let its sender send it again")
    call = Call(
        service_uuid=service_uuid,
        handler_uuid=handler_uuid,
        amount=delivery.amount,
        origin=origin,
        body_size=delivery.body_size,
        content=delivery.raw,
        has_tag_param=True,
    )
    received = _received(delivery, origin, now)
    try:
        for _ in range(_TRIES):
            result = _store(intake, call)
            if not isinstance(result, EvaluationNeeded):
                return call, result
            call = replace(call, evaluation=_told(_judge(options, handler_uuid, result, received), delivery))
    except NotFoundError:
        store.handler(viewer, service_uuid, handler_uuid)
        raise ConflictError("the handler takes no calls now: it is disabled, has expired, or is used up") from None
    raise UnavailableError("the handler is being changed; try again in a moment")


def _judge(options: AdmissionCache, handler_uuid: str, result: EvaluationNeeded, received: Received) -> Evaluation:
    wanted = options.read(handler_uuid, result.version, result.options)
    return evaluation(replace(wanted, verify=None, allow_from=()), result.version, received)


def _told(evaluation: Evaluation, delivery: Delivery) -> Evaluation:
    """Say what this goes without of what its sender had sent."""
    left_out = ", ".join(str(part) for part in delivery.content.get("left_out", ()))
    if not left_out:
        return evaluation
    note = f"not kept of the delivery, so that this goes without: {left_out}"
    if evaluation.skip:
        return replace(evaluation, skip=f"{evaluation.skip} ({note})")
    return replace(evaluation, notes=(*evaluation.notes, note))


def _received(delivery: Delivery, origin: Origin, now: datetime) -> Received:
    content = delivery.content
    text = str(content.get("body", ""))
    return Received(
        headers=[(str(name), str(value)) for name, value in content.get("headers", ())],
        query=parse_qsl(str(content.get("query", "")), keep_blank_values=True),
        body=base64.b64decode(text) if content.get("is_base64") else text.encode(),
        address=origin.address,
        now=now,
    )


def _store(intake: Intake, call: Call) -> Accepted | NotQueued | EvaluationNeeded:
    stored: Future[CallResult] = Future()
    intake.store([call], lambda results: stored.set_result(results[0]))
    try:
        result = stored.result(_TIMEOUT_S)
    except TimeoutError:
        told = f"this was not stored within {_TIMEOUT_S:.0f} s: look at the deliveries before you try again"
        raise UnavailableError(told) from None
    if isinstance(result, Exception):
        raise result
    return result
