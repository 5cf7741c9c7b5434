"""SDK for the Tutum API: services, their webhook handlers, and the actions that calls start.

Importing it reads and sends nothing. Each class is loaded when it is first used.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from tutum.version import __version__

if TYPE_CHECKING:
    from tutum import auth
    from tutum.action import Action
    from tutum.call_result import Accepted
    from tutum.client import Client
    from tutum.container import Container
    from tutum.errors import (
        ActionTimeoutError,
        NonUniqueIdentifier,
        ObjectNotFound,
        TutumApiError,
        TutumAuthError,
        TutumConnectionError,
    )
    from tutum.handler import Handler
    from tutum.lookup import Utils
    from tutum.outcome import Outcome
    from tutum.plan import Plan
    from tutum.service import Service
    from tutum.trial import Trial
    from tutum.webhook_handler import WebhookHandler

#: User name. None: from the environment, then from ~/.tutum.
user: str | None = None
#: API key of the user. None: from the environment, then from ~/.tutum.
apikey: str | None = None
#: Whole Authorization header, instead of user and apikey.
tutum_auth: str | None = None
#: Root of the API, such as http://127.0.0.1:8000/api/v1/. None: from the environment, then from ~/.tutum.
base_url: str | None = None
#: Client of every call without a client of its own. None: a client with the settings above.
default_client: Client | None = None

_MODULES = {
    "Accepted": "call_result",
    "Action": "action",
    "ActionTimeoutError": "errors",
    "Client": "client",
    "Container": "container",
    "Handler": "handler",
    "NonUniqueIdentifier": "errors",
    "ObjectNotFound": "errors",
    "Outcome": "outcome",
    "Plan": "plan",
    "Service": "service",
    "Trial": "trial",
    "TutumApiError": "errors",
    "TutumAuthError": "errors",
    "TutumConnectionError": "errors",
    "Utils": "lookup",
    "WebhookHandler": "webhook_handler",
}

__all__ = [
    "Accepted",
    "Action",
    "ActionTimeoutError",
    "Client",
    "Container",
    "Handler",
    "NonUniqueIdentifier",
    "ObjectNotFound",
    "Outcome",
    "Plan",
    "Service",
    "Trial",
    "TutumApiError",
    "TutumAuthError",
    "TutumConnectionError",
    "Utils",
    "WebhookHandler",
    "__version__",
    "apikey",
    "auth",
    "base_url",
    "default_client",
    "tutum_auth",
    "user",
]


def __getattr__(name: str) -> Any:
    if name == "auth":
        return importlib.import_module("tutum.auth")
    if name not in _MODULES:
        raise AttributeError(f"module 'tutum' has no attribute {name!r}")
    return getattr(importlib.import_module(f"tutum.{_MODULES[name]}"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
