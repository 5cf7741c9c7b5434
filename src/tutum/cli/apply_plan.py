"""Compares handlers, groups, notification targets and freeze windows of a file with those of the server: what `tutum
apply` would do.
"""

import difflib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from shlex import quote
from typing import Any, Literal, Self, TypeVar

from tutum import (
    FreezeWindow,
    Handler,
    NonUniqueIdentifier,
    NotificationTarget,
    ObjectNotFound,
    Service,
    TutumApiError,
    WebhookGroup,
    WebhookHandler,
)
from tutum.cli.handler_file import HandlerFileError, Wanted, WantedObject, WantedService, open_settings, window_fields
from tutum.cli.handler_text import describe, state_of
from tutum.cli.options import with_names
from tutum.cli.output import age
from tutum.client import current_client
from tutum.freeze import FREEZE_FIELDS
from tutum.lookup import pick
from tutum.notification import TARGET_FIELDS
from tutum.redaction import shorten
from tutum.webhook_group import OWN_FIELDS
from tutum.webhook_handler import FIELDS, Webhooks

GROUP = "the webhook group"
Verb = Literal["add", "change", "remove"]
DEFAULTS: dict[str, Any] = OWN_FIELDS | {name: entry["default"] for name, entry in FIELDS.items()}
"""The fields of handlers and groups with their defaults."""
_SELECTOR = {"services", "stack", "engine", "match"}
Entry = TypeVar("Entry", bound=WantedObject)
Result = TypeVar("Result")
Owned = TypeVar("Owned", Handler, FreezeWindow)


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One request that brings the server closer to the file.

    Attributes:
        noun: What it changes; empty for a handler, which has the name of its `service`.
        name: Name of the handler; without a name, the start of its UUID.
        take: Sends the request.
        details: For people.
    """

    verb: Verb
    noun: str = ""
    service: str = ""
    name: str
    take: Callable[[], object] = field(repr=False)
    details: Sequence[str] = ()

    @property
    def label(self) -> str:
        """Name of the handler or target, such as `ci of shop/web`."""
        return f"{self.noun} {self.name}" if self.noun else f"{self.name} of {self.service}"


@dataclass(slots=True, kw_only=True)
class ServicePlan:
    """Changes to the handlers of one service, or to the groups, targets or windows.

    Attributes:
        service, noun: Of its steps.
        notes: Lines for people.
    """

    title: str
    service: str = ""
    noun: str = ""
    steps: list[Step] = field(default_factory=list)
    unchanged: int = 0
    notes: list[str] = field(default_factory=list)

    def step(self, verb: Verb, name: str, take: Callable[[], object], details: Sequence[str]) -> Step:
        """Return a step of this plan."""
        return Step(verb=verb, noun=self.noun, service=self.service, name=name, take=take, details=details)

    def addition(self, named: Mapping[str, Any], fields: Mapping[str, Any], take: Callable[[], object]) -> Step:
        """Return the step that creates an object of the file with the `fields` that the server has planned."""
        details = [named[key] for key in ("operation", "kind") if key in named]
        shown = _with_names_of(named, fields)
        details += [f"{name}: {describe(value)}" for name, value in shown.items() if name != "name"]
        return self.step("add", named["name"], take, details)

    def change(
        self,
        named: Mapping[str, Any],
        before: Mapping[str, Any],
        changes: Mapping[str, Any],
        take: Callable[[], object],
    ) -> Step | None:
        """Return the step that changes an object as the server has planned; None without changes."""
        details = [
            f"{name}: other secrets"
            if before.get(name) == value
            else f"{name}: {describe(before.get(name))} → {describe(value)}"
            for name, value in _with_names_of(named, changes).items()
        ]
        return self.step("change", named["name"], take, details) if changes else None

    def add(self, wanted: Sequence[WantedObject], plan_object: Callable[[Mapping[str, Any]], Step | None]) -> None:
        """Add the steps for objects of the file, from their fields; None: an object is as the file says.

        Raises:
            HandlerFileError: Lists everything that cannot be done.
        """
        steps = _plan_each(wanted, lambda each: plan_object(each.body))
        self.steps += filter(None, steps)
        self.unchanged += steps.count(None)

    def note_disabled(self, found: Handler | NotificationTarget, named: Mapping[str, Any]) -> None:
        """Add a note if an object stays disabled. Somebody may have disabled it for a reason that is not in a
        repository.
        """
        if getattr(found, "enabled", True) is False and "enabled" not in named:
            self.notes.append(f"Note: {found.name} is disabled and stays so, as the file does not set enabled")

    def with_removals(self, steps: Sequence[Step], *, prune: bool) -> Self:
        """Add the removals of what is not in the file; without `prune`, only a note."""
        if prune:
            self.steps += steps
        elif steps:
            self.notes.insert(0, f"Not in the file; --prune removes: {', '.join(step.name for step in steps)}")
        return self


def make_plans(wanted: Wanted, *, prune: bool) -> list[ServicePlan]:
    """Return the plans that make the server match the file. Nothing is done.

    Args:
        prune: Remove the handlers of the file's services that are not in the file. If it names a group, a target or a
            window, also the user's other groups, targets or windows.

    Raises:
        HandlerFileError: Lists everything that cannot be done.
        TutumApiError: The server cannot be reached.
    """
    found: dict[str, WantedService] = {}

    def plan_service(entry: WantedService) -> ServicePlan:
        service = find_service(entry.body["name"], entry.body.get("engine", ""))
        plan = _plan_service(service, entry, prune=prune)
        first = found.setdefault(service.uuid, entry)
        if first is not entry:
            raise HandlerFileError(f"{entry.place}: this is the same service as {first.place}")
        return plan

    others = ((_plan_targets, wanted.targets), (_plan_groups, wanted.groups), (_plan_windows, wanted.freezes))
    plans = _plan_each(wanted.services, plan_service)
    return plans + [plan(objects, prune=prune) for plan, objects in others if objects]


def _plan_each(wanted: Sequence[Entry], plan: Callable[[Entry], Result]) -> list[Result]:
    """Return the result for each entry of the file.

    Raises:
        HandlerFileError: Lists everything that cannot be done.
    """
    results: list[Result] = []
    problems: list[str] = []
    for each in wanted:
        try:
            results.append(plan(each))
        except HandlerFileError as error:
            problems += error.args
        except TutumApiError as error:
            if error.status != 400 and not isinstance(error, (ObjectNotFound, NonUniqueIdentifier)):
                raise
            problems.append(f"{each.place}: {error.message}")
    if problems:
        raise HandlerFileError(*problems)
    return results


def find_service(name: str, engine: str) -> Service:
    """Return the service with this name. Unlike on the command line, the name of a container does not count.

    Raises:
        ObjectNotFound: No service matches, or none that this user may see.
        NonUniqueIdentifier: Several match; the text lists them, one per line.
    """
    named = services_named(name)
    matches = [each for each in named if engine in ("", each.engine)]
    if not matches:
        where = f" on the engine {engine}" if engine else ""
        raise ObjectNotFound(f"there is no service {name}{where} that this user may see{_hint(name, named)}")
    return pick(matches, "service", name)


def services_named(name: str) -> list[Service]:
    """Return the services with a name, or the service with this UUID."""
    # The server matched the complete name; for `prod/web` and `shop_web`, the end distinguishes it from a container's.
    end = name.rpartition("/")[2]
    return [
        each
        for each in Service.list(reference=name)
        if name in (each.uuid, each.shown_name, f"{each.stack}_{each.name}") or end == each.name
    ]


def _hint(name: str, elsewhere: Sequence[Service]) -> str:
    if elsewhere:
        return f": it is on {', '.join(each.engine for each in elsewhere)}"
    near = difflib.get_close_matches(name, [each.shown_name for each in Service.list()], n=1)
    return f": did you mean {near[0]}?" if near else ""


def _with_uuids(named: Mapping[str, Any]) -> dict[str, Any]:
    """Return fields of the file, with the UUIDs of services instead of their names."""
    body = dict(named)
    if "service" in body:
        body["service"] = find_service(str(body["service"]), "").uuid
    if isinstance(body.get("services"), list):
        body["services"] = [find_service(str(name), "").uuid for name in body["services"]]
    return body


def _with_names_of(named: Mapping[str, Any], fields: Mapping[str, Any]) -> dict[str, Any]:
    """Return fields of the API, with the names of services that the file has."""
    return {**fields, **{name: named.get(name) for name in ("service", "services") if name in fields}}


def _plan_service(service: Service, entry: WantedService, *, prune: bool) -> ServicePlan:
    plan = ServicePlan(title=f"{service.shown_name} on {service.engine}", service=service.shown_name)
    if service.gone_since:
        plan.notes.append(f"Note: it is gone since {service.gone_since}: the handlers are for when it comes back")
    make = partial(WebhookHandler, service)
    return _plan_handlers(plan, make, make().list(), entry.handlers, prune=prune)


def _plan_groups(wanted: Sequence[WantedObject], *, prune: bool) -> ServicePlan:
    plan = ServicePlan(title="webhook groups", noun=GROUP)
    return _plan_handlers(plan, WebhookGroup, own(WebhookGroup().list()), wanted, prune=prune)


def _plan_handlers(
    plan: ServicePlan,
    make: Callable[[], Webhooks],
    handlers: Sequence[Handler],
    wanted: Sequence[WantedObject],
    *,
    prune: bool,
) -> ServicePlan:
    """Return a plan with the steps for handlers or groups.

    Args:
        make: Returns what they belong to, with nothing to save.

    Raises:
        HandlerFileError: Lists everything that cannot be done.
    """
    webhooks = make()

    def plan_handler(named: Mapping[str, Any]) -> Step | None:
        body = _with_uuids(named)
        same = [handler for handler in handlers if handler.name == body["name"]]
        if same:
            plan.note_disabled(same[0], body)
            return _plan_change(plan, webhooks, same, named, body)
        new = make()
        new.add(**body)
        [fields] = new.plan_save()
        return plan.addition(named, fields, new.save)

    plan.add(wanted, plan_handler)
    names = {each.body["name"] for each in wanted}
    removals = [_plan_removal(plan, webhooks, handler) for handler in handlers if handler.name not in names]
    if plan.service and removals and any(step.verb == "add" for step in plan.steps):
        plan.notes.append(
            "Note: a handler with another name is a new one, with a new URL. To keep the URL, rename it first: "
            f"tutum webhook-handler set {quote(plan.service)} OLD --name NEW"
        )
    return plan.with_removals(removals, prune=prune)


def _plan_change(
    plan: ServicePlan,
    webhooks: Webhooks,
    same: Sequence[Handler],
    named: Mapping[str, Any],
    body: Mapping[str, Any],
) -> Step | None:
    """Return the step to perform; None if the handler matches the file. Fields that the file does not set are reset."""
    handler, *others = same
    if others:
        listed = "tutum webhook-group list" if plan.noun else f"tutum webhook-handler list {quote(plan.service)}"
        raise TutumApiError(
            f"there are {len(same)} handlers of this name: rename or remove all but one, by UUID: {listed}", status=400
        )
    if handler.get("operation") != named.get("operation"):
        raise TutumApiError(
            f"its operation is {handler.operation}, which cannot be changed: choose another name, or remove it first",
            status=400,
        )
    defaults = {name: None for name in DEFAULTS if name in handler and name != "enabled"}
    fields = defaults | {name: value for name, value in body.items() if name in DEFAULTS}
    changes = webhooks.plan_update(handler.uuid, **fields)
    # The server takes the selector of a group as a whole.
    parts = {*changes, *(_SELECTOR if _SELECTOR & changes.keys() else ())}
    sent = {name: value for name, value in fields.items() if name in parts}
    return plan.change(named, with_names(handler), changes, partial(webhooks.update, handler.uuid, **sent))


def _plan_removal(plan: ServicePlan, webhooks: Webhooks, handler: Handler) -> Step:
    called = age(handler.last_called_datetime)
    operation = handler.get("operation", "REDEPLOY")
    details = f"{operation}, {state_of(handler)}, {f'last called {called}' if called else 'never called'}"
    return plan.step("remove", label_of_handler(handler), partial(webhooks.delete, handler.uuid), [details])


def label_of_handler(handler: Handler) -> str:
    """Return the handler's name; without a name, the start of its UUID."""
    return handler.name or f"{shorten(handler.uuid)} (without a name)"


