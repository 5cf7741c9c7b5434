"""Pages of a handler: what it does and who called it, its URL, the buttons that change it, and a trial."""

from contextlib import suppress
from typing import Any

from fastapi import Request
from fastapi.responses import RedirectResponse, Response

from tutumd.application import handlers as rules
from tutumd.application.admission.evaluate import CallInput, Verdict
from tutumd.application.digests import sha256_hex
from tutumd.application.handler_trial import Trial, parse_headers, parse_query_text, try_call, try_delivery
from tutumd.errors import InvalidInputError, NotFoundError
from tutumd.model import DeliveryOutcome, Handler, Operation, Query, User
from tutumd.web.context import context
from tutumd.web.messages.deliveries import describe_wish
from tutumd.web.messages.handlers import describe, judge_handler
from tutumd.web.messages.reasons import write_reason, write_reasons
from tutumd.web.messages.sender_guide import write_call
from tutumd.web.pages.deeds import with_deed
from tutumd.web.pages.handler_routes import (
    BASE,
    FoundHandler,
    Number,
    ServiceUuid,
    find_handler,
    go_back,
    make_call_url,
    make_router,
    rights_of,
)
from tutumd.web.pages.rendering import render
from tutumd.web.pages.visitors import Caller, Form, Operator, Reader, SentForm, field
from tutumd.web.verdicts import STATUSES

router = make_router()

RECENT = 20
GRACES_S = {"0": 0, "1h": 3600, "1d": 86_400, "7d": 604_800}
"""How long an old URL may still work, as the CLI writes it."""


@router.get(BASE)
def show_handler(request: Request, visitor: Reader, service_uuid: ServiceUuid, number: Number) -> Response:
    """Show a handler without its URL."""
    web, found = context(request), find_handler(request, visitor, service_uuid, number)
    chosen = request.query_params.get("outcome", "")
    outcome = DeliveryOutcome(chosen) if chosen in list(DeliveryOutcome) else None
    query = Query.newest(RECENT, service=found.service.uuid, handler=number, outcome=outcome)
    deliveries = web.store.deliveries(visitor, query).objects
    filters = [("All", found.path, None, outcome is None)]
    filters += [(each.value, f"{found.path}?outcome={each.value}", None, each is outcome) for each in DeliveryOutcome]
    return render(
        request,
        "handler.html",
        **found.values,
        **rights_of(visitor),
        state=judge_handler(found.handler, web.clock()),
        words=describe(found.handler),
        contradictions=rules.list_contradictions(found.handler.options).values(),
        deliveries=[(each, describe_wish(each, found.handler.operation)) for each in deliveries],
        outcome=outcome,
        filters=filters,
        url_id=_identify_url(found.handler),
    )


@router.get(f"{BASE}url/")
def leave_url(request: Request, visitor: Caller, service_uuid: ServiceUuid, number: Number) -> Response:
    """Lead to the handler: the URL is shown only in response to its button."""
    found = find_handler(request, visitor, service_uuid, number)
    return RedirectResponse(found.path, 303, headers={"Cache-Control": "no-store"})


@router.post(f"{BASE}url/")
def show_url(request: Request, visitor: Caller, service_uuid: ServiceUuid, number: Number) -> Response:
    """Show the URL, which is a password, in this response only."""
    found = find_handler(request, visitor, service_uuid, number)
    url = make_call_url(request, found.handler)
    return render(request, "handler_url.html", **found.values, url=url, call=write_call(found.handler, url))


@router.post(f"{BASE}enable/")
def enable_handler(request: Request, visitor: Operator, service_uuid: ServiceUuid, number: Number) -> Response:
    """Let calls count again."""
    return _change(request, visitor, find_handler(request, visitor, service_uuid, number), {"enabled": True}, "enabled")


@router.post(f"{BASE}disable/")
def disable_handler(request: Request, visitor: Operator, service_uuid: ServiceUuid, number: Number) -> Response:
    """Let the URL return 404 until the handler is enabled again."""
    found = find_handler(request, visitor, service_uuid, number)
    return _change(request, visitor, found, {"enabled": False}, "disabled")


@router.post(f"{BASE}rotate/")
def rotate_handler(
    request: Request, visitor: Operator, service_uuid: ServiceUuid, number: Number, form: SentForm
) -> Response:
    """Give the handler a new URL instead of the one that the form names. The same form, sent again, changes nothing."""
    found, grace = find_handler(request, visitor, service_uuid, number), field(form, "grace")
    if grace not in GRACES_S:
        raise InvalidInputError(f"grace must be one of {', '.join(GRACES_S)}, got {grace[:20]!r}")
    web = context(request)
    if field(form, "url_id") == _identify_url(found.handler):
        with suppress(NotFoundError):  # sent twice at once; or it was revoked, which `find_handler` says
            rules.rotate(web.store, visitor, found.service.uuid, found.handler.uuid, GRACES_S[grace], now=web.clock())
    return go_back(find_handler(request, visitor, service_uuid, number), "rotated")


