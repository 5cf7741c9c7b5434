"""Webhook handlers."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any


class Operation(StrEnum):
    """What a webhook handler does."""

    REDEPLOY = "REDEPLOY"
    SCALEUP = "SCALEUP"


@dataclass(frozen=True, slots=True, kw_only=True)
class Rotation:
    """The URL that a handler had before, which may still be called until `old_until`."""

    old_until: datetime
    old_called: datetime | None
    old_address: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Handler:
    """A webhook handler. Its UUID is a credential: whoever knows it may call it.

    Attributes:
        options: What is set beyond the specification, as a JSON document; empty where nothing is.
        calls: How many calls it received in all, whatever became of them.
    """

    uuid: str = field(repr=False)
    service_uuid: str
    name: str | None
    operation: Operation
    created: datetime
    options: Mapping[str, Any] = field(default_factory=dict, repr=False)
    calls: int = 0
    last_called: datetime | None = None
    rotation: Rotation | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class NewHandler:
    """A handler to create. `options` as in Handler."""

    name: str | None = None
    operation: Operation = Operation.REDEPLOY
    options: Mapping[str, Any] = field(default_factory=dict, repr=False)
