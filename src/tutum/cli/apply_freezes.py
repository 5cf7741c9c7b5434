"""Compares the freeze windows of a file with the user's windows on the server, for `tutum apply`."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, Literal

from tutum.cli.apply_plan import ServicePlan, Step, find_service
from tutum.cli.handler_file import WantedObject
from tutum.client import current_client
from tutum.freeze import FIELDS, FreezeWindow

WINDOWS = "freeze windows"


def own_windows() -> list[FreezeWindow]:
    """Return the windows that the user created."""
    name = current_client().send("GET", "whoami").body["user"]
    return [window for window in FreezeWindow.list() if window.owner == name]


def plan_windows(wanted: Sequence[WantedObject], *, prune: bool) -> list[ServicePlan]:
    """Return the plan for a file's windows; none if the file names no window. Nothing is done.

    Args:
        prune: Remove the user's windows that are not in the file.

    Raises:
        HandlerFileError: Lists everything that cannot be done.
        TutumApiError: The server cannot be reached.
    """
    if not wanted:
        return []
    windows = own_windows()
    found = [window_fields(window, window.service and window.service.split("/")[-2]) for window in windows]
    named = []

    def plan_window(fields: dict[str, Any]) -> Step | None:
        body = {name: value for name, value in fields.items() if value != FIELDS[name]}
        if "service" in body:
            body["service"] = find_service(str(body["service"]), "").uuid
        named.append(body)
        take = partial(current_client().send, "POST", "freeze", body=body)
        return None if body in found else _step("add", fields, take)

    plan = ServicePlan(title=WINDOWS)
    plan.add(wanted, plan_window)
    removals = [
        _step("remove", window_fields(window, window.service_name), window.delete)
        for window, fields in zip(windows, found, strict=True)
        if fields not in named
    ]
    return [plan.with_removals(removals, prune=prune)]


def window_fields(window: FreezeWindow, service: str | None) -> dict[str, Any]:
    """Return the entries of the file for a window. `service` names its service."""
    fields = {**window.get_all_attributes(), "service": service}
    return {name: fields[name] for name, default in FIELDS.items() if fields[name] != default}


def _step(verb: Literal["add", "remove"], fields: Mapping[str, Any], take: Callable[[], object]) -> Step:
    subject = fields.get("service") or fields.get("stack") or "the server"
    name = f"{fields['from']} to {fields['to']} of {subject}"
    details = f"{fields.get('tz', 'UTC')}, {fields.get('reason', '')}"
    return Step(verb=verb, noun="the freeze window", name=name, take=take, details=[details])
