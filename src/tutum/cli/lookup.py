"""Finds the handler that a command line names."""

from dataclasses import dataclass

from tutum.handler import Handler
from tutum.lookup import Utils, find_handler
from tutum.service import Service
from tutum.webhook_handler import WebhookHandler


@dataclass(frozen=True, slots=True, kw_only=True)
class HandlerMatch:
    """The handler that a command line names, its service, and all handlers of that service."""

    service: Service
    webhook: WebhookHandler
    handler: Handler

    @property
    def uuid(self) -> str:
        """The handler's UUID, which is a password."""
        return self.handler.uuid

    @property
    def label(self) -> str:
        """What a call does, such as "REDEPLOY of web"."""
        return f"{self.handler.operation} of {self.service.name}"


def match_handler(service: str, identifier: str) -> HandlerMatch:
    """Find a handler by its UUID, name, or start of the UUID.

    Raises:
        ObjectNotFound: There is no such service, or it has no such handler.
        NonUniqueIdentifier: Several match.
    """
    owner = Utils.fetch_remote_service(service)
    webhook = WebhookHandler.fetch(owner)
    return HandlerMatch(service=owner, webhook=webhook, handler=find_handler(webhook.list(), identifier))