def own(objects: Sequence[Owned]) -> list[Owned]:
    """Return those of some groups or windows that the user created."""
    name = current_client().send("GET", "whoami").body["user"]
    return [each for each in objects if each.owner == name]


def _plan_targets(wanted: Sequence[WantedObject], *, prune: bool) -> ServicePlan:
    found = {target.name: target for target in NotificationTarget.list()}
    plan = ServicePlan(title="notification targets", noun="the notification target")

    def plan_target(named: Mapping[str, Any]) -> Step | None:
        """Fields that the file does not set are reset."""
        target = found.pop(named["name"], None)
        body = _with_uuids(named)
        if target is None:
            new = NotificationTarget.create(**body)
            return plan.addition(named, new.plan(), new.save)
        plan.note_disabled(target, named)
        before = target.get_all_attributes() | {"service": target.service_name}
        defaults = {name: None for name in TARGET_FIELDS if name != "enabled"}
        # Secrets that the file does not set stay.
        settings = dict.fromkeys(open_settings(target)) | body["settings"]
        for name, value in (defaults | body | {"settings": settings}).items():
            setattr(target, name, value)
        return plan.change(named, before, target.plan(), target.save)

    plan.add(wanted, plan_target)
    removals = [plan.step("remove", each.name, each.delete, [each.kind]) for each in found.values()]
    return plan.with_removals(removals, prune=prune)


