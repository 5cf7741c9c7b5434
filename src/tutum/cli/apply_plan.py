"""Compares the services of a file with those of the server: what `tutum apply` would add, change and remove."""

import difflib
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from shlex import quote
from typing import Any, Literal

from tutum.cli.handler_file import HandlerFileError, WantedHandler, WantedService
from tutum.cli.handler_text import describe, state_of
from tutum.cli.times import age
from tutum.errors import NonUniqueIdentifier, ObjectNotFound, TutumApiError, TutumAuthError, TutumConnectionError
from tutum.handler import Handler
from tutum.handler_fields import FIELDS
from tutum.redaction import shorten
from tutum.service import Service
from tutum.webhook_handler import WebhookHandler


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One request that brings the server nearer to the file.

    Attributes:
        name: The handler's name; for one without, the start of its UUID.
        uuid: Of the handler; empty for one to add.
        body: What to send, perhaps with secrets.
        details: For people, without secrets.
    """

    verb: Literal["add", "change", "remove"]
    webhook: WebhookHandler
    name: str
    uuid: str = field(default="", repr=False)
    body: Mapping[str, Any] = field(default_factory=dict, repr=False)
    details: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class ServicePlan:
    """What is to be done with the handlers of one service.

    Attributes:
        steps: In the order in which they are done: removals last.
        left: Handlers that are not in the file and stay.
        notes: Sentences for people.
    """

    service: Service
    steps: tuple[Step, ...]
    unchanged: int
    left: tuple[str, ...]
    notes: tuple[str, ...]


def make_plans(wanted: Sequence[WantedService], *, prune: bool) -> list[ServicePlan]:
    """Return what makes the server as the file says. Nothing is done.

    Args:
        prune: Remove the handlers of the file's services that are not in the file.

    Raises:
        HandlerFileError: With all that cannot be done.
        TutumApiError: The server cannot be asked.
    """
    problems: list[str] = []
    found: dict[str, WantedService] = {}
    plans: list[ServicePlan] = []
    for entry in wanted:
        try:
            service = find_service(entry.name, entry.engine)
        except (ObjectNotFound, NonUniqueIdentifier) as error:
            problems.append(f"{entry.place}: {error.message}")
            continue
        if service.uuid in found:
            problems.append(f"{entry.place}: this is the same service as {found[service.uuid].place}")
            continue
        found[service.uuid] = entry
        plans.append(_plan_service(service, entry, problems, prune=prune))
    if problems:
        raise HandlerFileError(problems)
    return plans


def find_service(name: str, engine: str) -> Service:
    """Return the service with this name. Unlike on the command line, the name of a container is none.

    Raises:
        ObjectNotFound: None matches, or none that this user may see.
        NonUniqueIdentifier: Several match; the text lists them, one a line.
    """
    listed = [each for each in Service.list(reference=name) if name in _names(each, name)]
    matches = [each for each in listed if engine in ("", each.engine)]
    if not matches:
        where = f" on the engine {engine}" if engine else ""
        raise ObjectNotFound(f"there is no service {name}{where} that this user may see{_hint(name, listed)}")
    if len(matches) > 1:
        lines = [f"{each.uuid}  {each.shown_name} on {each.engine}".replace("\n", "?") for each in matches]
        text = f"{len(matches)} services have this name; add the stack, the engine, or use a UUID as the name:"
        raise NonUniqueIdentifier("\n  ".join([text, *lines]))
    return matches[0]


def _hint(name: str, on_other_engines: Sequence[Service]) -> str:
    if on_other_engines:
        return f": it is on {', '.join(each.engine for each in on_other_engines)}"
    near = difflib.get_close_matches(name, [each.shown_name for each in Service.list()], n=1)
    return f": did you mean {near[0]}?" if near else ""


def _names(service: Service, wanted: str) -> tuple[str, ...]:
    # The server matched the whole; of `deployment/prod/web` and `shop_web`, the end tells it from a container's name.
    ends = [wanted] if wanted.rpartition("/")[2] == service.name else []
    return (service.uuid, service.shown_name, service.name, f"{service.stack}_{service.name}", *ends)


def _plan_service(service: Service, entry: WantedService, problems: list[str], *, prune: bool) -> ServicePlan:
    webhook = WebhookHandler.fetch(service)
    handlers = webhook.list()
    by_name = {handler.name: handler for handler in handlers}
    counts = Counter(handler.name for handler in handlers)
    steps: list[Step] = []
    notes = (
        [f"it is gone since {service.gone_since}: the handlers are for when it comes back"]
        if service.gone_since
        else []
    )
    for wanted in entry.handlers:
        handler = by_name.get(wanted.name)
        if counts[wanted.name] > 1:
            problems.append(
                f"{wanted.place}: the service has {counts[wanted.name]} handlers of this name: "
                f"rename or remove all but one, by UUID: tutum webhook-handler list {quote(service.shown_name)}"
            )
            continue
        try:
            step = _plan_addition(webhook, wanted) if handler is None else _plan_change(webhook, handler, wanted)
        except (TutumAuthError, TutumConnectionError):
            raise
        except TutumApiError as error:
            if error.status != 400:
                raise
            problems.append(f"{wanted.place}: {error.message}")
            continue
        steps += [step] if step else []
        if handler is not None and handler.get("enabled") is False and "enabled" not in wanted.fields:
            notes.append(f"{wanted.name} is disabled and stays so, as the file does not set enabled")
    names = {wanted.name for wanted in entry.handlers}
    others = [handler for handler in handlers if handler.name not in names]
    if prune:
        steps += [_plan_removal(webhook, handler) for handler in others]
    if others and any(step.verb == "add" for step in steps):
        notes.append(
            "a handler with another name is a new one, with a new URL. To keep the URL, rename it first: "
            f"tutum webhook-handler set {quote(service.shown_name)} OLD --name NEW"
        )
    return ServicePlan(
        service=service,
        steps=tuple(steps),
        unchanged=sum(name in by_name for name in names) - sum(step.verb == "change" for step in steps),
        left=() if prune else tuple(label_of_handler(handler) for handler in others),
        notes=tuple(notes),
    )


def _plan_addition(webhook: WebhookHandler, wanted: WantedHandler) -> Step:
    body = {"name": wanted.name, "operation": wanted.operation, **wanted.fields}
    fields = plan_addition(webhook, **body)
    details = (wanted.operation, *(f"{name}: {describe(value)}" for name, value in fields.items()))
    return Step(verb="add", webhook=webhook, name=wanted.name, body=body, details=details)


def plan_addition(webhook: WebhookHandler, **body: Any) -> dict[str, Any]:
    """Return the fields that the server would set on a new handler. Raises TutumApiError if it would refuse."""
    planner = WebhookHandler.fetch(webhook.service)
    planner.add(**body)
    [fields] = planner.plan_save()
    return fields


def _plan_change(webhook: WebhookHandler, handler: Handler, wanted: WantedHandler) -> Step | None:
    """Return the step to take; None if the handler is as the file says. Fields that the file does not set are reset."""
    if handler.operation != wanted.operation:
        raise TutumApiError(
            f"its operation is {handler.operation}, which cannot be changed: choose another name, or remove it first",
            status=400,
        )
    body = {name: wanted.fields.get(name) for name in FIELDS if name in handler} | dict(wanted.fields)
    if "enabled" not in wanted.fields:
        del body["enabled"]  # somebody may have disabled it for a reason that no repository knows
    changes = webhook.plan_update(handler.uuid, **body)
    if not changes:
        return None
    details = tuple(_difference(name, handler.get(name), value) for name, value in changes.items())
    sent = {name: body[name] for name in changes}
    return Step(verb="change", webhook=webhook, name=wanted.name, uuid=handler.uuid, body=sent, details=details)


def _plan_removal(webhook: WebhookHandler, handler: Handler) -> Step:
    called = age(handler.last_called_datetime)
    details = f"{handler.operation}, {state_of(handler)}, {f'last called {called}' if called else 'never called'}"
    return Step(verb="remove", webhook=webhook, name=label_of_handler(handler), uuid=handler.uuid, details=(details,))


def _difference(name: str, before: Any, after: Any) -> str:
    return f"{name}: other secrets" if before == after else f"{name}: {describe(before)} → {describe(after)}"


def label_of_handler(handler: Handler) -> str:
    """Return the name; of a handler without one, the start of its UUID."""
    return handler.name or f"{shorten(handler.uuid)} (without a name)"