@router.post(f"{BASE}revoke/")
def revoke_handler(request: Request, visitor: Operator, service_uuid: ServiceUuid, number: Number) -> Response:
    """Revoke the handler, and lead to its service."""
    web, found = context(request), find_handler(request, visitor, service_uuid, number)
    web.store.delete_handler(visitor, found.service.uuid, found.handler.uuid)
    address = with_deed(f"{web.public_path}/service/{found.service.uuid}/", "revoked")
    return RedirectResponse(address, 303, headers={"Cache-Control": "no-store"})


def _identify_url(handler: Handler) -> str:
    """Return what changes with the URL of a handler, and tells nothing of it."""
    return sha256_hex(handler.uuid)[:16]


def _change(request: Request, visitor: User, found: FoundHandler, document: dict[str, Any], did: str) -> Response:
    web = context(request)
    rules.change(
        web.store, visitor, found.service.uuid, found.handler.uuid, document, cipher=web.cipher, now=web.clock()
    )
    return go_back(found, did)


RECENT_CALLS = 25
_CHECKS = {
    "enabled": "The handler is enabled",
    "expires_datetime": "It has not ended",
    "allow_from": "The address may call",
    "verify": "The sender is right",
    "event": "Something was pushed",
    "filter": "The filter matches",
    "tag": "The image tag is allowed",
    "pass_body": "The body is passed on",
}
_RESULTS = {
    "go": "The call would be accepted",
    "skipped": "The call would be skipped",
    "not_found": "The call would not be found",
    "unauthorized": "The call would be refused",
    "invalid": "The call would be refused",
}


@router.get(f"{BASE}try/")
def show_try(request: Request, visitor: Caller, service_uuid: ServiceUuid, number: Number) -> Response:
    """Show the form to try a call."""
    found = find_handler(request, visitor, service_uuid, number)
    return _show(request, visitor, found, {"delivery": [request.query_params.get("delivery", "")]})


@router.post(f"{BASE}try/")
def try_handler(
    request: Request, visitor: Caller, service_uuid: ServiceUuid, number: Number, form: SentForm
) -> Response:
    """Show what a call would do."""
    found = find_handler(request, visitor, service_uuid, number)
    try:
        trial = _try(request, visitor, found, form)
    except InvalidInputError as error:
        return _show(request, visitor, found, form, error=str(error))
    return _show(request, visitor, found, form, trial)


def _try(request: Request, visitor: User, found: FoundHandler, form: Form) -> Trial:
    web = context(request)
    if field(form, "source") == "delivery":
        number = field(form, "delivery")
        if not (number.isascii() and number.isdigit() and len(number) < 19):
            raise InvalidInputError("choose a recorded call")
        try:
            delivery = web.store.delivery(visitor, found.service.uuid, found.handler.uuid, int(number))
        except NotFoundError:
            raise InvalidInputError("this call is not recorded any more: choose another one") from None
        return try_delivery(found.handler, delivery, web.clock(), cipher=web.cipher)
    call = CallInput(
        headers=parse_headers(field(form, "headers")),
        query=parse_query_text(field(form, "query")),
        # Browsers send each end of a line as two characters, which no sender does.
        body=field(form, "body").replace("\r\n", "\n").encode(),
        address=field(form, "address").strip(),
        now=web.clock(),
    )
    return try_call(found.handler, call, cipher=web.cipher)


def _show(
    request: Request, visitor: User, found: FoundHandler, form: Form, trial: Trial | None = None, error: str = ""
) -> Response:
    web = context(request)
    query = Query.newest(RECENT_CALLS, service=found.service.uuid, handler=found.handler.number)
    recorded = web.store.deliveries(visitor, query).objects
    return render(
        request,
        "handler_try.html",
        400 if error else 200,
        **found.values,
        typed={name: field(form, name) for name in ("headers", "query", "body", "delivery")}
        | {"address": field(form, "address", visitor.access.address)},
        recorded=recorded,
        state=judge_handler(found.handler, web.clock()),
        error=error,
        trial=trial,
        **(_describe(found, trial) if trial else {}),
    )


def _describe(found: FoundHandler, trial: Trial) -> dict[str, object]:
    """Return the checks and the verdict for the template."""
    verdict = trial.verdict
    checks = [
        {
            "text": _CHECKS.get(check.check, check.check),
            "state": "passed" if check.passes else "failed",
            "why": write_reasons(check.why),
        }
        for check in trial.checks
    ]
    return {
        "checks": checks,
        "tone": {"go": "ok", "skipped": "info"}.get(verdict.kind, "wrong"),
        "result": f"{_RESULTS[verdict.kind]}: status {STATUSES[verdict.kind]}.",
        "effects": [write_reason(verdict.reason)] if verdict.reason else _write_effects(found, verdict),
    }


def _write_effects(found: FoundHandler, verdict: Verdict) -> list[str]:
    service = found.service.full_name
    verb = "redeploys" if found.handler.operation is Operation.REDEPLOY else "adds a container to"
    effects = [f"It {verb} {service}" + (f" with the image tag {verdict.tag}." if verdict.tag else ".")]
    if verdict.variable:
        variable, body = verdict.variable
        effects.append(
            f"The new containers get the body in {variable}." if body is not None else f"{variable} is removed."
        )
    return [*effects, *map(write_reason, verdict.notes)]
