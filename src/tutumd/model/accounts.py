"""Users and their API keys."""

from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class User:
    """Somebody with API keys. An admin sees every service, a member only the own ones."""

    uuid: str
    name: str
    is_admin: bool
    created: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class ApiKey:
    """A stored API key: only its SHA-256 is kept; `hint` is its first characters, to tell keys apart."""

    user_name: str
    hint: str
    created: datetime
