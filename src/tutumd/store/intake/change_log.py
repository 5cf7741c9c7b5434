"""The change log: the services of which the intake must read the handlers again. For its cache, so only on SQLite.

Triggers write it. So no writer can forget to, whatever its process, and what the lookup does not contain, such as
leases, journals, counts and what was seen of a service, costs nothing.
"""

import sqlalchemy as sa

MAX_CHANGES = 1_000
"""Changes that are kept at least, and a tenth more at most. A reader that is further behind reads everything again."""

_LOG = "INSERT INTO changed_services (service_uuid) VALUES"
_PRUNE = f"DELETE FROM changed_services WHERE seq <= NEW.seq - {MAX_CHANGES}"  # noqa: S608 (a number)
# All that `handler_lookup` selects.
TRIGGERS = (
    "CREATE TRIGGER handlers_changed AFTER UPDATE OF uuid, seq, service_uuid, name, operation, options, version, uses,"
    f" rate_tat, old_uuid, old_until ON handlers BEGIN {_LOG} (OLD.service_uuid); END",
    f"CREATE TRIGGER handlers_deleted AFTER DELETE ON handlers BEGIN {_LOG} (OLD.service_uuid); END",
    "CREATE TRIGGER services_changed AFTER UPDATE OF uuid, engine, terminated ON services"
    f" BEGIN {_LOG} (OLD.uuid); END",
    "CREATE TRIGGER services_noted AFTER UPDATE OF notes, left_tags ON services"
    f" WHEN (OLD.notes, OLD.left_tags) <> (NEW.notes, NEW.left_tags) BEGIN {_LOG} (OLD.uuid); END",
    f"CREATE TRIGGER services_deleted AFTER DELETE ON services BEGIN {_LOG} (OLD.uuid); END",
    "CREATE TRIGGER actions_opened AFTER INSERT ON actions WHEN NEW.state = 'Pending' AND NEW.open"
    f" BEGIN {_LOG} (NEW.service_uuid); END",
    "CREATE TRIGGER actions_changed AFTER UPDATE OF uuid, seq, service_uuid, verb, state, open, created, due ON actions"
    " WHEN (OLD.state = 'Pending' AND OLD.open) OR (NEW.state = 'Pending' AND NEW.open)"
    f" BEGIN {_LOG} (NEW.service_uuid); END",
    "CREATE TRIGGER actions_deleted AFTER DELETE ON actions WHEN OLD.state = 'Pending' AND OLD.open"
    f" BEGIN {_LOG} (OLD.service_uuid); END",
    # The newest stays, so that no number comes twice.
    f"CREATE TRIGGER changes_pruned AFTER INSERT ON changed_services WHEN NEW.seq % 100 = 0 BEGIN {_PRUNE}; END",
)
_READ = "SELECT seq, service_uuid FROM changed_services WHERE seq >= ? ORDER BY seq"


def read_changes(connection: sa.Connection, first: int) -> list[tuple[int, str]]:
    """Return the changes from this number on, in their order, each with the UUID of the service."""
    return [(seq, service_uuid) for seq, service_uuid in connection.exec_driver_sql(_READ, (first,))]
