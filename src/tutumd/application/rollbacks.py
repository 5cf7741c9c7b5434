"""Rollbacks and holds: the images to which a service can return, the plan of a rollback, its request, and holds."""

from contextlib import suppress
from dataclasses import asdict, replace
from datetime import datetime
from typing import Any

from tutumd.application import services
from tutumd.application.admission.json_checks import check_optional_text
from tutumd.application.queries import parse_until
from tutumd.errors import AnswerTimeoutError, InvalidInputError, UnavailableError
from tutumd.model import Action, Availability, Origin, Plan, Service, ServiceImage, User, find_target
from tutumd.ports import Store

NOT_ROLLED_BACK = (
    "Only the image is restored.",
    "Data in volumes, environment variables and the Compose file or manifest stay as they are now.",
    "Migrations that a newer version has applied to a database are not reversed.",
)
"""Notes for the plan of a rollback: a rollback restores only the image."""
MAX_REASON_LENGTH = 1_000


def plan_rollback(store: Store, viewer: User, uuid: str, image: str | None) -> Plan:
    """Return what a rollback would do now. `image` and errors are as in `Store.roll_back`, or as `logs` raises."""
    service = store.service(viewer, uuid)
    target = find_target(store.images(viewer, uuid), image, service.rollback_refusal)
    plan = services.plan(store, service, target.wanted)
    return replace(plan, notes=(*plan.notes, *NOT_ROLLED_BACK))


def roll_back(
    store: Store, viewer: User, uuid: str, *, image: str | None, hold: bool, reason: str, origin: Origin
) -> Action:
    """Queue a rollback, as `Store.roll_back` does. Raises InvalidInputError also for a long or unstorable reason."""
    reason = check_optional_text("reason", reason.strip(), MAX_REASON_LENGTH)
    return store.roll_back(viewer, uuid, image=image, hold=hold, reason=reason, origin=origin)


def hold(store: Store, viewer: User, uuid: str, *, until: str | None, reason: str, now: datetime) -> Service:
    """Hold the redeploys of a service. `until` is as for `parse_until`.

    Raises:
        NotFoundError: The viewer has no such service.
        InvalidInputError: `until` or `reason` is invalid.
    """
    reason = check_optional_text("reason", reason.strip(), MAX_REASON_LENGTH)
    return store.hold(viewer, uuid, until=parse_until("until", until, now), reason=reason)


def images(store: Store, viewer: User, uuid: str) -> list[tuple[ServiceImage, Availability]]:
    """Return the image history of a service, newest first, and where each image would come from now.

    An engine that is away, or does not respond within 3 s, leaves that unknown.
    """
    service, found = store.service(viewer, uuid), store.images(viewer, uuid)
    available: Any = {}
    is_away = any(engine.away for engine in store.engines(viewer) if engine.name == service.engine)
    if found and not is_away:
        arguments = {"images": [asdict(image.wanted) for image in found]}
        with suppress(UnavailableError, AnswerTimeoutError, InvalidInputError):
            available = services.ask_engine(store, service, "images", arguments, timeout_s=3.0)["images"]
    return [(image, Availability(available.get(str(image.number), Availability.UNKNOWN))) for image in found]
