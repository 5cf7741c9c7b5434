"""Try a handler: each check of a pasted payload or a recorded delivery, and what would happen. Nothing is done."""

from fastapi import Request
from fastapi.responses import Response

from tutumd.application.admission.evaluate import Admitted, CallInput
from tutumd.application.handler_state import judge_handler
from tutumd.application.handler_trial import Trial, parse_headers, parse_query_text, try_delivery, try_payload
from tutumd.errors import InvalidInputError, NotFoundError
from tutumd.model import Operation, User
from tutumd.web.context import context
from tutumd.web.pages.handler_routes import BASE, FoundHandler, Number, ServiceUuid, find_handler, make_router
from tutumd.web.pages.rendering import render
from tutumd.web.pages.visitors import Caller, Form, SentForm, field
from tutumd.web.verdicts import VERDICTS

router = make_router()

RECENT = 25
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
def try_call(request: Request, visitor: Caller, service_uuid: ServiceUuid, number: Number, form: SentForm) -> Response:
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
            delivery = web.store.delivery_by_number(visitor, found.service.uuid, found.handler.number, int(number))
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
    return try_payload(found.handler, call, cipher=web.cipher)


def _show(
    request: Request, visitor: User, found: FoundHandler, form: Form, trial: Trial | None = None, error: str = ""
) -> Response:
    web = context(request)
    recorded = web.store.service_deliveries(
        visitor, found.service.uuid, handler_number=found.handler.number, limit=RECENT
    )
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
    name, status = VERDICTS[type(verdict)]
    checks = [
        {
            "text": _CHECKS.get(check.check, check.check),
            "state": "passed" if check.passes else "failed",
            "why": check.why,
        }
        for check in trial.checks
    ]
    return {
        "checks": checks,
        "tone": {"go": "ok", "skipped": "info"}.get(name, "wrong"),
        "result": f"{_RESULTS[name]}: status {status}.",
        "effects": _write_effects(found, verdict) if isinstance(verdict, Admitted) else [verdict.reason],
    }


def _write_effects(found: FoundHandler, verdict: Admitted) -> list[str]:
    service = found.service.full_name
    verb = "redeploys" if found.handler.operation is Operation.REDEPLOY else "adds a container to"
    effects = [f"It {verb} {service}" + (f" with the image tag {verdict.tag}." if verdict.tag else ".")]
    if verdict.variable:
        variable, body = verdict.variable
        effects.append(
            f"The new containers get the body in {variable}." if body is not None else f"{variable} is removed."
        )
    return [*effects, *verdict.notes]
