"""Readiness, from the reports of workers."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import cast

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
    ("engines", "expected"),
    [
        ((engine("a"),), Readiness(status="ready", database="ok", engines={"a": "ok"})),
        ((engine("a", ago_s=16),), Readiness(status="degraded", database="ok", engines={"a": "no worker"})),
        (
            (engine("a"), engine("b", error="refused")),
            Readiness(status="degraded", database="ok", engines={"a": "ok", "b": "unreachable"}),
        ),
        ((), Readiness(status="degraded", database="ok", engines={})),
        (None, Readiness(status="down", database="unavailable", engines={})),
    ],
)
def test_readiness(engines: tuple[EngineInfo, ...] | None, expected: Readiness) -> None:
    known = Known(engines)
    assert check(cast(Store, known), cast(Intake, known), lambda: NOW) == expected


def test_a_database_that_can_be_read_and_not_written_is_down() -> None:
    known = Known((engine("a"),), failing=0.1)
    expected = Readiness(status="down", database="unavailable", engines={})
    assert check(cast(Store, known), cast(Intake, known), lambda: NOW) == expected


def test_a_write_ahead_log_above_a_gigabyte_degrades_a_server_that_takes_calls() -> None:
    for wal, status, database in ((1_000_000_000, "ready", "ok"), (1_000_000_001, "degraded", "large log")):
        known = Known((engine("a"),), wal=wal)
        found = check(cast(Store, known), cast(Intake, known), lambda: NOW)
        assert (found.status, found.database) == (status, database)
