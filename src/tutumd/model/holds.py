"""Holds: why a pending action may not start yet, and the hold of a service."""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from tutumd.errors import Reason


class HoldKind(StrEnum):
    """Why a pending action waits, apart from its turn.

    DEBOUNCE: A handler collects more calls.
    HOLD: Somebody holds the redeploys of the service.
    FREEZE: A freeze window of the service, its stack or the server.
    """

    DEBOUNCE = "debounce"
    HOLD = "hold"
    FREEZE = "freeze"


@dataclass(frozen=True, slots=True, kw_only=True)
class Hold:
    """One reason why a pending action waits. The action is due when every hold has expired or been removed.

    Attributes:
        until: End of the hold; None: until somebody removes it.
        reason: Its reason with the values of the sentence.
        by: Who set it; empty for a debounce.
    """

    kind: HoldKind
    until: datetime | None
    reason: Reason
    by: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ServiceHold:
    """The hold of a service: its REDEPLOY actions wait.

    Attributes:
        until: End of the hold; None: until somebody resumes the service.
        reason: Text of the person who set it; may be empty.
        by: Name of the user, or of the handler whose call rolled back.
        is_of_rollback: A rollback set it.
    """

    until: datetime | None
    reason: str
    by: str
    since: datetime
    is_of_rollback: bool = False
