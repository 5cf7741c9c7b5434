"""Notification targets: create, change, plan and test; and retries of their notifications."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tutumd.application import services
from tutumd.application.admission.encryption import SecretCipher
from tutumd.application.admission.headers import Network
from tutumd.application.handlers import ChangePlan
from tutumd.application.notifications import check_target, decrypted, shown_settings
from tutumd.application.scopes import require_everything, require_scope
from tutumd.errors import NOT_FOUND, AnswerTimeoutError, NotFoundError, about
from tutumd.model import NewTarget, Notification, NotificationState, Query, Scope, Target, User
from tutumd.ports.store import Store

TEST_TIMEOUT_S = 20.0
_POLL_S = 0.2
_PAUSE_S = 0.02


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

    def __init__(self, store: Store, viewer: User, cipher: SecretCipher, allowed: Sequence[Network]) -> None:
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
        return target, self._generated(document, target, None)

    def change(self, uuid: str, document: Mapping[str, Any]) -> tuple[Target, str | None]:
        """Change the fields that a JSON object contains. Returns and raises as `create`."""
        document = self._resolve(document)
        before: list[Target] = []

        def change(target: Target) -> NewTarget:
            before.append(target)
            return self._check(document, target)

        after = self._store.change_target(self._viewer, uuid, change)
        return after, self._generated(document, after, before[-1])

    def plan(self, uuid: str | None, document: Mapping[str, Any]) -> ChangePlan:
        """Return what `change` would change, or `create` would create if `uuid` is None. Nothing is stored."""
        before = None if uuid is None else self._store.target(self._viewer, uuid)
        after = self._check(self._resolve(document), before)
        old, new = self._fields(before), self._fields(after)
        changes = {name: value for name, value in new.items() if old.get(name) != value}
        if "settings" in changes:
            changes["settings"] = shown_settings(after)
        return ChangePlan(after=after, changes=changes)

    def test(self, uuid: str) -> TargetTest:
        """Queue a test, and return its result.

        Raises:
            AnswerTimeoutError: It was not sent within 20 s. The notifier sends it later.
        """
        began, seen = time.monotonic(), 0
        queued = self._store.queue_test(self._viewer, uuid)
        while time.monotonic() < began + TEST_TIMEOUT_S:
            test = next(iter(self._store.notifications(self._viewer, Query.newest(1, uuid=queued.uuid)).objects), None)
            if test is None:
                raise NotFoundError(NOT_FOUND)  # the target was deleted
            if test.attempts:
                return TargetTest(
                    sent=test.state is NotificationState.SENT,
                    last_status=test.last_status,
                    error=test.error,
                    seconds=round(time.monotonic() - began, 2),
                )
            time.sleep(_PAUSE_S)  # actions may end at any time
            seen = self._store.wait_for_end(seen, _POLL_S)
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

    def _generated(self, document: Mapping[str, Any], after: Target, before: Target | None) -> str | None:
        """Return the signing secret if this request has generated it."""
        secret = decrypted(after, self._cipher).get("secret")
        known = decrypted(before, self._cipher).get("secret") if before else None
        return None if secret in (known, (document.get("settings") or {}).get("secret")) else secret

    def _fields(self, target: NewTarget | None) -> dict[str, Any]:
        """Return the fields of a target for comparisons, with its secrets."""
        if target is None:
            return {"enabled": True, "service": None, "stack": None, "include_log": False, "per_group_call": True}
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
