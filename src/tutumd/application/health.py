"""Readiness: the state of the database, the workers and the engines."""

from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from tutumd.errors import UnavailableError
from tutumd.model import EngineInfo
from tutumd.ports.clock import Clock
from tutumd.ports.intake import Intake
from tutumd.ports.queue import HEARTBEAT_TIMEOUT
from tutumd.ports.store import Store

LARGE_WAL_BYTES = 1_000_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Readiness:
    """The state of the server.

    Attributes:
        status: `ready`; `degraded`: calls are accepted, but some wait, or the disk fills up; `down`: calls are refused;
            `stopping`: calls are accepted for a moment, so that proxies can send them elsewhere from now on.
        database: `unavailable`; `large log`: a process has been reading SQLite for so long that its write-ahead log has
            more than 1 GB.
        engines: State of each engine instance: `ok`, `no worker`, or `unreachable`.
        worker: State of this server's own worker: `ok`, or why it does not work; None if it has none.
    """

    status: Literal["ready", "degraded", "down", "stopping"]
    database: Literal["ok", "large log", "unavailable"]
    engines: dict[str, str]
    worker: str | None = None


def check(store: Store, intake: Intake, clock: Clock, worker: str | None = None) -> Readiness:
    """Return the state of the database, of this server's worker and, as workers reported it, of the engines."""
    try:
        if intake.failing_s() is not None:
            raise UnavailableError("the database takes no calls")
        infos = store.engines()
    except UnavailableError:
        return Readiness(status="down", database="unavailable", engines={}, worker=worker)
    engines = {info.name: _engine_state(info, clock()) for info in infos}
    is_large = store.wal_bytes() > LARGE_WAL_BYTES
    is_ready = engines and all(state == "ok" for state in engines.values()) and worker in (None, "ok") and not is_large
    return Readiness(
        status="ready" if is_ready else "degraded",
        database="large log" if is_large else "ok",
        engines=engines,
        worker=worker,
    )


def _engine_state(info: EngineInfo, now: datetime) -> str:
    if not _has_worker(info, now):
        return "no worker"
    return "unreachable" if info.error else "ok"


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineHealth:
    """The state of an engine, for people.

    Attributes:
        state: `healthy`; `warning`: some of its services cannot be read, or another installation changes them, too;
            `away` or `no worker`: its actions wait.
        why: A sentence; empty if it is healthy.
    """

    info: EngineInfo
    state: Literal["healthy", "warning", "away", "no worker"]
    why: str

    @property
    def can_answer(self) -> bool:
        """Whether a question to the engine may be answered."""
        return self.state in ("healthy", "warning")


def judge_engine(info: EngineInfo, now: datetime) -> EngineHealth:
    """Return the state of an engine as its worker reported it."""
    if not _has_worker(info, now):
        return EngineHealth(info=info, state="no worker", why="No worker serves it: its actions wait until one does.")
    if info.away:
        return EngineHealth(info=info, state="away", why=f"It does not answer, and its actions wait: {info.error}")
    why = info.error or info.note
    return EngineHealth(info=info, state="warning" if why else "healthy", why=why)


def _has_worker(info: EngineInfo, now: datetime) -> bool:
    return info.last_heartbeat is not None and abs(now - info.last_heartbeat) <= HEARTBEAT_TIMEOUT
