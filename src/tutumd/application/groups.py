"""Groups: the fields that only they have, and which services a call redeploys."""

from collections.abc import Mapping
from dataclasses import replace
from enum import StrEnum
from typing import Any, TypeVar

from tutumd.application import services
from tutumd.application.admission.fields import FIELDS
from tutumd.application.admission.filters import MAX_GLOB
from tutumd.application.admission.json_checks import check_choice, check_fields, check_text, quote, suggest
from tutumd.application.scopes import require_everything
from tutumd.errors import InvalidInputError, about
from tutumd.model import NewHandler, Operation, Query, User
from tutumd.model.groups import MAX_SERVICES, GroupSelector, OnFailure, Sequence
from tutumd.ports import Store

_SELECTORS = ("services", "stack", "match")
GROUP_FIELDS = {name: field for name, field in FIELDS.items() if field.operation in (None, Operation.REDEPLOY)}
"""The handler fields that groups have."""
Choice = TypeVar("Choice", bound=StrEnum)
_KNOWN = ("name", "services", "stack", "engine", "match", "sequence", "on_failure", *GROUP_FIELDS)


def show_fields(group: NewHandler) -> dict[str, Any]:
    """Return the fields that only groups have, as the API shows them."""
    selector = group.selector
    return {
        "services": list(selector.services) or None,
        "stack": selector.stack or None,
        "engine": selector.engine or None,
        "match": {"image": selector.image} if selector.image else None,
        "sequence": group.sequence.value,
        "on_failure": group.on_failure.value,
    }


def change_group(before: NewHandler, document: Mapping[str, Any]) -> NewHandler:
    """Return a group with the fields that only groups have, as a JSON object sets them; the selector stays.

    Raises InvalidInputError, also if a field is unknown.
    """
    for name in document:
        if name not in _KNOWN:
            raise InvalidInputError(f"unknown field {quote(name)}: {suggest(name, _KNOWN)}")
    after = replace(
        before,
        sequence=_choose(Sequence, "sequence", document) if "sequence" in document else before.sequence,
        on_failure=_choose(OnFailure, "on_failure", document) if "on_failure" in document else before.on_failure,
    )
    if after.sequence is Sequence.LISTED and not after.selector.services:
        with about("sequence"):
            raise InvalidInputError("sequence can be listed only with services, which are redeployed in their order")
    return after


def _choose(kind: type[Choice], name: str, document: Mapping[str, Any]) -> Choice:
    """Return the value of a field; null and an empty text stand for the first one."""
    choices = tuple(kind)
    with about(name):
        return kind(check_choice(name, document[name] or choices[0], choices))


def parse_selector(
    store: Store, viewer: User, document: Mapping[str, Any], *, is_new: bool = False
) -> GroupSelector | None:
    """Return the selector of a JSON object; None if the object contains none. A new group needs one.

    Raises:
        InvalidInputError: The object does not have one of services, stack and match, or its value is invalid.
        NotFoundError: The viewer has no such service.
        ForbiddenError: The credentials do not cover the selected services.
        ConflictError: A name matches several services.
    """
    if not is_new and not document.keys() & {*_SELECTORS, "engine"}:
        return None
    given = [name for name in _SELECTORS if document.get(name) is not None]
    engine = document.get("engine")
    if len(given) != 1 or (engine is not None and given != ["stack"]):
        raise InvalidInputError(
            "name one of services, stack and match: which services a call redeploys. engine goes with stack"
        )
    kind = given[0]
    value, only = document[kind], viewer.access.stack
    if viewer.access.service_uuid or (only and (kind != "stack" or value != only)):
        require_everything(viewer)
    with about(kind):
        if kind == "match":
            fields = check_fields("match", value, ("image",))
            return GroupSelector(image=check_text("match.image", fields.get("image"), MAX_GLOB))
        if kind == "services":
            return GroupSelector(services=_find_services(store, viewer, value))
        return _find_stack(store, viewer, check_text("stack", value, 255), engine)


def _find_services(store: Store, viewer: User, names: list[str]) -> tuple[str, ...]:
    if not 1 <= len(names) <= MAX_SERVICES:
        raise InvalidInputError(f"services must be a list of 1 to {MAX_SERVICES} services, got {len(names)}")
    uuids: list[str] = []
    for name in names:
        uuid = services.find(store, viewer, name)
        if uuid in uuids:
            raise InvalidInputError(f"services has a service twice: {quote(name)}")
        uuids.append(uuid)
    return tuple(uuids)


def _find_stack(store: Store, viewer: User, stack: str, engine: str | None) -> GroupSelector:
    found = store.services(viewer, Query(filters={"group_stack": stack}, limit=1_000)).objects
    engines = sorted({service.engine for service in found})
    if not engines:
        raise InvalidInputError(f"{viewer.name} has no service in the stack {quote(stack)}")
    only = engines[0] if len(engines) == 1 else None
    return GroupSelector(stack=stack, engine=check_choice("engine", engine or only, engines))
