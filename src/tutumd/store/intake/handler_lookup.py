"""The lookup of the handlers that a batch calls, its cache on SQLite, and the change log that keeps the cache current.

The change log names the services whose handlers the lookup must read again. Triggers write the log: no writer can omit
it, and a change outside the lookup, such as a lease, a journal or a count, costs nothing.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import sqlalchemy as sa

from tutumd.model import HandlerPath, HoldKind
from tutumd.store.intake.coalesce import CalledHandler
from tutumd.store.sql import execute_compiled
from tutumd.store.tables import OPEN, action_holds, actions, handlers, services

MAX_CACHED = 10_000
"""Handlers in the cache, about 1 KB each without their options."""

MAX_OPTIONS = 1_000
"""Characters of the options of a handler in the cache."""


def _select_handlers(column: "sa.Column[Any]") -> sa.Select[Any]:
    """Select all handlers that have one of the UUIDs in a column; `uuids` is a JSON object with the UUIDs as keys."""
    uuids = sa.select(sa.func.json_each(sa.bindparam("uuids")).table_valued("key").c.key)
    return (
        sa.select(
            handlers.c.uuid,
            handlers.c.seq,
            handlers.c.name,
            handlers.c.operation,
            handlers.c.options,
            handlers.c.version,
            handlers.c.uses,
            handlers.c.rate_tat,
            handlers.c.old_uuid,
            handlers.c.old_until,
            handlers.c.service_uuid,
            services.c.engine,
            services.c.notes,
            services.c.left_tags,
            actions.c.uuid.label("action_uuid"),
            actions.c.seq.label("action_seq"),
            actions.c.due.label("action_due"),
            actions.c.created.label("action_created"),
            action_holds.c.until.label("debounced_until"),
            actions.c.skip_unchanged.label("action_skips"),
        )
        .join(services, services.c.uuid == handlers.c.service_uuid)
        .outerjoin(
            actions,
            sa.and_(actions.c.service_uuid == handlers.c.service_uuid, actions.c.verb == handlers.c.operation, OPEN),
        )
        .outerjoin(
            action_holds,
            sa.and_(
                action_holds.c.action_seq == actions.c.seq,
                action_holds.c.kind == sa.literal_column(f"'{HoldKind.DEBOUNCE}'", sa.String),
            ),
        )
        .where(column.in_(uuids), sa.not_(services.c.terminated))
    )


_BY_UUID, _BY_OLD_UUID = _select_handlers(handlers.c.uuid), _select_handlers(handlers.c.old_uuid)


class HandlerCache:
    """Handlers as read by one SQLite connection, each with its open action; kept until the change log names them.

    The log is complete when it is read under the write lock: it has the changes of every connection, including this
    one.
    """

    def __init__(self) -> None:
        self.size = 0
        self._by_service: dict[str, dict[str, CalledHandler]] = {}
        self._last_change: Sequence[sa.Row[Any]] = []

    def find(self, connection: sa.Connection, paths: Sequence[HandlerPath]) -> dict[str, CalledHandler]:
        """Return the cached handlers with these paths, by their UUIDs."""
        self._forget_changed(connection)
        by_service = self._by_service
        return {
            uuid: handler
            for service_uuid, uuid in paths
            if (of_service := by_service.get(service_uuid)) is not None
            and (handler := of_service.get(uuid)) is not None
        }

    def _forget_changed(self, connection: sa.Connection) -> None:
        last = self._last_change
        changes = connection.exec_driver_sql(
            "SELECT seq, service_uuid FROM changed_services WHERE seq >= ? ORDER BY seq", (last[0][0] if last else 0,)
        ).all()
        if changes[:1] == last:
            self.forget(uuid for _, uuid in changes[1:])
        else:
            self.clear()  # the last change that was read has been pruned, or there is none
        self._last_change = changes[-1:]

    def add(self, handlers_read: Mapping[str, CalledHandler]) -> None:
        """Cache those of handlers, by their current UUIDs, that have short options."""
        if self.size + len(handlers_read) > MAX_CACHED:
            self.clear()
        for uuid, handler in handlers_read.items():
            if len(handler.options) <= MAX_OPTIONS:
                of_service = self._by_service.setdefault(handler.service_uuid, {})
                self.size += uuid not in of_service  # a call below a wrong service reads a cached handler again
                of_service[uuid] = handler

    def forget(self, service_uuids: Iterable[str]) -> None:
        """Remove the handlers of services."""
        for uuid in service_uuids:
            self.size -= len(self._by_service.pop(uuid, ()))

    def clear(self) -> None:
        """Remove all handlers."""
        self._by_service.clear()
        self.size = 0


def find_handlers(
    connection: sa.Connection, paths: Sequence[HandlerPath], now_us: int, handler_cache: HandlerCache | None
) -> dict[str, CalledHandler]:
    """Return the called handlers by the UUIDs in their URLs, each with the open action that its calls join.

    The caller has locked the services, so the action stays open until the transaction ends.

    Args:
        handler_cache: The cache of this connection; None if others may write at the same time.
    """
    called = {} if handler_cache is None else handler_cache.find(connection, paths)
    missing = {uuid for _, uuid in paths if uuid not in called}
    if missing:
        uuids = json.dumps(dict.fromkeys(missing))
        found = map(CalledHandler._make, execute_compiled(connection, _BY_UUID, uuids=uuids))
        handlers_read = {handler.uuid: handler for handler in found}
        if handler_cache is not None:
            handler_cache.add(handlers_read)
        called |= handlers_read
        if len(handlers_read) < len(missing):
            for handler in map(CalledHandler._make, execute_compiled(connection, _BY_OLD_UUID, uuids=uuids)):
                if handler.old_uuid is not None and (handler.old_until or 0) > now_us:
                    called[handler.old_uuid] = handler
    return called


MAX_CHANGES = 1_000
"""Minimum number of changes to keep. The log has at most a tenth more. A reader that is further behind reads everything
again.
"""

_LOG = "INSERT INTO changed_services (service_uuid) VALUES"
# All columns that `handler_lookup` selects.
TRIGGERS = (
    "CREATE TRIGGER handlers_changed AFTER UPDATE OF uuid, seq, service_uuid, name, operation, options, version, uses,"
    " rate_tat, old_uuid, old_until ON handlers WHEN OLD.service_uuid IS NOT NULL"
    f" BEGIN {_LOG} (OLD.service_uuid); END",
    "CREATE TRIGGER handlers_deleted AFTER DELETE ON handlers WHEN OLD.service_uuid IS NOT NULL"
    f" BEGIN {_LOG} (OLD.service_uuid); END",
    "CREATE TRIGGER services_changed AFTER UPDATE OF uuid, engine, terminated ON services"
    f" BEGIN {_LOG} (OLD.uuid); END",
    "CREATE TRIGGER services_noted AFTER UPDATE OF notes, left_tags ON services"
    f" WHEN (OLD.notes, OLD.left_tags) <> (NEW.notes, NEW.left_tags) BEGIN {_LOG} (OLD.uuid); END",
    f"CREATE TRIGGER services_deleted AFTER DELETE ON services BEGIN {_LOG} (OLD.uuid); END",
    "CREATE TRIGGER actions_opened AFTER INSERT ON actions WHEN NEW.state = 'Pending' AND NEW.open"
    f" BEGIN {_LOG} (NEW.service_uuid); END",
    "CREATE TRIGGER actions_changed AFTER UPDATE OF uuid, seq, service_uuid, verb, state, open, created, due,"
    " skip_unchanged ON actions WHEN (OLD.state = 'Pending' AND OLD.open) OR (NEW.state = 'Pending' AND NEW.open)"
    f" BEGIN {_LOG} (NEW.service_uuid); END",
    "CREATE TRIGGER actions_deleted AFTER DELETE ON actions WHEN OLD.state = 'Pending' AND OLD.open"
    f" BEGIN {_LOG} (OLD.service_uuid); END",
    *(
        f"CREATE TRIGGER holds_{event.lower()} AFTER {event} ON action_holds BEGIN"  # noqa: S608 (constants)
        " INSERT INTO changed_services (service_uuid)"
        f" SELECT service_uuid FROM actions WHERE seq = {row}.action_seq; END"
        for event, row in (("INSERT", "NEW"), ("UPDATE", "OLD"), ("DELETE", "OLD"))
    ),
    # The newest change stays, so that no number is reused.
    "CREATE TRIGGER changes_pruned AFTER INSERT ON changed_services WHEN NEW.seq % 100 = 0"  # noqa: S608 (a number)
    f" BEGIN DELETE FROM changed_services WHERE seq <= NEW.seq - {MAX_CHANGES}; END",
)
