"""Webhook handlers: create, change, plan, rotate, and explain the effect of a call."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

from tutumd.application.admission.encryption import PlaceholderCipher, SecretCipher
from tutumd.application.admission.evaluate import (
    check_operation,
    needs_secrets,
    parse_options,
    read_stored,
    write_public,
    write_stored,
)
from tutumd.application.admission.identity import AllowedIssuers, check_issuer
from tutumd.application.admission.json_checks import check_choice, check_name, check_number, quote
from tutumd.application.groups import GROUP_FIELDS, change_group, parse_selector, show_fields
from tutumd.errors import InvalidInputError, SettingsError, about
from tutumd.model import Handler, NewHandler, NewTarget, Operation, User
from tutumd.model.groups import GroupSelector
from tutumd.ports import Store

MAX_ENTRIES = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class FieldContext:
    """The server's part in the check of a handler's fields: the keys of secrets, the time, and the allowed issuers."""

    cipher: SecretCipher
    now: datetime
    issuers: AllowedIssuers


@dataclass(frozen=True, slots=True, kw_only=True)
class ChangePlan:
    """The effect of a request that creates or changes a handler, a group or a notification target.

    Attributes:
        after: The object after the request.
        changes: Fields that would change, with their new values as the API shows them. They include a field of which
            only secrets would change.
    """

    after: NewHandler | NewTarget
    changes: Mapping[str, Any]


def create(
    store: Store, viewer: User, service_uuid: str, documents: Sequence[Mapping[str, Any]], fields: FieldContext
) -> tuple[Handler, ...]:
    """Create a handler of a service, or a group if `service_uuid` is empty, for each JSON object: all or none.

    Raises:
        ConflictError: The viewer has too many handlers, another group has the name, or a name matches several services.
        ForbiddenError: The credentials do not cover the services of a group.
        InvalidInputError: A value is invalid, a group selects no services, or there are more than 100 objects.
        NotFoundError: The viewer has no such service.
    """
    return store.add_handlers(viewer, service_uuid, _new_handlers(store, viewer, service_uuid, documents, fields))


def create_once(
    store: Store,
    viewer: User,
    service_uuid: str,
    document: Mapping[str, Any],
    form_sha256: str,
    fields: FieldContext,
) -> tuple[Handler, bool]:
    """Create a handler for a form, and return it and True; if the form has already created a handler, return that
    handler and False.

    Raises as `create`, and ConflictError if another handler of the service has the name.
    """
    [new] = _new_handlers(store, viewer, service_uuid, [document], fields)
    return store.add_handler_once(viewer, service_uuid, new, form_sha256)


def plan_creation(
    store: Store, viewer: User, service_uuid: str, documents: Sequence[Mapping[str, Any]], fields: FieldContext
) -> tuple[ChangePlan, ...]:
    """Return the handlers that `create` would create. Nothing is stored. Raises as `create`."""
    planned = _new_handlers(store, viewer, service_uuid, documents, fields)
    if service_uuid:
        store.service(viewer, service_uuid)
    # The changes of a new group contain its name, those of another handler do not.
    return tuple(_plan(NewHandler(name=new.name if service_uuid else None), new, fields.cipher) for new in planned)


def change(
    store: Store,
    viewer: User,
    service_uuid: str,
    uuid: str,
    document: Mapping[str, Any],
    fields: FieldContext,
    *,
    keeps_names_apart: bool = False,
) -> Handler:
    """Change the fields of a handler or group that a JSON object contains. A selector replaces the old one.

    Raises:
        ConflictError: As `create`; or with `keeps_names_apart`, another handler of the service has the new name.
        ForbiddenError: As `create`.
        InvalidInputError: A value is invalid, or the operation differs.
        NotFoundError: The viewer has no such handler.
    """
    selector = None if service_uuid else parse_selector(store, viewer, document)
    return store.change_handler(
        viewer,
        service_uuid,
        uuid,
        lambda handler: _changed(handler, document, selector, fields),
        keeps_names_apart=keeps_names_apart,
    )


def plan_change(
    store: Store, viewer: User, service_uuid: str, uuid: str, document: Mapping[str, Any], fields: FieldContext
) -> ChangePlan:
    """Return the changes that `change` would make, including whether secrets differ.

    Nothing is stored. Raises as `change`.
    """
    handler = store.handler(viewer, service_uuid, uuid)
    selector = None if service_uuid else parse_selector(store, viewer, document)
    return _plan(handler, _changed(handler, document, selector, fields), fields.cipher)


def rotate(store: Store, viewer: User, service_uuid: str, uuid: str, grace: object, *, now: datetime) -> Handler:
    """Give a handler or group a new URL. Calls to the old URL are accepted for `grace` more seconds.

    Raises:
        InvalidInputError: `grace` is not a whole number from 0 to 30 days.
        NotFoundError: The viewer has no such handler.
    """
    grace_s = check_number("grace", grace, 0, 30 * 86_400)
    return store.rotate_handler(viewer, service_uuid, uuid, now + timedelta(seconds=grace_s))


def public_options(handler: NewHandler) -> dict[str, Any]:
    """Return the options of a handler for its owner. Secrets are only counted, so they are not decrypted."""
    return write_public(read_stored(handler.options, PlaceholderCipher()))


def parse_operation(text: str | None) -> Operation:
    """Return an operation, in any case; REDEPLOY if none is given. Raises InvalidInputError."""
    return Operation(check_choice("operation", text or "REDEPLOY", tuple(Operation)))


def _new_handlers(
    store: Store, viewer: User, service_uuid: str, documents: Sequence[Mapping[str, Any]], fields: FieldContext
) -> list[NewHandler]:
    if len(documents) > MAX_ENTRIES:
        raise InvalidInputError(f"at most {MAX_ENTRIES} handlers can be created at once, got {len(documents)}")
    new = []
    for document in documents:
        selector = None if service_uuid else parse_selector(store, viewer, document, is_new=True)
        operation = parse_operation(document.get("operation") if service_uuid else None)
        new.append(_changed(NewHandler(operation=operation), document, selector, fields))
    return new


def _changed(
    before: NewHandler, document: Mapping[str, Any], selector: GroupSelector | None, fields: FieldContext
) -> NewHandler:
    """Return a handler after a request. `selector` is the new one of a group; None: the selector stays."""
    after, of_handler = replace(before, selector=selector or before.selector), document
    if after.is_group:
        after = change_group(after, document)
        of_handler = {name: value for name, value in document.items() if name in GROUP_FIELDS}
    elif "operation" in document and parse_operation(document["operation"]) is not before.operation:
        raise InvalidInputError("operation cannot be changed: create another handler")
    name = check_name(document["name"]) if "name" in document else before.name
    return replace(after, name=name, options=_change_options(before.options, of_handler, before.operation, fields))


def _plan(before: NewHandler, after: NewHandler, cipher: SecretCipher) -> ChangePlan:
    old, new = ({"name": each.name, **show_fields(each), **public_options(each)} for each in (before, after))
    has_other_secrets = _secrets(before.options, cipher) != _secrets(after.options, cipher)
    changed = {name for name, value in new.items() if value != old[name]} | ({"verify"} if has_other_secrets else set())
    return ChangePlan(after=after, changes={name: value for name, value in new.items() if name in changed})


def _change_options(
    before: Mapping[str, Any], document: Mapping[str, Any], operation: Operation, fields: FieldContext
) -> dict[str, Any]:
    """Return stored options after a request; `before` is empty for a new handler. Raises InvalidInputError."""
    needed, untouched = _split_secrets(before, document)
    options = parse_options(document, fields.now, read_stored(needed, fields.cipher))
    check_operation(options, operation)
    if "verify" in document:  # a stored issuer may have been removed from the setting since
        check_issuer(options.verify, fields.issuers)
    after = {**write_stored(options, fields.cipher), **untouched}
    for name, text in list_contradictions(after).items() - list_contradictions(before).items():
        with about(name):
            raise InvalidInputError(text)
    return after


def _secrets(stored: Mapping[str, Any], cipher: SecretCipher) -> list[str]:
    """Return the secrets; without their key, the encrypted texts, which differ from every new secret."""
    encrypted = list(stored.get("verify", {}).get("secrets", ()))
    try:
        return [cipher.decrypt(secret) for secret in encrypted]
    except SettingsError:
        return encrypted


def _split_secrets(stored: Mapping[str, Any], document: Mapping[str, Any]) -> tuple[Mapping[str, Any], dict[str, Any]]:
    """Return the stored options that a change must read, and `verify` if its secrets stay encrypted.

    Secrets are decrypted only if a changed `verify` keeps or needs them, because their key may be lost.
    """
    if "verify" not in stored:
        return stored, {}
    others = {name: value for name, value in stored.items() if name != "verify"}
    if "verify" not in document:
        return others, {"verify": stored["verify"]}
    return (stored if needs_secrets(document["verify"]) else others), {}


def list_contradictions(stored: Mapping[str, Any]) -> dict[str, str]:
    """Return a sentence for each contradiction in stored options that keeps all calls, or all intended calls, from
    counting.
    """
    options = read_stored(stored, PlaceholderCipher())
    globs = [("filter", each.kind, glob) for each in options.filter for glob in each.patterns]
    globs += [("tag", "allow", glob) for glob in (options.tag.allow if options.tag else ())]
    problems = {field: problem for field, kind, glob in globs if (problem := _judge_glob(field, kind, glob))}
    # Only Bitbucket reports several branches and tags in one call, if they were pushed together.
    is_bitbucket = options.verify is not None and options.verify.preset == "bitbucket"
    if {"branch", "tag"} <= {each.kind for each in options.filter} and not is_bitbucket:
        problems["filter"] = (
            "filter has a branch and a tag, but a push is of a branch or of a tag, so no call would ever count."
            " Create one handler for the branch and another one for the tag"
        )
    return problems


def _judge_glob(field: str, kind: str, glob: str) -> str:
    has_braces = {"{", "}"} & {*glob} and ("," in glob or glob.count("{") != glob.count("}"))
    if kind in ("branch", "tag", "allow", "paths") and has_braces:
        return f"{field}.{kind}: braces have no meaning in {quote(glob)}. Write a glob for each alternative"
    if kind in ("branch", "tag", "allow") and any(char == "," or char.isspace() for char in glob):
        return (
            f"{field}.{kind}: {quote(glob)} matches nothing, because names of branches and tags have no spaces and no"
            " commas. Write several globs with commas between them, or as a list"
        )
    return ""
