"""Readiness, from the reports of workers."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import cast

import pytest

from tutumd.application.health import Readiness, check
from tutumd.errors import UnavailableError
from tutumd.model import EngineInfo
from tutumd.ports import Store

NOW = datetime(2026, 1, 1, tzinfo=UTC)


@dataclass
class Known:
    """A store that knows these engines, or is away."""

    found: tuple[EngineInfo, ...] | None

    def engines(self) -> tuple[EngineInfo, ...]:
        if self.found is None:
            raise UnavailableError("away")
        return self.found


def engine(name: str, *, ago_s: float = 1, error: str = "") -> EngineInfo:
    return EngineInfo(name=name, kind="docker", creates=False, error=error, seen=NOW - timedelta(seconds=ago_s))


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
    assert check(cast(Store, Known(engines)), lambda: NOW) == expected
