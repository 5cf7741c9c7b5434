"""Changes that the audit log tells of."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from functools import partial
from typing import Any

from tests.support.stores import ORIGIN, StoreBed
from tutumd.model import (
    AuditEntry,
    AuditEvent,
    Definition,
    NewHandler,
    NewKey,
    NewSession,
    Operation,
    Scope,
    User,
    Verb,
)
from tutumd.model.freeze import NewFreezeWindow
from tutumd.model.notifications import NewTarget, TargetKind

KEY, OTHER_KEY, TOKEN, LINK = "aa" * 32, "dd" * 32, "bb" * 32, "cc" * 32
"""SHA-256 of two keys, of a session's token and of a login link."""
NEW = NewHandler(name="hook", operation=Operation.REDEPLOY)
SECRETS = ("enc:v1:s3cr3t", "v4lue")


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """Something that a user does, and what the log then tells.

    Attributes:
        prepare: Returns what is to be done, from the store and the user.
        details: What the entry says beside the event.
    """

    event: AuditEvent
    prepare: Callable[[StoreBed, User], Callable[[], object]]
    details: str = ""


def _with_handler(
    do: Callable[[StoreBed, User, str, str], object],
) -> Callable[[StoreBed, User], Callable[[], object]]:
    def prepare(bed: StoreBed, user: User) -> Callable[[], object]:
        handler = bed.store.add_handlers(user, bed.service_uuid("web"), [NEW])[0]
        return lambda: do(bed, user, handler.service_uuid, handler.uuid)

    return prepare


def _with_action(do: Callable[[StoreBed, User, str], object]) -> Callable[[StoreBed, User], Callable[[], object]]:
    def prepare(bed: StoreBed, user: User) -> Callable[[], object]:
        action = bed.store.submit(user, bed.service_uuid("web"), Verb.STOP, target=None, origin=ORIGIN)
        return lambda: do(bed, user, action.uuid)

    return prepare


def _with_target(do: Callable[[StoreBed, User, str], object]) -> Callable[[StoreBed, User], Callable[[], object]]:
    def prepare(bed: StoreBed, user: User) -> Callable[[], object]:
        target = bed.store.add_target(user, TARGET)
        return lambda: do(bed, user, target.uuid)

    return prepare


def _abandon(bed: StoreBed, user: User) -> Callable[[], object]:
    action = bed.store.submit(user, bed.service_uuid("web"), Verb.STOP, target=None, origin=ORIGIN)
    bed.claimed()
    return lambda: bed.store.abandon(user, action.uuid)


def _retry(bed: StoreBed, user: User) -> Callable[[], object]:
    action = bed.store.submit(user, bed.service_uuid("web"), Verb.STOP, target=None, origin=ORIGIN)
    bed.store.cancel(user, action.uuid)
    return lambda: bed.store.retry(user, action.uuid, ORIGIN)


def _repeat(bed: StoreBed, user: User) -> Callable[[], object]:
    handler = bed.handler("web")
    bed.call(handler)
    number = bed.deliveries(handler)[0].number
    return lambda: bed.store.record_redelivery(user, handler.service_uuid, handler.uuid, number)


def _create(bed: StoreBed, user: User) -> object:
    return bed.store.create_service(
        user, engine="docker", name="made", image="none", definition=Definition(command="id"), target=1
    )


def _update(bed: StoreBed, user: User) -> Callable[[], object]:
    made: Any = _create(bed, user)
    definition = Definition(command="id", envvars={"PASSWORD": SECRETS[1]})
    return lambda: bed.store.update_service(user, made.uuid, definition=definition, image="none", target=3)


def _forget(bed: StoreBed, user: User) -> Callable[[], object]:
    bed.handler("web")
    web = bed.service_uuid("web")
    bed.show("db")
    return lambda: bed.store.forget(user, web)


def _freeze(bed: StoreBed, user: User) -> str:
    new = NewFreezeWindow(service_uuid=bed.service_uuid("web"), begins="Fri 16:00", ends="Mon 06:00", reason="weekend")
    return bed.store.add_freeze_window(user, new).uuid


def _resume(bed: StoreBed, user: User) -> Callable[[], object]:
    bed.store.hold(bed.admin, bed.service_uuid("web"), until=None, reason="")
    return lambda: bed.store.resume(user, bed.service_uuid("web"))


def _remove_user(bed: StoreBed, user: User) -> Callable[[], object]:
    bed.store.add_user("bob", is_admin=False)
    return lambda: bed.store.remove_user("bob", user)


def _revoke_key(bed: StoreBed, user: User) -> Callable[[], object]:
    bed.store.add_key(user.name, NewKey(key_sha256=OTHER_KEY, hint="tutumd_67890"))
    return lambda: bed.store.revoke_keys("tutumd_67890", user)


def _end_session(bed: StoreBed, user: User) -> Callable[[], object]:
    number = bed.store.add_session(user, NewSession(token_sha256=TOKEN, expires=bed.clock() + timedelta(days=1)))
    return lambda: bed.store.end_sessions(user, number)


def soon(bed: StoreBed) -> datetime:
    return bed.clock() + timedelta(days=1)


