"""What a redeploy set out to do and how far it came, as it stands in the journal: enough to go on or go back."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from enum import StrEnum
from typing import Any

from tutumd.engines.journals import reading_back
from tutumd.engines.labels import Json, Order
from tutumd.engines.swarm import spec as specs
from tutumd.engines.swarm.version import Version

NO_ROOM = "no node has room for a new task beside the old ones"


class Stage(StrEnum):
    """How far an operation came. Each is saved before its first change is sent."""

    TRIAL = "trial"
    ORDER = "order"
    UNDO = "undo"
    SETTLE = "settle"


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """How an operation ended. `log_tail` and `rolled_back` as in Outcome."""

    success: bool
    reason: str = ""
    log_tail: str = ""
    rolled_back: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """One redeploy.

    Attributes:
        before: What of the specification is changed, as it was (`spec.remembered`).
        image: What the new tasks run, with its digest where it has one.
        config: The UpdateConfig that this update is sent with; None for a job, which has none.
        platforms: What the image was built for; None changes nothing.
        status_before: The engine's words on the last update before ours, to tell that one from ours.
        running_before: IDs of the tasks that ran.
        image_after: Digest of the new image, also where its name carries none.
        order_reason: Why new tasks start before or after the old ones have stopped.
        note: What is worth saying about a success.
        result: How it ended; None while that is open.
    """

    before: Json
    image: str
    config: Json | None
    platforms: tuple[Json, ...] | None
    status_before: Json
    running_before: tuple[str, ...]
    image_after: str | None = None
    order_reason: str = ""
    note: str = ""
    stage: Stage = Stage.ORDER
    result: Result | None = None

    @property
    def old(self) -> Version:
        """The version before."""
        return specs.version(self.before)

    @property
    def new(self) -> Version:
        """The version ordered."""
        return Version(image=self.image, force=self.old.force + 1)

    @property
    def is_job(self) -> bool:
        """The service is a job: an update makes it run once more."""
        return self.config is None

    @property
    def is_start_first(self) -> bool:
        """New tasks start before the old ones stop."""
        return (self.config or {}).get("Order") == Order.START_FIRST

    @property
    def stable_s(self) -> float:
        """How long a new task has to run before it counts."""
        return specs.monitor_s(self.config or {})

    def making_room(self) -> "Plan":
        """Return the same redeploy with old tasks stopped before new ones start."""
        return replace(self, config={**(self.config or {}), "Order": str(Order.STOP_FIRST)}, order_reason=NO_ROOM)

    def at(self, stage: Stage, result: Result) -> "Plan":
        """Return the same redeploy at another stage, with its result so far."""
        return replace(self, stage=stage, result=result)

    def to_journal(self) -> dict[str, Any]:
        """Return it as JSON values."""
        values = {field: getattr(self, field) for field in _PLAIN}
        values["running_before"] = list(self.running_before)
        values["platforms"] = None if self.platforms is None else list(self.platforms)
        values["result"] = None if self.result is None else asdict(self.result)
        return {**values, "stage": self.stage.value}


_PLAIN = ("before", "image", "config", "status_before", "image_after", "order_reason", "note")


def read_plan(journal: Mapping[str, Any]) -> Plan | None:
    """Read a plan back; None from an empty journal. Raises EngineRefusedError for one that is not understood."""
    if not journal:
        return None
    with reading_back():
        platforms, result = journal["platforms"], journal["result"]
        return Plan(
            **{field: journal[field] for field in _PLAIN},
            platforms=None if platforms is None else tuple(platforms),
            running_before=tuple(journal["running_before"]),
            stage=Stage(journal["stage"]),
            result=None if result is None else Result(**result),
        )
