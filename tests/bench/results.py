"""Results of a benchmark run, and their ratios."""

import statistics
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from typing import Any

from tests.bench.load import Load, middle

RIVAL, BARE, EMPTY, LARGE, LARGE_ALL = "webhook", "bare responder", "empty", "large", "large, all handlers"
ONE_REPLICA, TWO_REPLICAS = "PostgreSQL, 1 replica", "PostgreSQL, 2 replicas"
CONNECTIONS = (1, 32, 256)
USUAL = 32
"""The number of connections that the targets speak of."""


@dataclass
class Results:
    """Figures as they come in. `loads` are by name and connections, one for each round."""

    machine: dict[str, Any]
    loads: dict[str, dict[int, list[Load]]] = field(default_factory=dict)
    idle: dict[str, float] = field(default_factory=dict)
    handlers: dict[str, dict[str, float]] = field(default_factory=dict)
    process: dict[str, float] = field(default_factory=dict)

    def add(self, name: str, connections: int, load: Load) -> None:
        """Add the result of one run of the load generator."""
        self.loads.setdefault(name, {}).setdefault(connections, []).append(load)

    def load(self, name: str, connections: int = USUAL) -> Load:
        """Return the medians over the rounds."""
        return middle(self.loads[name][connections])

    def rate_ratio(self, name: str, other: str, connections: int = USUAL) -> float:
        """Divide two rates: the median over the rounds, in each of which both were measured one after the other."""
        pairs = zip(self.loads[name][connections], self.loads[other][connections], strict=True)
        return statistics.median(one.calls_per_s / two.calls_per_s for one, two in pairs)

    def p99_ratio(self, name: str, other: str, connections: int = USUAL) -> float:
        """Divide two latencies in the same way."""
        pairs = zip(self.loads[name][connections], self.loads[other][connections], strict=True)
        return statistics.median(one.p99_ms / two.p99_ms for one, two in pairs)

    def document(self) -> dict[str, Any]:
        """Return the results as JSON values."""
        return {
            "machine": self.machine,
            "loads": {
                name: {str(connections): asdict(self.load(name, connections)) for connections in found}
                for name, found in self.loads.items()
            },
            "idle": self.idle,
            "handlers": self.handlers,
            "process": self.process,
            "targets": [asdict(target) | {"met": target.is_met} for target in targets(self)],
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """A figure and its target."""

    name: str
    figure: float
    wanted: float
    at_most: bool = False
    unit: str = ""

    @property
    def is_met(self) -> bool:
        """Whether the figure reaches its target."""
        return self.figure <= self.wanted if self.at_most else self.figure >= self.wanted


def targets(results: Results) -> Iterator[Target]:
    """Compare the results with the targets."""
    process = results.process
    yield Target(name="calls/s ÷ webhook's", figure=results.rate_ratio(EMPTY, RIVAL), wanted=4)
    yield Target(name="p99 ÷ webhook's p99", figure=results.p99_ratio(EMPTY, RIVAL), wanted=0.2, at_most=True)
    yield Target(name="calls/s ÷ bare responder's", figure=results.rate_ratio(EMPTY, BARE), wanted=0.35)
    yield Target(name="calls/s, large ÷ empty database", figure=results.rate_ratio(LARGE, EMPTY), wanted=0.9)
    engine_ms = results.idle["engine_p50_ms"]
    yield Target(name="POST → engine, idle, p50", figure=engine_ms, wanted=30, at_most=True, unit=" ms")
    yield Target(name="ready after start", figure=process["ready_s"], wanted=2, at_most=True, unit=" s")
    yield Target(name="memory, idle", figure=process["memory_idle_mb"], wanted=130, at_most=True, unit=" MB")
    name = f"memory after {process['calls_made']:,.0f} calls"
    yield Target(name=name, figure=process["memory_after_mb"], wanted=200, at_most=True, unit=" MB")
