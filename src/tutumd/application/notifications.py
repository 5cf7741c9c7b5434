"""Notification targets: the checks of what users set, and their settings for owners and senders."""

from collections.abc import Callable, Mapping
from dataclasses import fields, replace
from typing import Any

from tutumd.application.admission.encryption import SecretCipher
from tutumd.application.admission.json_checks import (
    check_choice,
    check_fields,
    check_flag,
    check_name,
    check_number,
    check_text,
    check_texts,
)
from tutumd.application.target_settings import SETTINGS, Networks, TargetSetting, check_forge
from tutumd.errors import InvalidInputError, about
from tutumd.model import CHOSEN_EVENTS, DEFAULT_EVENTS, MAX_REPEAT_S, Event, NewTarget, Target, TargetKind, User

NAMES = ["name", "kind", "settings", "events", "service", "stack", "include_log", "repeat", "per_group_call", "enabled"]
ADMIN_EVENTS = (Event.ENGINE_DOWN, Event.ENGINE_UP)


def check_target(
    document: Mapping[str, Any],
    viewer: User,
    *,
    cipher: SecretCipher,
    allowed: Networks,
    before: Target | None = None,
) -> NewTarget:
    """Return the target that a JSON object describes, with its secrets encrypted.

    Args:
        document: `name`, `kind`, `settings`, and perhaps `events`, `service` (UUID), `stack`, `include_log`, `repeat`
            (seconds), `per_group_call` and `enabled`. null resets a field or a setting to its default.
        allowed: Networks of the setting `--notify-allow`.
        before: The target to change: absent fields and settings stay. A secret stays if it is given as
            `shown_settings` shows it.

    Raises:
        InvalidInputError: A value is wrong, or only admins may have such a target or choose such an event.
    """
    given = check_fields("a notification target", document, NAMES)
    kind = _check_kind(given, viewer, before)
    target = _start(kind, viewer, before)
    for name, (attribute, check) in _fields(target, viewer).items():
        if name in given:
            with about(name):
                value = getattr(_start(kind, viewer, None), attribute) if given[name] is None else check(given[name])
            target = replace(target, **{attribute: value})
    if not target.name:
        with about("name"):
            raise InvalidInputError("name is missing: the name of the target in lists and messages, such as oncall")
    if target.service_uuid and target.stack:
        raise InvalidInputError("service and stack are both set: set one of them, or none for all of your services")
    settings = check_fields("settings", given.get("settings") or {}, [setting.name for setting in SETTINGS[kind]])
    return replace(target, settings=_check_settings(kind, settings, target.settings, cipher, allowed))


def shown_settings(target: NewTarget) -> dict[str, str]:
    """Return the settings for the target's owner. A secret is `…`, or its URL with `…` for the secret part."""
    return {name: value["shown"] if isinstance(value, dict) else value for name, value in target.settings.items()}


def decrypted(target: NewTarget, cipher: SecretCipher) -> dict[str, str]:
    """Return the settings in plain text, for the sender. Raises SettingsError if the key does not decrypt them."""
    return {
        name: cipher.decrypt(value["encrypted"]) if isinstance(value, dict) else value
        for name, value in target.settings.items()
    }


def _check_kind(given: Mapping[str, Any], viewer: User, before: Target | None) -> TargetKind:
    with about("kind"):
        if before is not None and given.get("kind", before.kind) != before.kind:
            raise InvalidInputError("kind cannot be changed: create another target")
        kind = before.kind if before else TargetKind(check_choice("kind", given.get("kind"), tuple(TargetKind)))
        if kind is TargetKind.APPRISE and not viewer.is_admin:
            raise InvalidInputError(
                "only admins may have targets of the kind apprise, which connect to any address: use webhook, or ask an"
                " admin"
            )
    return kind


def _start(kind: TargetKind, viewer: User, before: Target | None) -> NewTarget:
    """Return the target before the change, or one with the defaults."""
    if before is not None:
        return NewTarget(**{field.name: getattr(before, field.name) for field in fields(NewTarget)})
    chosen = (
        DEFAULT_EVENTS if viewer.is_admin else tuple(event for event in DEFAULT_EVENTS if event not in ADMIN_EVENTS)
    )
    return NewTarget(name="", kind=kind, settings={}, events=() if kind is TargetKind.FORGE else chosen)


def _fields(target: NewTarget, viewer: User) -> dict[str, tuple[str, Callable[[Any], Any]]]:
    """Return the attribute and the check of each field except `kind` and `settings`."""
    return {
        "name": ("name", lambda value: check_name(check_text("name", value).strip())),
        "events": ("events", lambda value: _check_events(value, target, viewer)),
        "service": ("service_uuid", lambda value: check_text("service", value, 100)),
        "stack": ("stack", lambda value: check_text("stack", value, 255)),
        "include_log": ("include_log", lambda value: check_flag("include_log", value)),
        "repeat": ("repeat_s", lambda value: check_number("repeat", value, 0, MAX_REPEAT_S)),
        "per_group_call": ("per_group_call", lambda value: check_flag("per_group_call", value)),
        "enabled": ("enabled", lambda value: check_flag("enabled", value)),
    }


def _check_events(value: object, target: NewTarget, viewer: User) -> tuple[Event, ...]:
    if target.kind is TargetKind.FORGE:
        if value != []:
            raise InvalidInputError("events do not apply to the kind forge: each status that begins also ends. Omit it")
        return ()
    if not value:
        raise InvalidInputError(f"events must name at least one of {', '.join(CHOSEN_EVENTS)}")
    events = tuple(Event(check_choice("events", each, CHOSEN_EVENTS)) for each in check_texts("events", value))
    if not viewer.is_admin and not set(events).isdisjoint(ADMIN_EVENTS):
        raise InvalidInputError(f"only admins may choose the events {' and '.join(ADMIN_EVENTS)}: remove them")
    return events


def _check_settings(
    kind: TargetKind, given: Mapping[str, Any], stored: Mapping[str, Any], cipher: SecretCipher, allowed: Networks
) -> dict[str, Any]:
    """Return all settings of a kind, with secrets as an object of what is shown and what is encrypted."""
    settings = {}
    for setting in SETTINGS[kind]:
        with about(setting.name):
            settings[setting.name] = _check_setting(setting, given, stored.get(setting.name), cipher, allowed)
    if kind is TargetKind.FORGE:
        settings = check_forge(settings)
        is_elsewhere = stored and any(settings[name] != stored[name] for name in ("forge", "api"))
        if is_elsewhere and settings["token"] is stored["token"]:
            with about("token"):
                raise InvalidInputError(
                    "token is missing: give it again, because the stored token is for another forge or api"
                )
    return settings


def _check_setting(
    setting: TargetSetting, given: Mapping[str, Any], stored: Any, cipher: SecretCipher, allowed: Networks
) -> Any:
    value = given.get(setting.name)
    shown = stored["shown"] if isinstance(stored, dict) else stored
    if stored is not None and (setting.name not in given or value == shown):
        return stored
    if value is None or value == "":
        if setting.default is None:
            raise InvalidInputError(f"settings.{setting.name} is missing: {setting.help}")
        text = setting.default()
    else:
        text = setting.check(value, allowed)
    return {"shown": setting.mask(text), "encrypted": cipher.encrypt(text)} if setting.mask else text
