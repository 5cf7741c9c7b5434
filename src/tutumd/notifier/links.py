"""Addresses of pages in messages."""

from tutumd.model.notifications import Notification


def page_links(notification: Notification, public_url: str) -> dict[str, str]:
    """Return the addresses of the pages of the service and of the action, by these words.

    Args:
        public_url: The setting; empty: there are no links.
    """
    uuids = {"service": notification.service_uuid, "action": notification.action_uuid}
    return {kind: f"{public_url}/{kind}/{uuid}/" for kind, uuid in uuids.items() if uuid and public_url}
