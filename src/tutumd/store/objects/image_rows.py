"""The image history of services: rows that successful actions and the discovery add.

The newest row of a service is the image that it runs. `previous` is the row to which a rollback returns.
"""

from collections.abc import Mapping
from dataclasses import asdict
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from tutumd.model import Claim, ImageFacts, Outcome, ServiceImage, ServiceSnapshot, Verb
from tutumd.store.objects import audit
from tutumd.store.objects.action_rows import first_handler
from tutumd.store.objects.row_mapping import join_shown_handlers, value_from
from tutumd.store.queue.snapshots import fit
from tutumd.store.tables import RUNNING, actions, handlers, service_images

MAX_IMAGES = 20
"""The newest rows of a service that are kept, besides the `previous` of the newest row."""

_c = service_images.c
_OF_SERVICE = sa.select(service_images).where(_c.service_uuid == sa.bindparam("of_service")).order_by(_c.number.desc())
# Two conditions, each of which has an index.
IS_CHANGING = sa.select(
    sa.or_(
        *(
            sa.select(actions.c.uuid).where(actions.c.service_uuid == sa.bindparam("of_service"), which).exists()
            for which in (RUNNING, actions.c.abandoned)
        )
    )
)
_CALLED = join_shown_handlers(
    sa.select(handlers.c.seq, handlers.c.name).select_from(actions), first_handler(), outer=False
).where(actions.c.uuid == sa.bindparam("action_uuid"))

History = Mapping[int, ServiceImage]
"""The rows of a service by their numbers, newest first."""


def read_history(connection: sa.Connection, service_uuid: str) -> History:
    """Return the image history of a service."""
    rows = connection.execute(_OF_SERVICE, {"of_service": service_uuid}).all()
    return {row.number: value_from(row, ServiceImage, is_running=row is rows[0]) for row in rows}


def record_success(connection: sa.Connection, claim: Claim, outcome: Outcome, now: datetime) -> None:
    """Record the image of a successful REDEPLOY or ROLLBACK on a locked service."""
    if outcome.image is None or not outcome.success:
        return
    history = read_history(connection, claim.service.uuid)
    newest, wanted = next(iter(history.values()), None), claim.action.image
    previous = _find_previous(history, outcome.image)
    if claim.action.verb is Verb.ROLLBACK and wanted is not None:
        target = history.get(wanted.number)
        previous = target.previous if target and target.previous in history else None
    values: dict[str, Any] = {"is_verified": True, "last_success": now, "previous": previous}
    if newest and newest.is_same(outcome.image):
        _update(connection, claim.service.uuid, newest, outcome.image, **values)
        return
    _append(
        connection,
        claim.service.uuid,
        newest,
        outcome.image,
        **values,
        first_success=now,
        action_uuid=claim.action.uuid,
        requested_by=_describe_requesters(connection, claim.action.uuid),
    )


def record_seen(connection: sa.Connection, service_uuid: str, snapshot: ServiceSnapshot, now: datetime) -> None:
    """Record the image that a locked service runs, unless an action is changing it or has left it half done.

    The first image is verified. A later one that no action recorded is a change by somebody else.
    """
    seen = snapshot.image
    if seen is None or not (seen.digest or seen.image_id):
        return
    history = read_history(connection, service_uuid)
    newest = next(iter(history.values()), None)
    if newest and newest.is_same(seen):
        _update(connection, service_uuid, newest, seen)
        return
    is_comparable = newest is None or (newest.digest and seen.digest) or (newest.image_id and seen.image_id)
    if not is_comparable or connection.scalar(IS_CHANGING, {"of_service": service_uuid}):
        return
    _append(
        connection,
        service_uuid,
        newest,
        seen,
        is_verified=newest is None,
        previous=_find_previous(history, seen),
        first_success=now,
        last_success=now,
        action_uuid=None,
        requested_by="",
    )


def _find_previous(history: History, image: ImageFacts) -> int | None:
    """Return the row to which a rollback from a new image returns: the newest verified row of another image."""
    row = next(iter(history.values()), None)
    while row and (not row.is_verified or row.is_same(image)):
        row = history.get(row.previous or 0)
    return row.number if row else None


def _append(
    connection: sa.Connection,
    service_uuid: str,
    newest: ServiceImage | None,
    image: ImageFacts,
    *,
    previous: int | None,
    **values: object,
) -> None:
    """Add a row, and delete the rows that are no longer kept."""
    number = newest.number + 1 if newest else 1
    row = {
        "service_uuid": service_uuid,
        "number": number,
        "previous": previous,
        **asdict(image),
        **values,
    }
    connection.execute(sa.insert(service_images), fit(service_images, row))
    is_old = sa.and_(_c.service_uuid == service_uuid, _c.number <= number - MAX_IMAGES)
    connection.execute(sa.delete(service_images).where(is_old, _c.number != (previous or 0)))


def _update(
    connection: sa.Connection, service_uuid: str, row: ServiceImage, image: ImageFacts, **values: object
) -> None:
    """Update a row of the same image, which may have got another name, or a digest by a push."""
    values |= {name: value for name, value in fit(service_images, asdict(image)).items() if value}
    changed = {name: value for name, value in values.items() if getattr(row, name) != value}
    if changed:
        this = sa.and_(_c.service_uuid == service_uuid, _c.number == row.number)
        connection.execute(sa.update(service_images).where(this).values(changed))


def _describe_requesters(connection: sa.Connection, action_uuid: str) -> str:
    """Return who requested an action, for people: the handler whose call created it, and users with their keys."""
    called = connection.execute(_CALLED, {"action_uuid": action_uuid}).first()
    handler = [f"handler {called.seq}{f' ({called.name})' if called.name else ''}"] if called else []
    return ", ".join([*handler, *audit.describe_requesters(connection, action_uuid)])[:512]
