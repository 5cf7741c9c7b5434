"""SDK for the Tutum API: services, their webhook handlers, and the actions that calls start.

Importing it reads no settings and sends nothing. Each class is loaded when it is first used.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from tutum.version import __version__

if TYPE_CHECKING:
    from tutum import auth
    from tutum.action import Action
    from tutum.client import Client
    from tutum.errors import (
        ActionTimeoutError,
        NonUniqueIdentifier,
        ObjectNotFound,
        TutumApiError,
        TutumAuthError,
        TutumConnectionError,
    )
    from tutum.freeze import FreezeWindow
    from tutum.lookup import Utils
    from tutum.notification import Notification, NotificationTarget, TargetTest
    from tutum.results import Accepted, Outcome, Plan, ServiceImage, Trial
    from tutum.service import Container, Service
    from tutum.webhook_group import GroupProgress, WebhookGroup
    from tutum.webhook_handler import Handler, WebhookHandler

#: User name. None: from the environment, then from ~/.tutum.
user: str | None = None
#: API key of the user. None: from the environment, then from ~/.tutum.
apikey: str | None = None
#: Whole Authorization header, instead of user and apikey.
tutum_auth: str | None = None
#: Root of the API, such as http://127.0.0.1:8000/api/v1/. None: from the environment, then from ~/.tutum.
base_url: str | None = None
#: Client of every call without its own client. None: a client with the settings above.
default_client: Client | None = None

_MODULES = {
    "Accepted": "results",
    "Action": "action",
    "ActionTimeoutError": "errors",
    "Client": "client",
    "Container": "service",
    "FreezeWindow": "freeze",
    "GroupProgress": "webhook_group",
    "Handler": "webhook_handler",
    "NonUniqueIdentifier": "errors",
    "Notification": "notification",
    "NotificationTarget": "notification",
    "ObjectNotFound": "errors",
    "Outcome": "results",
    "Plan": "results",
    "Service": "service",
    "ServiceImage": "results",
    "TargetTest": "notification",
    "Trial": "results",
    "TutumApiError": "errors",
    "TutumAuthError": "errors",
    "TutumConnectionError": "errors",
    "Utils": "lookup",
    "WebhookGroup": "webhook_group",
    "WebhookHandler": "webhook_handler",
}

__all__ = [
    "Accepted",
    "Action",
    "ActionTimeoutError",
    "Client",
    "Container",
    "FreezeWindow",
    "GroupProgress",
    "Handler",
    "NonUniqueIdentifier",
    "Notification",
    "NotificationTarget",
    "ObjectNotFound",
    "Outcome",
    "Plan",
    "Service",
    "ServiceImage",
    "TargetTest",
    "Trial",
    "TutumApiError",
    "TutumAuthError",
    "TutumConnectionError",
    "Utils",
    "WebhookGroup",
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