def _plan_windows(wanted: Sequence[WantedObject], *, prune: bool) -> ServicePlan:
    windows = own(FreezeWindow.list())
    found = [window_fields(window, window.service and window.service.split("/")[-2]) for window in windows]
    bodies: list[dict[str, Any]] = []
    plan = ServicePlan(title="freeze windows", noun="the freeze window")

    def plan_window(named: Mapping[str, Any]) -> Step | None:
        body = {name: value for name, value in _with_uuids(named).items() if value != FREEZE_FIELDS[name]}
        bodies.append(body)
        take = partial(current_client().send, "POST", "freeze", body=body)
        return None if body in found else _window_step(plan, "add", named, take)

    plan.add(wanted, plan_window)
    removals = [
        _window_step(plan, "remove", window_fields(window, window.service_name), window.delete)
        for window, fields in zip(windows, found, strict=True)
        if fields not in bodies
    ]
    return plan.with_removals(removals, prune=prune)


def _window_step(plan: ServicePlan, verb: Verb, fields: Mapping[str, Any], take: Callable[[], object]) -> Step:
    subject = fields.get("service") or fields.get("stack") or "the server"
    details = f"{fields.get('tz', 'UTC')}, {fields.get('reason', '')}"
    return plan.step(verb, f"{fields['from']} to {fields['to']} of {subject}", take, [details])
