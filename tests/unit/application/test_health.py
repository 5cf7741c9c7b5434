"""Readiness, from the reports of workers."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Literal, cast

import pytest

from tutumd.application.health import Readiness, check
from tutumd.errors import UnavailableError
from tutumd.model import EngineInfo
from tutumd.ports.intake import Intake
from tutumd.ports.store import Store

NOW = datetime(2026, 1, 1, tzinfo=UTC)


@dataclass
class Known:
    """A store that knows these engines, or is away, and an intake that has stored nothing for some seconds."""

    found: tuple[EngineInfo, ...] | None
    failing: float | None = None
    wal: int = 0

    def wal_bytes(self) -> int:
        return self.wal

    def failing_s(self) -> float | None:
        return self.failing

    def engines(self) -> tuple[EngineInfo, ...]:
        if self.found is None:
            raise UnavailableError("away")
        return self.found


def engine(name: str, *, ago_s: float = 1, error: str = "") -> EngineInfo:
    return EngineInfo(
        name=name, kind="docker", can_create=False, error=error, last_heartbeat=NOW - timedelta(seconds=ago_s)
    )


@pytest.mark.parametrize(
    ("known", "status", "database", "engines"),
    [
        (Known((engine("a"),)), "ready", "ok", {"a": "ok"}),
        (Known((engine("a", ago_s=16),)), "degraded", "ok", {"a": "no worker"}),
        (Known((engine("a"), engine("b", error="refused"))), "degraded", "ok", {"a": "ok", "b": "unreachable"}),
        (Known(()), "degraded", "ok", {}),
        (Known(None), "down", "unavailable", {}),
        (Known((engine("a"),), failing=0.1), "down", "unavailable", {}),  # it can be read and not written
        (Known((engine("a"),), wal=1_000_000_000), "ready", "ok", {"a": "ok"}),
        (Known((engine("a"),), wal=1_000_000_001), "degraded", "large log", {"a": "ok"}),
    ],
)
def test_readiness(
    known: Known,
    status: Literal["ready", "degraded", "down"],
    database: Literal["ok", "large log", "unavailable"],
    engines: dict[str, str],
) -> None:
    found = check(cast(Store, known), cast(Intake, known), lambda: NOW)
    assert found == Readiness(status=status, database=database, engines=engines)


@pytest.mark.parametrize(
    ("state", "delay_s", "status", "notifier"),
    [
        ("ok", 300.0, "ready", "ok"),
        ("ok", 301.0, "degraded", "no notifier has claimed a notification that has been due for 301 s"),
        ("was ended by signal 9", 301.0, "degraded", "was ended by signal 9"),
    ],
)
def test_notifications_that_nobody_sends_degrade_the_server(
    state: str, delay_s: float, status: str, notifier: str
) -> None:
    known = Known((engine("a"),))
    found = check(cast(Store, known), cast(Intake, known), lambda: NOW, None, state, lambda: delay_s)
    assert (found.status, found.notifier) == (status, notifier)
