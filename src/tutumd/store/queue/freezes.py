"""The freeze windows that act on services."""

from collections.abc import Collection
from datetime import datetime
from functools import cache
from itertools import groupby
from operator import attrgetter
from typing import Any

import sqlalchemy as sa

from tutumd.model.freeze import FreezeWindow, find_freeze
from tutumd.store.objects.row_mapping import value_from
from tutumd.store.tables.accounts import users
from tutumd.store.tables.services import freeze_windows, services

_c = freeze_windows.c
ANY = "EXISTS (SELECT 1 FROM freeze_windows)"
"""The condition, in the SQL of both databases, that there is a window, active or not."""
IS_SERVERWIDE = sa.and_(_c.service_uuid.is_(None), _c.stack.is_(None))
ACTS_ON = sa.and_(
    sa.or_(_c.service_uuid == services.c.uuid, _c.stack == services.c.stack, IS_SERVERWIDE),
    sa.or_(users.c.is_admin, users.c.name == services.c.owner),
)
"""The condition that a window of a user acts on a service."""


def read_active(
    connection: sa.Connection, service_uuids: Collection[str], now: datetime
) -> dict[str, tuple[datetime, FreezeWindow]]:
    """Return the freezes (`find_freeze`) that hold services now, by service. One query, which is cheap if there are no
    windows.
    """
    rows = connection.execute(_select_acting(), {"service_uuids": list(service_uuids)}).all()
    by_uuid = {row.uuid: window_from(row) for row in rows}
    find = cache(lambda uuids: find_freeze([by_uuid[uuid] for uuid in uuids], now))
    acting = groupby(rows, key=attrgetter("acts_on"))
    found = ((service_uuid, find(tuple(row.uuid for row in of_service))) for service_uuid, of_service in acting)
    return {service_uuid: freeze for service_uuid, freeze in found if freeze}


def window_from(row: Any) -> FreezeWindow:
    """Return the window of a row that has its `owner` and `service_name`."""
    return value_from(row, FreezeWindow, active_until=None)


@cache
def _select_acting() -> sa.Select[Any]:
    return (
        sa.select(
            freeze_windows,
            users.c.name.label("owner"),
            services.c.full_name.label("service_name"),
            services.c.uuid.label("acts_on"),
        )
        .join(users, users.c.uuid == _c.user_uuid)
        .join(services, ACTS_ON)
        .where(services.c.uuid.in_(sa.bindparam("service_uuids", expanding=True)))
        .order_by(services.c.uuid, _c.seq)
    )
