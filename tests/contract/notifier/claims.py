"""Notifications as a notifier claims them, with settings that the application has checked."""

from collections.abc import Mapping
from datetime import UTC, datetime
from ipaddress import ip_network
from typing import Any

from tutumd.application.admission.encryption import SecretCipher, make_key
from tutumd.application.notification_targets import check_target, decrypted
from tutumd.model import User
from tutumd.model.notifications import ClaimedNotification, Event, NewTarget, Notification, NotificationState, Target

CIPHER = SecretCipher([make_key()])
LOOPBACK = [ip_network("127.0.0.0/8")]
NOW = datetime.now(UTC)


def claim(
    kind: str, settings: Mapping[str, Any], payload: Mapping[str, Any], *, owner_is_admin: bool = False
) -> ClaimedNotification:
    """Return a notification of the payload's type to a target with these settings."""
    admin = User(uuid="u-1", name="ann", is_admin=True, created=NOW)
    document = {"name": "oncall", "kind": kind, "settings": settings}
    new = check_target(document, admin, cipher=CIPHER, allowed=LOOPBACK)
    fields = {name: getattr(new, name) for name in NewTarget.__slots__} | {"settings": decrypted(new, CIPHER)}
    return ClaimedNotification(
        notification=Notification(
            uuid="8f14e45f",
            number=1,
            target_uuid="t",
            target_name="oncall",
            event=Event(payload["type"]),
            state=NotificationState.PENDING,
            payload=payload,
            created=NOW,
            due=NOW,
            action_uuid="a-1",
            service_uuid="s-1",
        ),
        target=Target(**fields, uuid="t", number=1, owner="ann", owner_is_admin=owner_is_admin, created=NOW),
        token=1,
    )


def payload(event: str = "action.failed", **data: Any) -> dict[str, Any]:
    """Return a payload as the store makes it, with some of its data replaced."""
    return {
        "type": event,
        "timestamp": "2026-01-31T03:04:05.000Z",
        "data": {
            "service": {"uuid": "s-1", "name": "web", "stack": "shop", "engine": "docker"},
            "action": {"uuid": "a-1", "operation": "REDEPLOY", "state": "Failed", "duration": 11.114},
            "reason": {"code": "image-not-found", "text": "the image shop/web:v2 was not found"},
            "image": {"before": f"sha256:{'a' * 64}", "after": None, "tried": f"sha256:{'b' * 64}"},
            "containers": {"before": 2, "after": 2},
            "calls": {"count": 2, "newest": [{"handler": {"number": 7, "name": "deploy"}, "tag": "v2"}]},
            "suppressed": 0,
            **data,
        },
    }
