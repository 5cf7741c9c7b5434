"""Completion of names in the shell: quick, and silent if the server cannot be asked."""

from collections import Counter
from collections.abc import Callable, Iterable
from itertools import islice
from shlex import quote

import typer

import tutum
from tutum.client import Client
from tutum.errors import TutumApiError
from tutum.lookup import Utils
from tutum.service import Service
from tutum.webhook_handler import WebhookHandler

TIMEOUT_S = 1.0


def words(*known: str) -> Callable[[], list[str]]:
    """Return a completion that offers these words."""
    return lambda: [word.replace(" ", "-") for word in known]


def complete_service() -> list[str]:
    """Return the names of services; of one that several have, each with its stack."""
    try:
        services = list(islice(Service.iterate(client=_client()), 1000))
    except TutumApiError:
        return []
    counts = Counter(service.name for service in services)
    return _harmless(
        f"{service.stack}/{service.name}" if service.stack and counts[service.name] > 1 else service.name
        for service in services
    )


def complete_handler(context: typer.Context) -> list[str]:
    """Return the names of the handlers of the service that stands before. UUIDs are passwords, and not offered."""
    try:
        service = Utils.fetch_remote_service(str(context.params.get("service") or ""), client=_client())
        return _harmless(handler.name for handler in WebhookHandler.fetch(service).list())
    except TutumApiError:
        return []


def _harmless(names: Iterable[str]) -> list[str]:
    # Shells put what is offered into the command line without quotes, zsh evaluates it, and `-f` would be an option.
    return [name for name in names if quote(name) == name and not name.startswith("-")]


def _client() -> Client:
    return tutum.default_client or Client(timeout_s=TIMEOUT_S, retries=0)
