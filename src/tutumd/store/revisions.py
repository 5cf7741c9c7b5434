"""Revisions of services: whether a look at an engine is out of date, because a run began or ended since."""

from collections.abc import Mapping

import sqlalchemy as sa

from tutumd.store.tables import services


def read_revisions(connection: sa.Connection, engine: str) -> Mapping[str, int]:
    """Return the revisions of an engine's services by their selectors."""
    rows = connection.execute(sa.select(services.c.selector, services.c.revision).where(services.c.engine == engine))
    return {row.selector: row.revision for row in rows}


def raise_revision(connection: sa.Connection, service_uuid: str) -> None:
    """Note that a run of a service begins or ends. The caller holds the service's lock."""
    this_service = services.c.uuid == service_uuid
    connection.execute(sa.update(services).where(this_service).values(revision=services.c.revision + 1))
