"""Webhook handlers, and the format of the values that their calls pass to a redeploy."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any

TAG = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}")
"""An image tag: OCI distribution spec 1.1, "Pulling manifests"."""

VARIABLE = re.compile(r"TUTUM_[A-Z0-9_]{1,100}", re.ASCII)
"""The name of an environment variable that a handler may set."""


class Operation(StrEnum):
    """What a webhook handler does."""

    REDEPLOY = "REDEPLOY"
    SCALEUP = "SCALEUP"


@dataclass(frozen=True, slots=True, kw_only=True)
class Rotation:
    """The previous URL of a handler, which accepts calls until `old_until`."""

    old_until: datetime
    old_called: datetime | None
    old_address: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Handler:
    """A webhook handler. Its UUID is a credential: anyone with the UUID may call the handler.

    Attributes:
        number: Name of the handler in pages and the audit log.
        options: Fields beyond the specification, as a JSON document; empty if none are set.
        calls: Number of calls received, whatever their results.
        uses: Number of calls accepted while `max_uses` was set.
    """

    uuid: str = field(repr=False)
    service_uuid: str
    name: str | None
    operation: Operation
    created: datetime
    number: int = 0
    options: Mapping[str, Any] = field(default_factory=dict, repr=False)
    calls: int = 0
    uses: int = 0
    last_called: datetime | None = None
    rotation: Rotation | None = None

    @property
    def unused_since(self) -> datetime:
        """Time of its last call, or of its creation if it was never called."""
        return self.last_called or self.created


@dataclass(frozen=True, slots=True, kw_only=True)
class NewHandler:
    """A handler to create, or the new fields of one."""

    name: str | None = None
    operation: Operation = Operation.REDEPLOY
    options: Mapping[str, Any] = field(default_factory=dict, repr=False)
