"""Pages of a handler: its effect and its calls, its URL, the buttons that change it, and a trial."""

from contextlib import suppress
from typing import Any

from fastapi import APIRouter, Response

from tutumd.application import handlers as rules
from tutumd.application.admission.evaluate import CallInput, Trial, Verdict, explain, read_stored
from tutumd.application.redelivery import parse_headers, parse_query_text, try_delivery
from tutumd.errors import InvalidInputError, NotFoundError
from tutumd.web.messages.deliveries import VERDICT_STATUSES, write_reason, write_reasons
from tutumd.web.messages.handlers import OPERATION_VERBS, describe, judge_handler
from tutumd.web.messages.sender_guide import write_call
from tutumd.web.pages.handler_routes import (
    BASE,
    GROUP_BASE,
    CalledSubject,
    ChangedSubject,
    Found,
    ReadSubject,
    outcome_filters,
    read_outcome,
)
from tutumd.web.pages.visitors import Form, SentForm, fingerprint, if_there

router = APIRouter()

GRACES_S = {"0": 0, "1h": 3600, "1d": 86_400, "7d": 604_800}
"""How long an old URL may still work, in the CLI's form."""


@router.get(BASE)
def show_handler(found: ReadSubject, outcome: str = "") -> Response:
    """Show a handler without its URL."""
    return found.render("handler.html", **found.values, **values_of_page(found, outcome))


def values_of_page(found: Found, outcome: str) -> dict[str, Any]:
    """Return the values for the parts that the pages of handlers and groups share."""
    handler, chosen = found.handler, read_outcome(outcome)
    return {
        "state": judge_handler(handler, found.web.clock()),
        "words": describe(handler),
        "contradictions": rules.list_contradictions(handler.options).values(),
        "deliveries": found.deliveries(20, outcome=chosen),
        "outcome": chosen,
        "filters": outcome_filters(found.values["path"], chosen),
        "url_id": fingerprint(handler.uuid),
    }


@router.get(f"{BASE}url/")
@router.get(f"{BASE}connect/secret/")
@router.get(f"{BASE}delivery/{{delivery_number}}/redeliver/")
@router.get(f"{GROUP_BASE}url/")
def leave_button(found: ReadSubject) -> Response:
    """Redirect to the page with the button: this address only accepts its form."""
    return found.go_to(found.request.url.path.rstrip("/").rpartition("/")[0] + "/")


@router.post(f"{BASE}url/")
@router.post(f"{GROUP_BASE}url/")
def show_url(found: CalledSubject) -> Response:
    """Show the URL, which is a password, in this response only."""
    url = found.call_url
    return found.render(
        "handler_url.html",
        **found.values,
        url=url,
        call=write_call(found.handler, url),
        has_identity=found.handler.options.get("verify", {}).get("preset") == "oidc",
    )


@router.post(f"{BASE}enable/")
@router.post(f"{BASE}disable/")
@router.post(f"{GROUP_BASE}enable/")
@router.post(f"{GROUP_BASE}disable/")
def switch_handler(found: ChangedSubject) -> Response:
    """Let calls count again, or let the URL return 404 until the handler is enabled again."""
    is_on = found.request.url.path.endswith("/enable/")
    found.change({"enabled": is_on})
    return found.go_to(found.place, f"{found.kind}-{'en' if is_on else 'dis'}abled")


@router.post(f"{BASE}rotate/")
@router.post(f"{GROUP_BASE}rotate/")
def rotate_handler(found: ChangedSubject, form: SentForm) -> Response:
    """Give the handler a new URL instead of the URL that the form names. If the same form is sent again, nothing
    changes.
    """
    if (grace := form.get("grace", "")) not in GRACES_S:
        raise InvalidInputError(f"grace must be one of {', '.join(GRACES_S)}, got {grace[:20]!r}")
    if form.get("url_id", "") == fingerprint(found.handler.uuid):
        # The form was sent twice at the same time, or the handler was revoked, which its page reports.
        web, handler = found.web, found.handler
        with suppress(NotFoundError):
            rules.rotate(web.store, found.user, handler.service_uuid, handler.uuid, GRACES_S[grace], now=web.clock())
    return found.go_to(found.place, f"{found.kind}-rotated")


