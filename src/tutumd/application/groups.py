"""Groups of services: create, change, plan and rotate them."""

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

from tutumd.application import services
from tutumd.application.admission.encryption import SecretCipher
from tutumd.application.admission.fields import FIELDS
from tutumd.application.admission.filters import MAX_GLOB
from tutumd.application.admission.issuers import AllowedIssuers
from tutumd.application.admission.json_checks import (
    check_choice,
    check_fields,
    check_number,
    check_text,
    quote,
    suggest,
)
from tutumd.application.handlers import MAX_GRACE_S, ChangePlan, change_options, check_name, differences
from tutumd.application.scopes import require_everything
from tutumd.errors import InvalidInputError, about
from tutumd.model import Operation, Query, User
from tutumd.model.groups import MAX_SERVICES, Group, GroupSelector, NewGroup, OnFailure, Sequence
from tutumd.ports.store import Store

MAX_STACK = 255
_SELECTORS = ("services", "stack", "match")
_NOTHING = NewGroup(selector=GroupSelector())
GROUP_FIELDS = {name: field for name, field in FIELDS.items() if field.operation in (None, Operation.REDEPLOY)}
"""The handler fields that groups have."""
_KNOWN = ("name", "services", "stack", "engine", "match", "sequence", "on_failure", *GROUP_FIELDS)


def create(
    store: Store,
    viewer: User,
    document: Mapping[str, Any],
    *,
    cipher: SecretCipher,
    now: datetime,
    issuers: AllowedIssuers,
) -> Group:
    """Create a group from a JSON object.

    Raises:
        InvalidInputError: A value is invalid, or the object does not have one of services, stack and match.
        NotFoundError: The viewer has no such service.
        ForbiddenError: The credentials do not cover the selected services.
        ConflictError: A name matches several services, or the viewer has too many handlers.
    """
    return store.add_group(viewer, _new_group(store, viewer, document, cipher, now, issuers))


def create_once(
    store: Store,
    viewer: User,
    document: Mapping[str, Any],
    form_sha256: str,
    *,
    cipher: SecretCipher,
    now: datetime,
    issuers: AllowedIssuers,
) -> tuple[Group, bool]:
    """Create a group for a form, and return it and True; if the form has already created a group, return that group
    and False. Raises as `create`.
    """
    return store.add_group_once(viewer, _new_group(store, viewer, document, cipher, now, issuers), form_sha256)


def plan_creation(
    store: Store,
    viewer: User,
    document: Mapping[str, Any],
    *,
    cipher: SecretCipher,
    now: datetime,
    issuers: AllowedIssuers,
) -> ChangePlan:
    """Return the group that `create` would create. Nothing is stored. Raises as `create`."""
    return _plan(_NOTHING, _new_group(store, viewer, document, cipher, now, issuers), cipher)


def change(
    store: Store,
    viewer: User,
    uuid: str,
    document: Mapping[str, Any],
    *,
    cipher: SecretCipher,
    now: datetime,
    issuers: AllowedIssuers,
) -> Group:
    """Change the fields that a JSON object contains. A selector replaces the old one.

    Raises as `create`, and NotFoundError if the viewer has no such group.
    """
    selector = _parse_selector(store, viewer, document)
    return store.change_group(
        viewer, uuid, lambda group: _changed_group(group, document, selector, cipher, now, issuers)
    )


def plan_change(
    store: Store,
    viewer: User,
    uuid: str,
    document: Mapping[str, Any],
    *,
    cipher: SecretCipher,
    now: datetime,
    issuers: AllowedIssuers,
) -> ChangePlan:
    """Return the changes that `change` would make. Nothing is stored. Raises as `change`."""
    group = store.group(viewer, uuid)
    after = _changed_group(group, document, _parse_selector(store, viewer, document), cipher, now, issuers)
    return _plan(group, after, cipher)


def rotate(store: Store, viewer: User, uuid: str, grace: object, *, now: datetime) -> Group:
    """Give a group a new URL. Calls to the old URL are accepted for `grace` more seconds.

    Raises:
        InvalidInputError: `grace` is not a whole number from 0 to 30 days.
        NotFoundError: The viewer has no such group.
    """
    return store.rotate_group(viewer, uuid, now + timedelta(seconds=check_number("grace", grace, 0, MAX_GRACE_S)))


def show_fields(group: NewGroup) -> dict[str, Any]:
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


def _plan(before: NewGroup, after: NewGroup, cipher: SecretCipher) -> ChangePlan:
    old, new = ({"name": each.name, **show_fields(each)} for each in (before, after))
    changes = {name: value for name, value in new.items() if value != old[name]}
    return ChangePlan(after=after, changes=changes | differences(before.options, after.options, cipher))


def _new_group(
    store: Store,
    viewer: User,
    document: Mapping[str, Any],
    cipher: SecretCipher,
    now: datetime,
    issuers: AllowedIssuers,
) -> NewGroup:
    selector = _parse_selector(store, viewer, document)
    if selector is None:
        raise InvalidInputError(_ONE_SELECTOR)
    return _changed_group(_NOTHING, document, selector, cipher, now, issuers)


def _changed_group(
    before: NewGroup,
    document: Mapping[str, Any],
    selector: GroupSelector | None,
    cipher: SecretCipher,
    now: datetime,
    issuers: AllowedIssuers,
) -> NewGroup:
    for name in document:
        if name not in _KNOWN:
            raise InvalidInputError(f"unknown field {quote(name)}: {suggest(name, _KNOWN)}")
    after = NewGroup(
        name=check_name(document["name"]) if "name" in document else before.name,
        selector=selector or before.selector,
        sequence=_parse_sequence(document["sequence"]) if "sequence" in document else before.sequence,
        on_failure=_parse_on_failure(document["on_failure"]) if "on_failure" in document else before.on_failure,
        options=change_options(
            before.options,
            {name: value for name, value in document.items() if name in GROUP_FIELDS},
            Operation.REDEPLOY,
            cipher,
            now,
            issuers,
        ),
    )
    if after.sequence is Sequence.LISTED and not after.selector.services:
        with about("sequence"):
            raise InvalidInputError("sequence can be listed only with services, which are redeployed in their order")
    return after


def _parse_sequence(text: str | None) -> Sequence:
    with about("sequence"):
        return Sequence(check_choice("sequence", text or "none", tuple(Sequence)))


def _parse_on_failure(text: str | None) -> OnFailure:
    with about("on_failure"):
        return OnFailure(check_choice("on_failure", text or "cancel", tuple(OnFailure)))


_ONE_SELECTOR = "name one of services, stack and match: which services a call redeploys"


def _parse_selector(store: Store, viewer: User, document: Mapping[str, Any]) -> GroupSelector | None:
    """Return the selector of a JSON object; None if the object contains none."""
    if not document.keys() & {*_SELECTORS, "engine"}:
        return None
    given = [name for name in _SELECTORS if document.get(name) is not None]
    engine = document.get("engine")
    if len(given) != 1 or (engine is not None and given != ["stack"]):
        raise InvalidInputError(f"{_ONE_SELECTOR}. engine goes with stack")
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
        return _find_stack(store, viewer, check_text("stack", value, MAX_STACK), engine)


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
