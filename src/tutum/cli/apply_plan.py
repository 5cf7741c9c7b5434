"""Compares handlers and notification targets of a file with those of the server: what `tutum apply` would do. And the
entries of targets for `tutum export`.
"""

import difflib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from shlex import quote
from typing import Any, Literal, Self

from tutum.cli.handler_file import HandlerFileError, WantedObject, WantedService
from tutum.cli.handler_text import describe, state_of
from tutum.cli.options import with_names
from tutum.cli.output import age
from tutum.client import current_client
from tutum.errors import NonUniqueIdentifier, ObjectNotFound, TutumApiError
from tutum.lookup import pick
from tutum.notification import FIELDS as TARGET_FIELDS
from tutum.notification import NotificationTarget
from tutum.redaction import shorten
from tutum.service import Service
from tutum.webhook_group import OWN_FIELDS, WebhookGroup
from tutum.webhook_handler import FIELDS, Handler, WebhookHandler, Webhooks

GROUPS = "webhook groups"
GROUP = "the webhook group"
TARGETS = "notification targets"
_NOUN = "the notification target"
_MASK = "…"
Verb = Literal["add", "change", "remove"]
DEFAULTS: dict[str, Any] = OWN_FIELDS | {name: entry["default"] for name, entry in FIELDS.items()}
"""The fields of handlers and groups with their defaults."""
_SELECTOR = {"services", "stack", "engine", "match"}


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

    def add(self, wanted: Sequence[WantedObject], plan_object: Callable[[dict[str, Any]], Step | None]) -> None:
        """Add the steps for objects of the file, from their fields; None: an object is as the file says.

        Raises:
            HandlerFileError: Lists everything that cannot be done.
        """
        problems: list[str] = []
        for each in wanted:
            try:
                step = plan_object(dict(each.body))
            except TutumApiError as error:
                if error.status != 400 and not isinstance(error, (ObjectNotFound, NonUniqueIdentifier)):
                    raise
                problems.append(f"{each.place}: {error.message}")
                continue
            self.steps += [step] if step else []
            self.unchanged += step is None
        if problems:
            raise HandlerFileError(*problems)

    def with_removals(self, steps: Sequence[Step], *, prune: bool) -> Self:
        """Add the removals of what is not in the file; without `prune`, only a note."""
        if prune:
            self.steps += steps
        elif steps:
            self.notes.insert(0, f"Not in the file; --prune removes: {', '.join(step.name for step in steps)}")
        return self


def make_plans(wanted: Sequence[WantedService], *, prune: bool) -> list[ServicePlan]:
    """Return the plans that make the server match the file. Nothing is done.

    Args:
        prune: Remove the handlers of the file's services that are not in the file.

    Raises:
        HandlerFileError: Lists everything that cannot be done.
        TutumApiError: The server cannot be reached.
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
        first = found.setdefault(service.uuid, entry)
        if first is not entry:
            problems.append(f"{entry.place}: this is the same service as {first.place}")
        try:
            plans.append(_plan_service(service, entry, prune=prune))
        except HandlerFileError as error:
            problems += error.args
    if problems:
        raise HandlerFileError(*problems)
    return plans


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


def _plan_service(service: Service, entry: WantedService, *, prune: bool) -> ServicePlan:
    handlers = WebhookHandler.fetch(service).list()
    plan = ServicePlan(title=f"{service.shown_name} on {service.engine}", service=service.shown_name)
    if service.gone_since:
        plan.notes.append(f"Note: it is gone since {service.gone_since}: the handlers are for when it comes back")
    others = _plan_handlers(plan, partial(WebhookHandler, service), handlers, entry.handlers)
    if others and any(step.verb == "add" for step in plan.steps):
        plan.notes.append(
            "Note: a handler with another name is a new one, with a new URL. To keep the URL, rename it first: "
            f"tutum webhook-handler set {quote(service.shown_name)} OLD --name NEW"
        )
    return plan.with_removals(others, prune=prune)


def _plan_handlers(
    plan: ServicePlan, make: Callable[[], Webhooks], handlers: Sequence[Handler], wanted: Sequence[WantedObject]
) -> list[Step]:
    """Add the steps for the handlers or groups of the file to a plan, and return those that remove all others.

    Args:
        make: Returns what they belong to, with nothing to save.

    Raises:
        HandlerFileError: Lists everything that cannot be done.
    """

    webhooks = make()

    def plan_handler(body: dict[str, Any]) -> Step | None:
        same = [handler for handler in handlers if handler.name == body["name"]]
        if same and same[0].get("enabled") is False and "enabled" not in body:
            plan.notes.append(f"Note: {body['name']} is disabled and stays so, as the file does not set enabled")
        services = body.get("services")
        if isinstance(services, list):
            body["services"] = [find_service(str(name), "").uuid for name in services]
        return _plan_change(plan, webhooks, same, body) if same else _plan_addition(plan, make(), body)

    plan.add(wanted, plan_handler)
    names = {each.body["name"] for each in wanted}
    return [_plan_removal(plan, webhooks, handler) for handler in handlers if handler.name not in names]


def _plan_addition(plan: ServicePlan, new: Webhooks, body: dict[str, Any]) -> Step:
    new.add(**body)
    [fields] = map(with_names, new.plan_save())
    details = [f"{name}: {describe(value)}" for name, value in fields.items() if name != "name"]
    return plan.step("add", body["name"], new.save, [*([body["operation"]] if "operation" in body else []), *details])


def _plan_change(plan: ServicePlan, webhooks: Webhooks, same: Sequence[Handler], wanted: dict[str, Any]) -> Step | None:
    """Return the step to perform; None if the handler matches the file. Fields that the file does not set are reset."""
    handler, *others = same
    if others:
        listed = "tutum webhook-group list" if plan.noun else f"tutum webhook-handler list {quote(plan.service)}"
        raise TutumApiError(
            f"there are {len(same)} handlers of this name: rename or remove all but one, by UUID: {listed}", status=400
        )
    if handler.get("operation") != wanted.get("operation"):
        raise TutumApiError(
            f"its operation is {handler.operation}, which cannot be changed: choose another name, or remove it first",
            status=400,
        )
    # Somebody may have disabled it for a reason that is not in a repository, so `enabled` is not reset.
    defaults = {name: None for name in DEFAULTS if name in handler and name != "enabled"}
    body = defaults | {name: value for name, value in wanted.items() if name in DEFAULTS}
    changes = webhooks.plan_update(handler.uuid, **body)
    if not changes:
        return None
    # The server takes the selector of a group as a whole.
    parts = {*changes, *(_SELECTOR if _SELECTOR & changes.keys() else ())}
    sent = {name: value for name, value in body.items() if name in parts}
    before, after = with_names(handler), with_names(changes)
    details = [_difference(name, before.get(name), value) for name, value in after.items()]
    return plan.step("change", wanted["name"], partial(webhooks.update, handler.uuid, **sent), details)


def _plan_removal(plan: ServicePlan, webhooks: Webhooks, handler: Handler) -> Step:
    called = age(handler.last_called_datetime)
    operation = handler.get("operation", "REDEPLOY")
    details = f"{operation}, {state_of(handler)}, {f'last called {called}' if called else 'never called'}"
    return plan.step("remove", label_of_handler(handler), partial(webhooks.delete, handler.uuid), [details])


def _difference(name: str, before: Any, after: Any) -> str:
    return f"{name}: other secrets" if before == after else f"{name}: {describe(before)} → {describe(after)}"


def label_of_handler(handler: Handler) -> str:
    """Return the handler's name; without a name, the start of its UUID."""
    return handler.name or f"{shorten(handler.uuid)} (without a name)"


