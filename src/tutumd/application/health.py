"""Whether work is done: the database, the workers' signs of life, the engines."""

from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from tutumd.errors import UnavailableError
from tutumd.model import EngineInfo
from tutumd.ports import HEARTBEAT_TIMEOUT, Clock, Store


@dataclass(frozen=True, slots=True, kw_only=True)
class Readiness:
    """How the server is.

    Attributes:
        status: `ready`; `degraded`: calls are accepted and kept, but some wait; `down`: calls are refused.
        engines: What is the matter with each engine instance: `ok`, `no worker`, or `unreachable`.
    """

    status: Literal["ready", "degraded", "down"]
    database: Literal["ok", "unavailable"]
    engines: dict[str, str]


def check(store: Store, clock: Clock) -> Readiness:
    """Look at the database, and at what workers told of themselves and their engines."""
    try:
        known = store.engines()
    except UnavailableError:
        return Readiness(status="down", database="unavailable", engines={})
    engines = {engine.name: _condition(engine, clock()) for engine in known}
    is_ready = engines and all(condition == "ok" for condition in engines.values())
    return Readiness(status="ready" if is_ready else "degraded", database="ok", engines=engines)


def _condition(engine: EngineInfo, now: datetime) -> str:
    if engine.last_heartbeat is None or abs(now - engine.last_heartbeat) > HEARTBEAT_TIMEOUT:
        return "no worker"
    return "unreachable" if engine.error else "ok"
