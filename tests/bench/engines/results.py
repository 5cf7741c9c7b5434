"""Results of redeploys, and their ratios."""

import statistics
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from typing import Any

from tests.bench.results import Target

START_FIRST, FIXED_PORT, REQUESTS = "start-first", "fixed-port", "requests"
SWARM, SWARM_HEALTH = "swarm", "swarm-health"
KUBERNETES, KUBERNETES_PROBE = "kubernetes", "kubernetes-probe"
CLUSTER_ROWS = {KUBERNETES, KUBERNETES_PROBE}
NGINX, ALIAS, PORT = "through nginx", "by alias", "at the port"


@dataclass(slots=True)
class Requests:
    """Requests during a redeploy. `gap_s` is the longest time without a response."""

    sent: int = 0
    failed: int = 0
    gap_s: float = 0.0


@dataclass(slots=True, kw_only=True)
class Round:
    """One redeploy: how long it took, and what became of the requests during it, by their way."""

    seconds: float
    requests: dict[str, Requests] = field(default_factory=dict)


@dataclass(slots=True, kw_only=True)
class Row:
    """Redeploys of one service, by tutumd and by the engine's own command, alternately.

    Attributes:
        asked: Requests that the engine got during each redeploy by tutumd, where they were counted.
    """

    name: str
    command: str = ""
    ours: list[Round] = field(default_factory=list)
    theirs: list[Round] = field(default_factory=list)
    asked: list[int] = field(default_factory=list)

    @property
    def ratio(self) -> float:
        """How many times as long as the engine's own command a redeploy takes: the medians' ratio."""
        return seconds(self.ours) / seconds(self.theirs)


def seconds(rounds: list[Round]) -> float:
    """Return the median of the durations."""
    return statistics.median(one.seconds for one in rounds)


def requests(rounds: list[Round], way: str) -> Requests:
    """Return the sums of the requests sent in one way, and the median of the longest gaps."""
    found = [one.requests[way] for one in rounds if way in one.requests]
    if not found:
        return Requests()
    gap_s = statistics.median(one.gap_s for one in found)
    return Requests(sum(one.sent for one in found), sum(one.failed for one in found), gap_s)


def targets(rows: dict[str, Row]) -> Iterator[Target]:
    """Compare what was measured with the targets."""
    for name, row in rows.items():
        yield from (_at_most(*target) for target in _targets(name, row))


def _targets(name: str, row: Row) -> Iterator[tuple[Any, ...]]:
    if name == START_FIRST:
        proxied, direct = requests(row.ours, NGINX), requests(row.ours, ALIAS)
        yield "docker, start-first", seconds(row.ours), 10, " s"
        yield "… failed of 3,000 requests through nginx", proxied.failed * 3_000 / max(proxied.sent, 1), 0
        yield "… failed of 30,000 requests by alias", direct.failed * 30_000 / max(direct.sent, 1), 20
    elif name == FIXED_PORT:
        yield "docker, fixed port", seconds(row.ours), 4.5, " s"
        gap_s = requests(row.theirs, PORT).gap_s
        yield "… longest gap ÷ compose's", requests(row.ours, PORT).gap_s / gap_s, 1.1
    elif name == REQUESTS:
        yield "docker, engine requests beside 500 containers", statistics.median(row.asked), 60
    elif name in (SWARM, SWARM_HEALTH):
        health = ", health check" if name == SWARM_HEALTH else ""
        yield f"swarm, 2 tasks{health} ÷ the engine's command", row.ratio, 1.2 if health else 1.5
    elif name == KUBERNETES_PROBE:
        yield "kubernetes, readiness probe ÷ kubectl", row.ratio, 1.2
    elif name == KUBERNETES:
        # Without a probe, tutumd watches the new pods for 10 s.
        yield "kubernetes, no probe: (time − window) ÷ kubectl", (seconds(row.ours) - 10) / seconds(row.theirs), 1.2


def _at_most(name: str, figure: float, wanted: float, unit: str = "") -> Target:
    return Target(name=name, figure=figure, wanted=wanted, at_most=True, unit=unit)


def document(machine: dict[str, Any], rows: dict[str, Row]) -> dict[str, Any]:
    """Return the results as JSON values."""
    return {
        "machine": machine,
        "rows": {name: asdict(row) for name, row in rows.items()},
        "targets": [asdict(target) | {"met": target.is_met} for target in targets(rows)],
    }