@router.post(f"{BASE}revoke/")
@router.post(f"{GROUP_BASE}revoke/")
def revoke_handler(found: ChangedSubject) -> Response:
    """Revoke the handler, and show its service, or the other groups."""
    found.store.delete_handler(found.user, found.handler.service_uuid, found.handler.uuid)
    return found.go_to(found.crumbs[-1][1], f"{found.kind}-revoked")


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
@router.get(f"{GROUP_BASE}try/")
def show_try(found: CalledSubject, delivery: str = "") -> Response:
    """Show the form to try a call."""
    return _show_try(found, {"delivery": delivery})


@router.post(f"{BASE}try/")
@router.post(f"{GROUP_BASE}try/")
def try_handler(found: CalledSubject, form: SentForm) -> Response:
    """Show the predicted effect of a call."""
    try:
        trial = _try(found, form)
    except InvalidInputError as error:
        return _show_try(found, form, refused=error)
    return _show_try(found, form, trial=trial, **_describe(found, trial))


def _try(found: Found, form: Form) -> Trial:
    web, number = found.web, form.get("delivery", "")
    if form.get("source", "") == "delivery":
        if not (number.isascii() and number.isdigit() and len(number) < 19):
            raise InvalidInputError("choose a recorded call")
        delivery = if_there(found.delivery, int(number))
        if delivery is None:
            raise InvalidInputError("this call is not recorded any more: choose another one")
        return try_delivery(found.handler, delivery, web.clock(), cipher=web.cipher)
    return explain(
        read_stored(found.handler.options, web.cipher),
        CallInput(
            headers=parse_headers(form.get("headers", "")),
            query=parse_query_text(form.get("query", "")),
            # Browsers send each line end as two characters, which no sender does.
            body=form.get("body", "").replace("\r\n", "\n").encode(),
            address=form.get("address", "").strip(),
            now=web.clock(),
            find_key=web.issuer_keys.loaded(),
            audience=web.public_origin,
        ),
    )


def _show_try(found: Found, form: Form, **values: Any) -> Response:
    """Return the page. `values`: why the form was refused, or the trial with its description."""
    empty = dict.fromkeys(("headers", "query", "body", "delivery"), "")
    return found.render(
        "handler_try.html",
        **found.values,
        typed=empty | {"address": found.user.access.address} | form,
        recorded=found.deliveries(25),
        state=judge_handler(found.handler, found.web.clock()),
        **{"trial": None} | values,
    )


def _describe(found: Found, trial: Trial) -> dict[str, Any]:
    """Return the checks and the verdict for the template."""
    verdict = trial.verdict
    return {
        "checks": [
            {
                "text": _CHECKS.get(check.check, check.check),
                "state": "passed" if check.passes else "failed",
                "why": write_reasons(check.why),
            }
            for check in trial.checks
        ],
        "tone": {"go": "ok", "skipped": "info"}.get(verdict.kind, "wrong"),
        "result": f"{_RESULTS[verdict.kind]}: status {VERDICT_STATUSES[verdict.kind]}.",
        "effects": [write_reason(verdict.reason)] if verdict.reason else _write_effects(found, verdict),
    }


def _write_effects(found: Found, verdict: Verdict) -> list[str]:
    verb = OPERATION_VERBS[found.handler.operation]
    effects = [f"It {verb} {found.target}" + (f" with the image tag {verdict.tag}." if verdict.tag else ".")]
    if verdict.variable:
        variable, body = verdict.variable
        effects.append(
            f"The new containers get the body in {variable}." if body is not None else f"{variable} is removed."
        )
    return [*effects, *map(write_reason, verdict.notes)]