def own_groups() -> list[Handler]:
    """Return the groups of the user."""
    name = current_client().send("GET", "whoami").body["user"]
    return [group for group in WebhookGroup().list() if group.owner == name]


def plan_groups(wanted: Sequence[WantedObject], *, prune: bool) -> list[ServicePlan]:
    """Return the plan for a file's groups; none if the file names no group. Nothing is done.

    Args:
        prune: Remove the user's groups that are not in the file.

    Raises:
        HandlerFileError: Lists everything that cannot be done.
        TutumApiError: The server cannot be reached.
    """
    if not wanted:
        return []
    plan = ServicePlan(title=GROUPS, noun=GROUP)
    return [plan.with_removals(_plan_handlers(plan, WebhookGroup, own_groups(), wanted), prune=prune)]


def plan_targets(wanted: Sequence[WantedObject], *, prune: bool) -> list[ServicePlan]:
    """Return the plan for a file's targets; none if the file names no target. Nothing is done.

    Args:
        prune: Remove the targets that are not in the file.

    Raises:
        HandlerFileError: Lists everything that cannot be done.
        TutumApiError: The server cannot be reached.
    """
    if not wanted:
        return []
    found = {target.name: target for target in NotificationTarget.list()}
    plan = ServicePlan(title=TARGETS)

    def plan_target(body: dict[str, Any]) -> Step | None:
        target = found.pop(body["name"], None)
        if target and not target.enabled and "enabled" not in body:
            plan.notes.append(f"Note: {target.name} is disabled and stays so, as the file does not set enabled")
        return _plan_target(target, body)

    plan.add(wanted, plan_target)
    removals = [
        Step(verb="remove", noun=_NOUN, name=each.name, take=each.delete, details=[each.kind])
        for each in found.values()
    ]
    return [plan.with_removals(removals, prune=prune)]


def _plan_target(target: NotificationTarget | None, body: dict[str, Any]) -> Step | None:
    """Return the step to perform; None if the target matches the file. Fields that the file does not set are reset."""
    service = str(body["service"]) if body.get("service") else None
    if service:
        body["service"] = find_service(service, "").uuid
    if target is None:
        before, target = {}, NotificationTarget.create()
    else:
        before = target.get_all_attributes()
        body = {field: None for field in TARGET_FIELDS if field != "enabled"} | body
        # Secrets that the file does not set stay.
        body["settings"] = dict.fromkeys(open_settings(target)) | body["settings"]
    for name, value in body.items():
        setattr(target, name, value)
    changes = target.plan()
    if before and not changes:
        return None
    texts = {field: describe(value) for field, value in changes.items()}
    texts |= {"service": service} if service and "service" in changes else {}
    details = [f"{field}: {text}" for field, text in texts.items()]
    if before:
        return Step(verb="change", noun=_NOUN, name=body["name"], take=target.save, details=details)
    return Step(verb="add", noun=_NOUN, name=body["name"], take=target.save, details=[body["kind"], *details])


def open_settings(target: NotificationTarget) -> dict[str, Any]:
    """Return the settings of a target that are no secrets."""
    return {key: value for key, value in target.settings.items() if _MASK not in str(value)}


def target_fields(target: NotificationTarget, service: str | None, variables: Mapping[str, str]) -> dict[str, Any]:
    """Return the entries of the file for a target.

    Args:
        service: Name of its service; None if it has none.
        variables: References to variables for its secret settings.
    """
    settings = {key: variables.get(key, value) for key, value in target.settings.items() if value}
    fields = target.get_all_attributes() | {"service": service}
    kept = {name: fields[name] for name, default in TARGET_FIELDS.items() if fields[name] not in (default, [])}
    return {"name": target.name, "kind": target.kind, "settings": settings, **kept}
