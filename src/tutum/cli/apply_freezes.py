"""Compares the freeze windows of a file with the user's windows on the server, for `tutum apply`."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, Literal

from tutum.cli.apply_plan import ServicePlan, Step, find_service
from tutum.cli.handler_file import HandlerFileError, WantedObject
from tutum.client import current_client
from tutum.errors import NonUniqueIdentifier, ObjectNotFound
from tutum.freeze import FIELDS, FreezeWindow

WINDOWS = "freeze windows"
_NOUN = "the freeze window"


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
    problems: list[str] = []
    left = own_windows()
    plan = ServicePlan(title=WINDOWS)
    for each in wanted:
        body = dict(each.body)
        try:
            if "service" in body:
                body["service"] = find_service(str(body["service"]), "").uuid
        except (ObjectNotFound, NonUniqueIdentifier) as error:
            problems.append(f"{each.place}: {error.message}")
            continue
        found = [window for window in left if _is(window, body)]
        left = [window for window in left if window not in found]
        plan.unchanged += bool(found)
        if not found:
            take = partial(FreezeWindow.add, body.pop("from"), body.pop("to"), **body)
            subject = each.body.get("service") or body.get("stack") or "the server"
            plan.steps.append(_step("add", FreezeWindow(**FIELDS | each.body), str(subject), take))
    if problems:
        raise HandlerFileError(*problems)
    removals = [_step("remove", window, window.subject, window.delete) for window in left]
    return [plan.with_removals(removals, prune=prune)]


def _step(verb: Literal["add", "remove"], window: FreezeWindow, subject: str, take: Callable[[], object]) -> Step:
    name = f"{window.begins} to {window.ends} of {subject}"
    return Step(verb=verb, noun=_NOUN, name=name, take=take, details=[f"{window.tz}, {window.reason}"])


def window_fields(window: FreezeWindow, service: str | None) -> dict[str, Any]:
    """Return the entries of the file for a window. `service` names its service."""
    fields = {**window.get_all_attributes(), "service": service}
    return {name: fields[name] for name, default in FIELDS.items() if fields[name] != default}


def _is(window: FreezeWindow, body: dict[str, Any]) -> bool:
    """Return whether a window is that of an entry of a file, which need not name the engine of a stack."""
    uuid = (window.service or "").strip("/").rpartition("/")[2]
    fields = window_fields(window, uuid or None)
    wanted = {name: value for name, value in body.items() if value != FIELDS[name]}
    return {name: value for name, value in fields.items() if name != "engine" or name in wanted} == wanted
