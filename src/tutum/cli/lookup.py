"""Finds the handler that a command line names."""

from tutum.handler import Handler
from tutum.lookup import Utils, find_handler
from tutum.webhook_handler import WebhookHandler


def find(service: str, identifier: str) -> tuple[WebhookHandler, Handler]:
    """Return all handlers of a service, and the one with this UUID, name, or start of the UUID.

    Raises:
        ObjectNotFound: There is no such service, or it has no such handler.
        NonUniqueIdentifier: Several match.
    """
    webhook = WebhookHandler.fetch(Utils.fetch_remote_service(service))
    return webhook, find_handler(webhook.list(), identifier)


def label_of(webhook: WebhookHandler, handler: Handler) -> str:
    """Return what a call of a handler does, such as "REDEPLOY of web"."""
    return f"{handler.operation} of {webhook.service.shown_name}"
