"""SDK for the Tutum API: services, their webhook handlers, and the actions that calls start.

Nothing is read or sent at import; the classes below are loaded when they are first used.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from tutum.version import __version__ as __version__

if TYPE_CHECKING:
    from tutum import auth as auth
    from tutum.action import Action as Action
    from tutum.call_result import Accepted as Accepted
    from tutum.client import Client as Client
    from tutum.container import Container as Container
    from tutum.errors import ActionTimeoutError as ActionTimeoutError
    from tutum.errors import NonUniqueIdentifier as NonUniqueIdentifier
    from tutum.errors import ObjectNotFound as ObjectNotFound
    from tutum.errors import TutumApiError as TutumApiError
    from tutum.errors import TutumAuthError as TutumAuthError
    from tutum.errors import TutumConnectionError as TutumConnectionError
    from tutum.handler import Handler as Handler
    from tutum.lookup import Utils as Utils
    from tutum.outcome import Outcome as Outcome
    from tutum.plan import Plan as Plan
    from tutum.service import Service as Service
    from tutum.trial import Trial as Trial
    from tutum.webhook_handler import WebhookHandler as WebhookHandler

#: User name to authenticate with. None: from the environment, then from ~/.tutum.
user: str | None = None
#: API key of that user. None: from the environment, then from ~/.tutum.
apikey: str | None = None
#: Whole Authorization header, used instead of user and apikey.
tutum_auth: str | None = None
#: Root of the API, such as http://127.0.0.1:8000/api/v1/. None: from the environment, then from ~/.tutum.
base_url: str | None = None
#: Client that every call uses which is not given one. None: one made from the settings above.
default_client: Client | None = None

_ROOMS = {
    "Accepted": "call_result",
    "Action": "action",
    "ActionTimeoutError": "errors",
    "Client": "client",
    "Container": "container",
    "Handler": "handler",
    "NonUniqueIdentifier": "errors",
    "ObjectNotFound": "errors",
    "Plan": "plan",
    "Outcome": "outcome",
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
    room = _ROOMS.get(name)
    if room is None:
        raise AttributeError(f"module 'tutum' has no attribute {name!r}")
    value = getattr(importlib.import_module(f"tutum.{room}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
