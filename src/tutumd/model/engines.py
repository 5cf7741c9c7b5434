"""Engine instances, and reads from them that the server requests from workers."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from tutumd.errors import Reason
from tutumd.model.services import Service


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineInfo:
    """An engine instance that a worker serves.

    Attributes:
        name: Name of the instance. Part of the selector of each of its services.
        kind: Name of the kind of engine, such as `docker`.
        can_create: Whether services can be created and terminated on it.
        is_shared: Whether several workers can serve it.
        hint: Sentence that describes the services of this kind of engine.
        error: Error of the last attempt to reach it; empty if it succeeded.
        faults: Fault of the connection while it is away; empty if it is unknown.
        away: It does not respond, and its worker has parked it: its actions wait.
        note: Remark about an engine that works; empty if there is none.
        last_heartbeat: Time of its worker's last report. Set only on values from the store.
    """

    name: str
    kind: str
    can_create: bool = False
    is_shared: bool = True
    hint: str = ""
    error: str = ""
    faults: tuple[Reason, ...] = ()
    away: bool = False
    note: str = ""
    last_heartbeat: datetime | None = None


LINES_MISSING = "(lines are missing here: the service writes faster than its output is read)"
SINCE = "since"
"""Key of positions: the time, in ISO 8601 and UTC, from which output is read."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Output:
    """Output of the containers of a service.

    Attributes:
        text: Lines. If there are several containers, a line may begin with the name of its container.
        position: Where each container's output ends, by a key of the container: a later read continues there. Only the
            engine knows the meaning of the values, except for `SINCE`.
    """

    text: str
    position: Mapping[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineRequest:
    """A read from a service's engine, such as its logs, which the server stores for a worker.

    Attributes:
        kind: `logs`, `plan` or `images`.
        arguments: JSON values; for `logs`, the number of `lines`, and `after`, a position or null; for `plan`, the
            `image` of a rollback (the fields of `WantedImage`), or none; for `images`, the list `images` of such.
    """

    uuid: str
    kind: str
    service: Service
    arguments: Mapping[str, object]
