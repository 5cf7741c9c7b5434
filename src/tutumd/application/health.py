"""Readiness: the state of the database, the workers and the engines."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from tutumd.errors import UnavailableError
from tutumd.model import EngineInfo
from tutumd.ports import HEARTBEAT_TIMEOUT, Clock, Intake, Store

LARGE_WAL_BYTES = 1_000_000_000
LATE_S = 300.0
"""Delay of a notification that a notifier would have claimed, even if several other targets do not respond."""


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
        notifier: `ok`, or why notifications wait.
    """

    status: Literal["ready", "degraded", "down", "stopping"]
    database: Literal["ok", "large log", "unavailable"]
    engines: dict[str, str]
    worker: str | None = None
    notifier: str = "ok"


def check(
    store: Store,
    intake: Intake,
    clock: Clock,
    worker: str | None = None,
    notifier: str = "ok",
    notification_delay_s: Callable[[], float] = lambda: 0.0,
) -> Readiness:
    """Return the state of the database, of this server's processes and of the engines, as workers reported it.

    Args:
        notifier: State of this server's own notifier; `ok` if it has none.
        notification_delay_s: Returns `Figures.notification_delay_s`.
    """
    try:
        if intake.failing_s() is not None:
            raise UnavailableError("the database takes no calls")
        infos = store.engines()
        if notifier == "ok":
            notifier = explain_delay(notification_delay_s())
    except UnavailableError:
        return Readiness(status="down", database="unavailable", engines={}, worker=worker)
    engines = {info.name: _engine_state(info, clock()) for info in infos}
    is_large = store.wal_bytes() > LARGE_WAL_BYTES
    is_ready = engines and {*engines.values(), worker or "ok", notifier} == {"ok"} and not is_large
    return Readiness(
        status="ready" if is_ready else "degraded",
        database="large log" if is_large else "ok",
        engines=engines,
        worker=worker,
        notifier=notifier,
    )


def explain_delay(delay_s: float) -> str:
    """Return `ok`, or that nobody sends notifications."""
    return (
        "ok" if delay_s <= LATE_S else f"no notifier has claimed a notification that has been due for {delay_s:.0f} s"
    )


def _engine_state(info: EngineInfo, now: datetime) -> str:
    if not has_worker(info, now):
        return "no worker"
    return "unreachable" if info.error else "ok"


def has_worker(info: EngineInfo, now: datetime) -> bool:
    """Return whether a worker serves an engine."""
    return info.last_heartbeat is not None and abs(now - info.last_heartbeat) <= HEARTBEAT_TIMEOUT
