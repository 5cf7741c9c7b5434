"""Users and their API keys."""

from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class User:
    """An owner of API keys and services. An admin sees every service, a member only their own."""

    uuid: str
    name: str
    is_admin: bool
    created: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class ApiKey:
    """An API key, of which only the SHA-256 is stored. `hint` is its first characters, to distinguish keys."""

    user_name: str
    hint: str
    created: datetime
