"""Webhook handlers, and groups."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from tutumd.model.calls import Operation
from tutumd.model.groups import NO_SELECTOR, GroupSelector, OnFailure, Sequence


@dataclass(frozen=True, slots=True, kw_only=True)
class Rotation:
    """The previous URL of a handler, which accepts calls until `old_until`."""

    old_until: datetime
    old_called: datetime | None
    old_address: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class NewHandler:
    """A webhook handler or a group to create, or the new fields of one.

    Attributes:
        options: Fields beyond the specification, as a JSON document; empty if none are set.
        selector, sequence, on_failure: The services that a call of a group redeploys, and how.
    """

    name: str | None = None
    operation: Operation = Operation.REDEPLOY
    options: Mapping[str, Any] = field(default_factory=dict, repr=False)
    selector: GroupSelector = NO_SELECTOR
    sequence: Sequence = Sequence.NONE
    on_failure: OnFailure = OnFailure.CANCEL

    @property
    def is_group(self) -> bool:
        """Whether it is a group, which has a selector instead of one service."""
        return self.selector != NO_SELECTOR


@dataclass(frozen=True, slots=True, kw_only=True)
class Handler(NewHandler):
    """A webhook handler, or a group. Its UUID is a credential: anyone with the UUID may call it.

    Attributes:
        service_uuid: Empty for a group.
        number: Its name in pages and the audit log; handlers and groups share the numbers.
        calls: Number of calls received, whatever their results. A call of a group counts once.
        uses: Number of calls accepted while `max_uses` was set.
        owner: Name of the user whose services a group may redeploy; empty for a handler of a service.
    """

    uuid: str = field(repr=False)
    service_uuid: str
    created: datetime
    number: int = 0
    calls: int = 0
    uses: int = 0
    last_called: datetime | None = None
    rotation: Rotation | None = None
    owner: str = ""
