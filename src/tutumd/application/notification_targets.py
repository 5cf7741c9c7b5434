"""Notification targets: create, change, plan and test them, with the checks of what users set; and retries of their
notifications.
"""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from tutumd.application import services
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
from tutumd.application.handlers import ChangePlan
from tutumd.application.scopes import require_everything, require_scope
from tutumd.application.target_settings import SETTINGS, Networks, TargetSetting, check_forge
from tutumd.errors import AnswerTimeoutError, InvalidInputError, about
from tutumd.model import (
    CHOSEN_EVENTS,
    DEFAULT_EVENTS,
    MAX_REPEAT_S,
    Event,
    NewTarget,
    Notification,
    NotificationState,
    Query,
    Scope,
    Target,
    TargetKind,
    User,
)
from tutumd.ports import Store

NAMES = ["name", "kind", "settings", "events", "service", "stack", "include_log", "repeat", "per_group_call", "enabled"]
ADMIN_EVENTS = (Event.ENGINE_DOWN, Event.ENGINE_UP)
TEST_TIMEOUT_S = 20.0


@dataclass(frozen=True, slots=True, kw_only=True)
class TargetTest:
    """The result of a test. `error` is empty if it was sent."""

    sent: bool
    last_status: int | None
    error: str
    seconds: float


class TargetRules:
    """Changes to the targets of one user. Each requires credentials with all rights of the user.

    All methods raise ForbiddenError for other credentials, and NotFoundError if the user has no such target.
    """

    def __init__(self, store: Store, viewer: User, cipher: SecretCipher, allowed: Networks) -> None:
        """Take the networks of `--notify-allow` as `allowed`."""
        require_scope(viewer, Scope.ADMIN)
        require_everything(viewer)
        self._store, self._viewer, self._cipher, self._allowed = store, viewer, cipher, allowed

    def create(self, document: Mapping[str, Any]) -> tuple[Target, str | None]:
        """Create a target from a JSON object. Return it, and the signing secret if the server generated it.

        Args:
            document: As for `check_target`; `service` is a reference.

        Raises:
            InvalidInputError: A value is invalid.
            ConflictError: The name is taken, there are too many targets, or several services match.
        """
        document = self._resolve(document)
        target = self._store.add_target(self._viewer, self._check(document))
        return target, self._generated(document, target, is_new=True)

    def change(self, uuid: str, document: Mapping[str, Any]) -> tuple[Target, str | None]:
        """Change the fields that a JSON object contains. Returns and raises as `create`."""
        document = self._resolve(document)
        after = self._store.change_target(self._viewer, uuid, lambda before: self._check(document, before))
        return after, self._generated(document, after, is_new=False)

    def plan(self, uuid: str | None, document: Mapping[str, Any]) -> ChangePlan:
        """Return what `change` would change, or `create` would create if `uuid` is None. Nothing is stored."""
        before = None if uuid is None else self._store.target(self._viewer, uuid)
        after = self._check(self._resolve(document), before)
        old, new = (self._fields(each) for each in (before or _start(after.kind, self._viewer), after))
        changes = {name: value for name, value in new.items() if old[name] != value}
        if "settings" in changes:
            changes["settings"] = shown_settings(after)
        return ChangePlan(after=after, changes=changes)

    def test(self, uuid: str) -> TargetTest:
        """Queue a test, and return its result.

        Raises:
            AnswerTimeoutError: It was not sent within 20 s. The notifier sends it later.
            NotFoundError: Also if the target is deleted meanwhile.
        """
        began = time.monotonic()
        queued = self._store.queue_test(self._viewer, uuid)
        for _ in services.polls(self._store, TEST_TIMEOUT_S):
            test = self._store.notifications(self._viewer, Query.newest(1, uuid=queued.uuid)).first
            if test.attempts:
                return TargetTest(
                    sent=test.state is NotificationState.SENT,
                    last_status=test.last_status,
                    error=test.error,
                    seconds=round(time.monotonic() - began, 2),
                )
        raise AnswerTimeoutError(
            f"the test was not sent within {TEST_TIMEOUT_S:.0f} s, and stays queued: does tutumd notifier run? Another"
            " notification of this target may be under way; tutumd doctor shows more"
        )

    def delete(self, uuid: str) -> None:
        """Delete a target and its notifications."""
        self._store.delete_target(self._viewer, uuid)

    def retry(self, uuid: str) -> Notification:
        """Queue a dead notification again. Raises ConflictError if it is not dead."""
        return self._store.retry_notification(self._viewer, uuid)

    def retry_dead(self, uuid: str) -> int:
        """Queue all dead notifications of a target again, and return how many."""
        return self._store.retry_dead(self._viewer, uuid)

    def _resolve(self, document: Mapping[str, Any]) -> dict[str, Any]:
        """Return a JSON object with the UUID of the service that it refers to."""
        if not document.get("service"):
            return dict(document)
        with about("service"):
            return {**document, "service": services.find(self._store, self._viewer, str(document["service"]))}

    def _check(self, document: Mapping[str, Any], before: Target | None = None) -> NewTarget:
        return check_target(document, self._viewer, cipher=self._cipher, allowed=self._allowed, before=before)

    def _generated(self, document: Mapping[str, Any], after: Target, *, is_new: bool) -> str | None:
        """Return the signing secret if this request has generated it: for a new target, or if it resets the secret."""
        given = document.get("settings") or {}
        is_generated = not given.get("secret") and (is_new or "secret" in given)
        return decrypted(after, self._cipher).get("secret") if is_generated else None

    def _fields(self, target: NewTarget) -> dict[str, Any]:
        """Return the fields of a target for comparisons, with its secrets."""
        return {
            "settings": decrypted(target, self._cipher),
            "events": list(target.events),
            "service": target.service_uuid,
            "stack": target.stack,
            "include_log": target.include_log,
            "repeat": target.repeat_s,
            "per_group_call": target.per_group_call,
            "enabled": target.enabled,
        }


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
    target = before or _start(kind, viewer)
    for name, (attribute, check) in _fields(target, viewer).items():
        if name in given:
            with about(name):
                value = getattr(_start(kind, viewer), attribute) if given[name] is None else check(given[name])
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


def _start(kind: TargetKind, viewer: User) -> NewTarget:
    """Return a target with the defaults."""
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
