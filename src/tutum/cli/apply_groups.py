"""Compares the webhook groups of a file with the user's groups on the server, for `tutum apply`."""

from collections.abc import Sequence
from typing import Any

from tutum.cli.apply_plan import ServicePlan, Step, find_service
from tutum.cli.handler_file import WantedObject
from tutum.cli.handler_text import describe
from tutum.cli.output import age
from tutum.client import current_client
from tutum.errors import TutumApiError
from tutum.redaction import shorten
from tutum.webhook_group import FIELDS, WebhookGroup

GROUPS = "webhook groups"
NOUN = "the webhook group"


def own_groups() -> list[WebhookGroup]:
    """Return the groups of the user."""
    name = current_client().send("GET", "whoami").body["user"]
    return [group for group in WebhookGroup.list() if group.owner == name]


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
    groups, plan = own_groups(), ServicePlan(title=GROUPS)

    def plan_group(body: dict[str, Any]) -> Step | None:
        same = [group for group in groups if group.name == body["name"]]
        if len(same) > 1:
            text = f"there are {len(same)} groups of this name: rename or remove all but one: tutum webhook-group list"
            raise TutumApiError(text, status=400)
        if same and same[0].enabled is False and "enabled" not in body:
            plan.notes.append(f"Note: {same[0].name} is disabled and stays so, as the file does not set enabled")
        return _plan_group(same[0] if same else None, body)

    plan.add(wanted, plan_group)
    names = {each.body["name"] for each in wanted}
    removals = [_plan_removal(group) for group in groups if group.name not in names]
    return [plan.with_removals(removals, prune=prune)]


def _plan_group(group: WebhookGroup | None, body: dict[str, Any]) -> Step | None:
    """Return the step to perform; None if the group matches the file. Fields that the file does not set are reset."""
    services = body.get("services")
    if isinstance(services, list):
        body["services"] = [find_service(str(name), "").uuid for name in services]
    is_new = group is None
    if group is None:
        group = WebhookGroup.create()
    else:
        body = {field: None for field in FIELDS if field != "enabled"} | body
    for name, value in body.items():
        setattr(group, name, value)
    changes = group.plan()
    if not (is_new or changes):
        return None
    texts = {field: describe(value) for field, value in changes.items() if field != "name"}
    texts |= {"services": describe(services)} if changes.get("services") else {}
    details = [f"{field}: {text}" for field, text in texts.items()]
    verb: Any = "add" if is_new else "change"
    return Step(verb=verb, noun=NOUN, name=body["name"], take=group.save, details=details)


def _plan_removal(group: WebhookGroup) -> Step:
    called = age(group.last_called_datetime)
    return Step(
        verb="remove",
        noun=NOUN,
        name=group.name or f"{shorten(group.uuid)} (without a name)",
        take=group.delete,
        details=[f"last called {called}" if called else "never called"],
    )


def group_fields(group: WebhookGroup, services: Sequence[str], verify: Any) -> dict[str, Any]:
    """Return the entries of the file for a group.

    Args:
        services: Names of its services.
        verify: The field without secrets; None if the group has none.
    """
    fields = group.get_all_attributes() | {"services": list(services) or None, "verify": verify}
    return {
        "name": group.name,
        **{name: fields[name] for name, default in FIELDS.items() if fields.get(name, default) != default},
    }
