"""Services by what people call them: names with or without their stack, names of containers, starts of UUIDs."""

from collections.abc import Iterator
from typing import Any

import sqlalchemy as sa

from tutumd.store.tables.services import containers, services


def narrow(connection: sa.Connection, statement: sa.Select[Any], reference: str | None) -> sa.Select[Any]:
    """Return a statement of services, narrowed to those that a reference means, and to those that are not gone.

    If all that match are gone, they stay.

    Args:
        reference: None: the statement says what matches.
    """
    for meaning in [sa.true()] if reference is None else _meanings(reference):
        matching = statement.where(meaning)
        for found in (matching.where(services.c.bound), matching):
            if connection.execute(found.limit(1)).first() is not None:
                return found
    return statement.where(sa.false())


def _meanings(reference: str) -> Iterator[sa.ColumnElement[bool]]:
    """Yield what a reference may mean; the first that matches a service counts."""
    if not reference:
        return
    stack, _, name = reference.partition("/")
    yield sa.or_(
        services.c.name == reference,
        sa.and_(services.c.stack == stack, services.c.name == name),
        services.c.full_name == reference,
        services.c.alias == reference,
    )
    # `docker ps` shows a task of Swarm as `shop_web.1.TASK`, or of a global service as `shop_web.NODE.TASK`.
    is_named = sa.or_(containers.c.name == reference, containers.c.object_id == reference.rpartition(".")[2])
    yield services.c.uuid.in_(sa.select(containers.c.service_uuid).where(containers.c.present, is_named))
    yield services.c.uuid.startswith(reference.lower(), autoescape=True)
