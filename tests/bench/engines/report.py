"""The results of redeploys as tables in Markdown."""

from collections.abc import Iterator
from typing import Any

from tests.bench.engines.results import Requests, Row, requests, seconds, targets
from tests.bench.report import table, target_table

_TITLES = {
    "start-first": "docker, start-first",
    "fixed-port": "docker, fixed port",
    "requests": "docker, beside 500 containers",
    "swarm": "swarm, 2 tasks",
    "swarm-health": "swarm, 2 tasks, health check",
    "kubernetes": "kubernetes, 2 pods, no probe",
    "kubernetes-probe": "kubernetes, 2 pods, readiness probe",
}
_HEAD = ("", "tutumd", "command", "÷", "requests of tutumd's redeploys", "of the command's")


def tables(machine: dict[str, Any], rows: dict[str, Row]) -> str:
    """Return all tables."""
    parts = [
        f"Measured on {machine['date']}: {machine['cpus']} cores, {machine['python']}, Docker Engine "
        f"{machine['engine']}; load average of the machine before the run {machine['load_before']:.1f}.",
        "### Targets",
        target_table(targets(rows)),
        "### Redeploys",
        table(_HEAD, list(_rows(rows))),
    ]
    return "\n\n".join(parts)


def _rows(rows: dict[str, Row]) -> Iterator[tuple[str, ...]]:
    for name, row in rows.items():
        asked = ", ".join(str(number) for number in row.asked)
        yield (
            _TITLES[name],
            f"{seconds(row.ours):.1f} s",
            f"{seconds(row.theirs):.1f} s" if row.theirs else "",
            f"{row.ratio:.2f}" if row.theirs else "",
            f"the engine got {asked}" if asked else _shown(row, "ours"),
            _shown(row, "theirs"),
        )


def _shown(row: Row, side: str) -> str:
    rounds = row.ours if side == "ours" else row.theirs
    ways = dict.fromkeys(way for one in rounds for way in one.requests)
    return "; ".join(f"{way}: {_text(requests(rounds, way))}" for way in ways)


def _text(found: Requests) -> str:
    return f"{found.failed:,} of {found.sent:,} failed, longest gap {found.gap_s:.2f} s"
