"""The form of a handler: create one, change one."""

from shlex import quote

from fastapi import Request
from fastapi.responses import Response

from tutumd.application import handlers as rules
from tutumd.errors import ConflictError, InvalidInputError, SettingsError, TutumdError
from tutumd.model import Handler, Service
from tutumd.web.context import context, parse_uuid
from tutumd.web.messages.handlers import name_choice
from tutumd.web.pages.form_inputs import Input, Texts
from tutumd.web.pages.handler_form import Reading, fingerprint, make_form, read_form
from tutumd.web.pages.handler_routes import (
    BASE,
    FoundHandler,
    Number,
    ServiceUuid,
    find_handler,
    go_back,
    make_router,
)
from tutumd.web.pages.rendering import render
from tutumd.web.pages.visitors import Form, Operator, SentForm, hash_form

router = make_router()

CHANGED_MEANWHILE = (
    "somebody changed this handler since you opened the form. What you see is what you typed: saving it again changes"
)


@router.get("/service/{service_uuid}/handler/new/")
def show_new(request: Request, visitor: Operator, service_uuid: ServiceUuid) -> Response:
    """Show the form of a new handler."""
    return _show_new(request, context(request).store.service(visitor, parse_uuid(service_uuid)))


@router.post("/service/{service_uuid}/handler/new/")
def create_handler(request: Request, visitor: Operator, service_uuid: ServiceUuid, form: SentForm) -> Response:
    """Create a handler, and show it. The same form, sent again, creates nothing."""
    web = context(request)
    service = web.store.service(visitor, parse_uuid(service_uuid))
    typed = _texts(form)
    reading = read_form(typed, None, web.clock())
    if reading.errors:
        return _show_new(request, service, typed, reading)
    try:
        made, _ = rules.create_once(
            web.store, visitor, service.uuid, reading.document, hash_form(form), cipher=web.cipher, now=web.clock()
        )
    except (InvalidInputError, ConflictError) as error:
        return _show_new(request, service, typed, Reading(document={}, errors={error.field: str(error)}))
    return go_back(find_handler(request, visitor, service.uuid, made.number), "created")


@router.get(f"{BASE}edit/")
def show_edit(request: Request, visitor: Operator, service_uuid: ServiceUuid, number: Number) -> Response:
    """Show the form of a handler."""
    return _show_edit(request, find_handler(request, visitor, service_uuid, number))


@router.post(f"{BASE}edit/")
def change_handler(
    request: Request, visitor: Operator, service_uuid: ServiceUuid, number: Number, form: SentForm
) -> Response:
    """Change what differs in the form, and show the handler."""
    web, found = context(request), find_handler(request, visitor, service_uuid, number)
    typed = _texts(form)
    reading = read_form(typed, found.handler, web.clock())
    if reading.errors:
        return _show_edit(request, found, typed, reading)
    if not reading.document:
        return go_back(found, "unchanged")
    try:
        if typed.get("seen") != fingerprint(found.handler):
            raise ConflictError(f"{CHANGED_MEANWHILE} {', '.join(reading.document)}")
        rules.change(
            web.store,
            visitor,
            found.service.uuid,
            found.handler.uuid,
            reading.document,
            cipher=web.cipher,
            now=web.clock(),
            keeps_names_apart=True,
        )
    except (InvalidInputError, ConflictError, SettingsError) as error:
        return _show_edit(request, found, typed, Reading(document={}, errors={error.field: str(error)}), error)
    return go_back(found, "changed")


def _show_new(
    request: Request, service: Service, typed: Texts | None = None, reading: Reading | None = None
) -> Response:
    web = context(request)
    return render(
        request,
        "handler_new.html",
        400 if reading else 200,
        service=service,
        back=f"{web.public_path}/service/{service.uuid}/",
        command=f"tutum webhook-handler create {quote(service.full_name)} --help",
        **_values(None, typed, reading),
    )


def _show_edit(
    request: Request,
    found: FoundHandler,
    typed: Texts | None = None,
    reading: Reading | None = None,
    error: TutumdError | None = None,
) -> Response:
    status = 409 if isinstance(error, ConflictError) else 400 if reading else 200
    return render(request, "handler_edit.html", status, **found.values, **_values(found.handler, typed, reading))


def _values(handler: Handler | None, typed: Texts | None, reading: Reading | None) -> dict[str, object]:
    errors = reading.errors if reading else {}
    return {
        "groups": make_form(handler, typed=typed, errors=errors),
        "errors": errors,
        "typed_name": typed.get("name", "") if typed is not None else (handler and handler.name) or "",
        "operation": (typed or {}).get("operation") or (handler.operation.value if handler else "REDEPLOY"),
        "seen": fingerprint(handler) if handler else "",
        "options_of": _options_of,
    }


def _options_of(each: Input) -> list[tuple[str, str]]:
    """Return the values of a select with their texts; none of them is chosen at first."""
    nothing = "Anyone: nothing is checked" if each.key == "preset" else "The usual one"
    return [("", nothing), *((choice, name_choice(choice)) for choice in each.choices)]


def _texts(form: Form) -> Texts:
    return {name: values[-1] for name, values in form.items()}
