"""Holds of services: their end and their reason."""

from datetime import datetime

from tutumd.application.queries import parse_until
from tutumd.application.rollbacks import MAX_REASON_LENGTH
from tutumd.application.services import check_text
from tutumd.model import Service, User
from tutumd.ports.store import Store


def hold(store: Store, viewer: User, uuid: str, *, until: str | None, reason: str, now: datetime) -> Service:
    """Hold the redeploys of a service. `until` is as for `parse_until`.

    Raises:
        NotFoundError: The viewer has no such service.
        InvalidInputError: `until` or `reason` is invalid.
    """
    reason = check_text("reason", reason.strip(), MAX_REASON_LENGTH)
    return store.hold(viewer, uuid, until=parse_until(until, now), reason=reason)
