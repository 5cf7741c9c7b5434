"""The state of an engine, for people."""

from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from tutumd.application.health import has_worker
from tutumd.model import EngineInfo


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineHealth:
    """The state of an engine, for people.

    Attributes:
        state: `healthy`; `warning`: some of its services cannot be read, or another installation also changes them;
            `away` or `no worker`: its actions wait.
        why: A sentence; empty if it is healthy.
    """

    info: EngineInfo
    state: Literal["healthy", "warning", "away", "no worker"]
    why: str


def judge_engine(info: EngineInfo, now: datetime) -> EngineHealth:
    """Return the state of an engine, as reported by its worker."""
    if not has_worker(info, now):
        why = "No worker serves this engine. Actions wait until a worker serves it."
        return EngineHealth(info=info, state="no worker", why=why)
    if info.away:
        why = f"The engine does not respond. Actions wait until it responds: {info.error}"
        return EngineHealth(info=info, state="away", why=why)
    why = info.error or info.note
    return EngineHealth(info=info, state="warning" if why else "healthy", why=why)