CHANGED = NewHandler(name="hook", operation=Operation.REDEPLOY, options={"verify": {"secrets": [SECRETS[0]]}})
LIMITED = NewKey(key_sha256=KEY, hint="tutumd_12345", scope=Scope.CALL, stack="shop")
TARGET = NewTarget(name="oncall", kind=TargetKind.WEBHOOK, settings={"secret": SECRETS[0]})
CHANGED_TARGET = replace(TARGET, settings={"secret": SECRETS[1]}, repeat_s=0)
CHANGES = (
    Change(
        event=AuditEvent.HANDLER_CREATED,
        prepare=lambda bed, user: lambda: bed.store.add_handlers(user, bed.service_uuid("web"), [NEW]),
        details="REDEPLOY 'hook'",
    ),
    Change(
        event=AuditEvent.HANDLER_CHANGED,
        prepare=_with_handler(lambda bed, user, *uuids: bed.store.change_handler(user, *uuids, lambda _: CHANGED)),
        details="REDEPLOY 'hook'; changed: verify",
    ),
    Change(
        event=AuditEvent.HANDLER_ROTATED,
        prepare=_with_handler(lambda bed, user, *uuids: bed.store.rotate_handler(user, *uuids, soon(bed))),
        details="REDEPLOY 'hook'; the old URL is accepted until 2026-01-02 00:00:00 UTC",
    ),
    Change(
        event=AuditEvent.HANDLER_REVOKED,
        prepare=_with_handler(lambda bed, user, *uuids: bed.store.delete_handler(user, *uuids)),
        details="REDEPLOY 'hook'",
    ),
    Change(
        event=AuditEvent.ACTION_SUBMITTED,
        prepare=lambda bed, user: (
            lambda: bed.store.submit(user, bed.service_uuid("web"), Verb.SCALE, target=5, origin=ORIGIN)
        ),
        details="SCALE to 5",
    ),
    Change(
        event=AuditEvent.ACTION_CANCELED,
        prepare=_with_action(lambda bed, user, uuid: bed.store.cancel(user, uuid)),
        details="STOP",
    ),
    Change(event=AuditEvent.ACTION_ABANDONED, prepare=_abandon, details="STOP"),
    Change(event=AuditEvent.ACTION_RETRIED, prepare=_retry, details="STOP, as action "),
    Change(event=AuditEvent.DELIVERY_REPEATED, prepare=_repeat, details="delivery 1"),
    Change(event=AuditEvent.SERVICE_CREATED, prepare=lambda bed, user: lambda: _create(bed, user)),
    Change(
        event=AuditEvent.SERVICE_CHANGED,
        prepare=_update,
        details="changed: envvars, target_num_containers to 3",
    ),
    Change(
        event=AuditEvent.SERVICE_HELD,
        prepare=lambda bed, user: (
            lambda: bed.store.hold(user, bed.service_uuid("web"), until=soon(bed), reason="incident 42")
        ),
        details="until 2026-01-02 00:00 UTC: incident 42",
    ),
    Change(event=AuditEvent.SERVICE_RESUMED, prepare=_resume),
    Change(event=AuditEvent.SERVICE_FORGOTTEN, prepare=_forget, details="handlers revoked: 1"),
    Change(
        event=AuditEvent.USER_ADDED,
        prepare=lambda bed, user: lambda: bed.store.add_user("bob", is_admin=False, by=user),
        details="bob, a member",
    ),
    Change(event=AuditEvent.USER_REMOVED, prepare=_remove_user, details="bob"),
    Change(
        event=AuditEvent.KEY_MADE,
        prepare=lambda bed, user: lambda: bed.store.add_key(user.name, replace(LIMITED, expires=soon(bed)), user),
        details="tutumd_12345 of ann, scope call, stack shop, until 2026-01-02 00:00 UTC",
    ),
    Change(event=AuditEvent.KEY_REVOKED, prepare=_revoke_key, details="tutumd_67890 of ann"),
    Change(
        event=AuditEvent.LOGIN_LINK_MADE,
        prepare=lambda bed, user: lambda: bed.store.add_login_link(user.name, LINK, soon(bed), user),
        details="for ann",
    ),
    Change(
        event=AuditEvent.TARGET_CREATED,
        prepare=lambda bed, user: lambda: bed.store.add_target(user, TARGET),
        details="oncall (webhook)",
    ),
    Change(
        event=AuditEvent.TARGET_CHANGED,
        prepare=_with_target(lambda bed, user, uuid: bed.store.change_target(user, uuid, lambda _: CHANGED_TARGET)),
        details="oncall (webhook); changed: repeat_s, settings",
    ),
    Change(
        event=AuditEvent.TARGET_DELETED,
        prepare=_with_target(lambda bed, user, uuid: bed.store.delete_target(user, uuid)),
        details="oncall (webhook)",
    ),
    Change(
        event=AuditEvent.TARGET_TESTED,
        prepare=_with_target(lambda bed, user, uuid: bed.store.queue_test(user, uuid)),
        details="oncall (webhook)",
    ),
    Change(
        event=AuditEvent.NOTIFICATION_RETRIED,
        prepare=_with_target(lambda bed, user, uuid: bed.store.retry_dead(user, uuid)),
        details="oncall (webhook); notifications: 0",
    ),
    Change(
        event=AuditEvent.FREEZE_ADDED,
        prepare=lambda bed, user: lambda: _freeze(bed, user),
        details="Fri 16:00 to Mon 06:00 (UTC), weekend",
    ),
    Change(
        event=AuditEvent.FREEZE_REMOVED,
        prepare=lambda bed, user: partial(bed.store.remove_freeze_window, user, _freeze(bed, bed.admin)),
        details="Fri 16:00 to Mon 06:00 (UTC), weekend",
    ),
    Change(
        event=AuditEvent.SESSION_STARTED,
        prepare=lambda bed, user: partial(
            bed.store.add_session, user, NewSession(token_sha256=TOKEN, expires=soon(bed))
        ),
        details="session 1",
    ),
    Change(event=AuditEvent.SESSION_ENDED, prepare=_end_session, details="session 1"),
)


def newest(bed: StoreBed) -> AuditEntry:
    return bed.store.audit(bed.admin, limit=1).entries[0]
