"""Finds the handler that a command line names."""

from collections.abc import Sequence
from shlex import quote

from tutum.errors import TutumApiError
from tutum.handler import Handler
from tutum.lookup import Utils, describe_handler, find_handler
from tutum.webhook_handler import WebhookHandler


def find(service: str, identifier: str) -> tuple[WebhookHandler, Handler]:
    """Return all handlers of a service, and the one with this UUID, name, or start of the UUID.

    Raises:
        ObjectNotFound: There is no such service, or it has no such handler.
        NonUniqueIdentifier: Several match.
    """
    webhook = WebhookHandler.fetch(Utils.fetch_remote_service(service))
    return webhook, find_handler(webhook.list(), identifier)


def refuse_taken_names(webhook: WebhookHandler, names: Sequence[str], but: str = "") -> None:
    """Raise TutumApiError if a handler of a service has one of these names, or if a name occurs twice.

    Args:
        but: UUID of the handler that may have it.
    """
    service = webhook.service.shown_name
    found = {each.name: each for each in (webhook.list() if any(names) else []) if each.name and each.uuid != but}
    for number, name in enumerate(names):
        if name and name in names[:number]:
            raise TutumApiError(f"--name {name} is given twice: handlers of a service need different names")
        if name in found:
            raise TutumApiError(
                f"{service} has a webhook handler {name} already ({describe_handler(found[name])}): choose another "
                f"name, or change that one with: tutum webhook-handler set {quote(service)} {quote(name)}"
            )


def label_of(webhook: WebhookHandler, handler: Handler) -> str:
    """Return what a call of a handler does, such as "REDEPLOY of web"."""
    return f"{handler.operation} of {webhook.service.shown_name}"
