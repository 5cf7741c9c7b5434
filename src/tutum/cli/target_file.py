"""Notification targets in the file of `tutum apply`: what would be added, changed and removed, and their export."""

from collections.abc import Mapping, Sequence
from typing import Any

from tutum.cli.apply_plan import ServicePlan, Step, find_service
from tutum.cli.handler_file import HandlerFileError, WantedTarget
from tutum.cli.handler_text import describe
from tutum.errors import NonUniqueIdentifier, ObjectNotFound, TutumApiError
from tutum.notification import FIELDS, NotificationTarget

TITLE = "notification targets"
_MASK = "…"


def plan_targets(wanted: Sequence[WantedTarget], *, prune: bool) -> list[ServicePlan]:
    """Return the plan for a file's targets; none if the file names no target. Nothing is done.

    Args:
        prune: Remove the targets that are not in the file.

    Raises:
        HandlerFileError: Lists everything that cannot be done.
        TutumApiError: The server cannot be reached.
    """
    if not wanted:
        return []
    problems: list[str] = []
    found = {target.name: target for target in NotificationTarget.list()}
    plan = ServicePlan(title=TITLE)
    for each in wanted:
        target = found.pop(each.body["name"], None)
        try:
            step = _plan_target(target, dict(each.body))
        except TutumApiError as error:
            if error.status != 400 and not isinstance(error, (ObjectNotFound, NonUniqueIdentifier)):
                raise
            problems.append(f"{each.place}: {error.message}")
            continue
        plan.steps += [step] if step else []
        plan.unchanged += step is None
        if target and not target.enabled and "enabled" not in each.body:
            plan.notes.append(f"Note: {target.name} is disabled and stays so, as the file does not set enabled")
    if problems:
        raise HandlerFileError(*problems)
    if prune:
        plan.steps += [
            Step(verb="remove", name=name, take=target.delete, details=[target.kind]) for name, target in found.items()
        ]
    elif found:
        plan.notes.insert(0, f"Not in the file; --prune removes: {', '.join(found)}")
    return [plan]


def _plan_target(target: NotificationTarget | None, body: dict[str, Any]) -> Step | None:
    """Return the step to perform; None if the target matches the file. Fields that the file does not set are reset."""
    service = str(body["service"]) if body.get("service") else None
    if service:
        body["service"] = find_service(service, "").uuid
    if target is None:
        before, target = {}, NotificationTarget.create()
    else:
        before = target.get_all_attributes()
        body = {field: None for field in FIELDS if field != "enabled"} | body
        # Secrets that the file does not set stay.
        body["settings"] = dict.fromkeys(open_settings(target)) | body["settings"]
    for field, value in body.items():
        setattr(target, field, value)
    changes = target.plan()
    if before and not changes:
        return None
    texts = {field: describe(value) for field, value in changes.items()}
    texts |= {"service": service} if service and "service" in changes else {}
    details = [f"{field}: {text}" for field, text in texts.items()]
    if before:
        return Step(verb="change", name=body["name"], take=target.save, details=details)
    return Step(verb="add", name=body["name"], take=target.save, details=[body["kind"], *details])


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
    kept = {name: fields[name] for name, default in FIELDS.items() if fields[name] not in (default, [])}
    return {"name": target.name, "kind": target.kind, "settings": settings, **kept}
