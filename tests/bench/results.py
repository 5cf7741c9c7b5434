"""Results of a benchmark run, and their ratios."""

import statistics
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from tests.bench.load import USUAL, Load, middle

RIVAL, EMPTY, LARGE, LARGE_ALL = "webhook", "empty", "large", "large, all handlers"
ONE_REPLICA, TWO_REPLICAS = "PostgreSQL, 1 replica", "PostgreSQL, 2 replicas"
VERIFY_TOKEN, VERIFY_HMAC, VERIFY_OIDC = "verify: token", "verify: github (HMAC)", "verify: oidc"
GROUP = "a group of ten services"
RUNNING, ENDING = "services that run", "services that end at once"


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """One round of calls while the services of the same server are redeployed.

    Attributes:
        quiet_redeploys_per_s: Without the calls.
        web_calls_per_s: Of `tutumd web` alone on the same data.
        rival_calls_per_s: Of the rival in the same round.
        claims_p99_ms: How long a worker with a free slot let an action wait, after it had begun the one before.
        queued_p99_ms: From queued to started, which is mostly for want of a slot.
        lapsed: Leases that ran out.
    """

    calls_per_s: float
    p99_ms: float
    failed: int
    web_calls_per_s: float
    rival_calls_per_s: float
    redeploys_per_s: float
    quiet_redeploys_per_s: float
    claims_p99_ms: float
    queued_p99_ms: float
    lapsed: int


@dataclass
class Results:
    """Figures as they come in. `loads` are by name and connections, one for each round."""

    machine: dict[str, Any]
    loads: dict[str, dict[int, list[Load]]] = field(default_factory=dict)
    idle: dict[str, float] = field(default_factory=dict)
    handlers: dict[str, dict[str, float]] = field(default_factory=dict)
    process: dict[str, float] = field(default_factory=dict)
    loaded: dict[str, float] = field(default_factory=dict)
    work: dict[str, list[Work]] = field(default_factory=dict)

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

    def work_ratio(self, name: str, part: str, whole: str) -> float:
        """Divide two figures of a kind of services: the median over the rounds."""
        pairs = ((float(getattr(one, part)), float(getattr(one, whole))) for one in self.work[name])
        return statistics.median(a / b if b else 0.0 for a, b in pairs)

    def work_middle(self, name: str, figure: str) -> float:
        """Return the median of a figure over the rounds."""
        return statistics.median(float(getattr(one, figure)) for one in self.work[name])

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
            "loaded": self.loaded,
            "work": {name: [asdict(one) for one in found] for name, found in self.work.items()},
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


def flatness(loads: Sequence[Load]) -> float:
    """Divide the calls a second of the last tenth of all calls by those of the first tenth."""
    tenth = sum(one.requests for one in loads) / 10
    return _rate(loads[::-1], tenth) / _rate(loads, tenth)


def _rate(loads: Sequence[Load], wanted: float) -> float:
    """Return the calls a second of the first loads that make as many calls as wanted."""
    requests = seconds = 0.0
    for one in loads:
        requests += one.requests
        seconds += one.requests / one.calls_per_s
        if requests >= wanted:
            break
    return requests / seconds


def targets(results: Results) -> Iterator[Target]:
    """Compare the results with the targets."""
    yield from _targets_at_work(results)
    for name, least in ((VERIFY_TOKEN, 0.7), (VERIFY_HMAC, 0.6), (VERIFY_OIDC, 0.3), (GROUP, 0.25)):
        yield Target(name=f"{name} ÷ bare handler", figure=results.rate_ratio(name, EMPTY), wanted=least)
    yield Target(name="calls/s ÷ webhook's", figure=results.rate_ratio(EMPTY, RIVAL), wanted=7)
    yield Target(name="p99 ÷ webhook's p99", figure=results.p99_ratio(EMPTY, RIVAL), wanted=0.2, at_most=True)
    yield Target(name="calls/s, large ÷ empty database", figure=results.rate_ratio(LARGE, EMPTY), wanted=0.92)
    process = results.process
    name = f"last ÷ first tenth of {process['calls_made']:,.0f} calls"
    yield Target(name=name, figure=process["flatness"], wanted=0.95)
    one = [load.calls_per_s for load in results.loads[ONE_REPLICA][1]]
    yield Target(name="one connection on PostgreSQL", figure=statistics.median(one), wanted=1500, unit="/s")
    yield from _targets_of_time(results)
    yield Target(
        name="memory, idle, one docker engine", figure=process["memory_idle_mb"], wanted=140, at_most=True, unit=" MB"
    )
    name = f"memory after {process['calls_made']:,.0f} calls"
    yield Target(name=name, figure=process["memory_after_mb"], wanted=220, at_most=True, unit=" MB")
    yield Target(name="ready after start", figure=process["ready_s"], wanted=1.2, at_most=True, unit=" s")


def _targets_at_work(results: Results) -> Iterator[Target]:
    for name, share, times in ((RUNNING, 0.75, 5), (ENDING, 0.6, 4)):
        alone = results.work_ratio(name, "calls_per_s", "web_calls_per_s")
        yield Target(name=f"{name}: calls/s ÷ `web` alone", figure=alone, wanted=share)
        rival = results.work_ratio(name, "calls_per_s", "rival_calls_per_s")
        yield Target(name="… ÷ webhook's", figure=rival, wanted=times)
        redeploys = results.work_ratio(name, "redeploys_per_s", "quiet_redeploys_per_s")
        yield Target(name="… redeploys/s ÷ without calls", figure=redeploys, wanted=0.6)
        claims = results.work_middle(name, "claims_p99_ms")
        yield Target(name="… claims, p99", figure=claims, wanted=1000, at_most=True, unit=" ms")
        lapsed = sum(one.lapsed for one in results.work[name])
        yield Target(name="… leases lapsed", figure=lapsed, wanted=0, at_most=True)


def _targets_of_time(results: Results) -> Iterator[Target]:
    idle_ms, loaded = results.idle["engine_p50_ms"], results.loaded
    yield Target(name="POST → engine, idle, p50", figure=idle_ms, wanted=30, at_most=True, unit=" ms")
    name = "POST → engine, at full call load, p99"
    yield Target(name=name, figure=loaded["engine_p99_ms"], wanted=1000, at_most=True, unit=" ms")
    name = "`?wait=` answered after the end, p99"
    yield Target(name=name, figure=loaded["wait_p99_ms"], wanted=250, at_most=True, unit=" ms")
