"""The inputs of a group's form that handlers of a service do not have: its services, and their order."""

from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from tutumd.application.admission.json_checks import split_texts
from tutumd.errors import NotFoundError
from tutumd.model import Handler
from tutumd.web.messages.handlers import FAILURES, ORDERS
from tutumd.web.pages.visitors import Form, Visit


def write_group(visit: Visit, group: Handler) -> dict[str, str]:
    """Return the texts of the inputs."""
    selector, names = group.selector, dict[str, str]()
    for uuid in selector.services:
        with suppress(NotFoundError):
            names[uuid] = visit.name_in_command(visit.store.service(visit.user, uuid))
    return {
        "services": "\n".join(names.get(uuid, uuid) for uuid in selector.services),
        "stack": f"{selector.engine}/{selector.stack}" if selector.stack else "",
        "image": selector.image,
        "sequence": group.sequence.value,
        "on_failure": group.on_failure.value,
    }


def read_group(typed: Mapping[str, str], before: Mapping[str, str]) -> dict[str, Any]:
    """Return the changes that a person made in the inputs, as JSON. Names of services are separated by commas or lines.

    Args:
        before: The texts of `write_group`. An input that is missing does not change.
    """
    now = {name: typed.get(name, text) for name, text in before.items()}
    changes: dict[str, Any] = {name: now[name] for name in ("sequence", "on_failure") if now[name] != before[name]}
    if any(now[name].split() != before[name].split() for name in ("services", "stack", "image")):
        engine, _, stack = now["stack"].partition("/")
        image = now["image"].strip()
        changes |= {
            "services": split_texts(now["services"]) or None,
            "stack": stack or None,
            "engine": engine or None,
            "match": {"image": image} if image else None,
        }
    return changes


def group_values(visit: Visit, group: Handler, typed: Form | None) -> dict[str, Any]:
    """Return the values of the inputs for templates.

    Args:
        typed: The inputs as a person left them; None: those of the group.
    """
    texts = {**write_group(visit, group), **(typed or {})}
    found = visit.store.service_groups(visit.user)
    stacks = {f"{each.engine}/{each.stack}": f"{each.stack} on {each.engine}" for each in found if each.stack}
    if chosen := texts["stack"]:
        stacks.setdefault(chosen, " on ".join(reversed(chosen.split("/", 1))))
    return {
        "typed": texts,
        "stacks": [("", "No stack"), *sorted(stacks.items())],
        "orders": [(each.value, text.capitalize()) for each, text in ORDERS.items()],
        "failures": [(each.value, text.capitalize()) for each, text in FAILURES.items()],
    }
