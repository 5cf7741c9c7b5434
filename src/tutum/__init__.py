"""SDK for the Tutum API: services, their webhook handlers, and the actions that calls start.

Importing it reads no settings and sends nothing.
"""

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
from tutum.version import __version__
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
