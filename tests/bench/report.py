"""The results as a page: tables in Markdown, put between two marks of a text that people write."""

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from tests.bench.load import CONNECTIONS
from tests.bench.results import EMPTY, RIVAL, Results, Target, targets

BEGIN, END = "<!-- begin: written by script/bench -->", "<!-- end -->"
_ROW_NAMES = {
    "list": "list handlers",
    "get": "get a handler",
    "create": "create a handler",
    "list_services": "list 25 services",
}


def write(page: Path, tables: str) -> None:
    """Replace the text between the marks."""
    text = page.read_text()
    before, _, rest = text.partition(BEGIN)
    _, found, after = rest.partition(END)
    if not found:
        raise ValueError(f"{page.name} must have the marks {BEGIN!r} and {END!r}")
    page.write_text(f"{before}{BEGIN}\n{tables}\n{END}{after}")


def tables(results: Results) -> str:
    """Write all tables."""
    machine = results.machine
    parts = [
        f"Measured on {machine['date']}: {machine['cpus']} cores, {machine['python']}, SQLite {machine['sqlite']}; "
        f"a 4 KB append with `fdatasync` takes {machine['fdatasync_p50_ms']:.2f} ms (p50); load average of the machine "
        f"before the run {machine['load_before']:.1f}; {machine['rounds']} rounds of {machine['seconds']} s each.",
        "### Targets (32 connections)",
        target_table(targets(results)),
        "### Calls",
        table(("", "connections", "calls/s", "÷ webhook", "p50 ms", "p99 ms", "failed"), _load_rows(results)),
        "### Calls while 100 services of the same server are redeployed (32 connections)",
        table(
            (
                "",
                "calls/s",
                "p99 ms",
                "failed",
                "`web` alone",
                "redeploys/s",
                "without calls",
                "claims p99",
                "queued p99",
            ),
            _work_rows(results),
        ),
        "### One request at a time",
        table(("", "empty database", "large database"), _single_rows(results)),
    ]
    return "\n\n".join(parts)


def _load_rows(results: Results) -> Iterator[tuple[str, ...]]:
    for name in results.loads:
        for connections in CONNECTIONS:
            if connections not in results.loads[name]:
                continue
            load = results.load(name, connections)
            yield (
                name if name == RIVAL else f"tutumd, {name}",
                str(connections),
                f"{load.calls_per_s:,.0f}",
                f"{_ratio(results, name, RIVAL, connections):.2f}",
                f"{load.p50_ms:.1f}",
                f"{load.p99_ms:.1f}",
                str(load.failed),
            )


def _work_rows(results: Results) -> Iterator[tuple[str, ...]]:
    for name, rounds in results.work.items():

        def middle(figure: str, name: str = name) -> float:
            return results.work_middle(name, figure)

        yield (
            name,
            f"{middle('calls_per_s'):,.0f}",
            f"{middle('p99_ms'):.1f}",
            str(sum(one.failed for one in rounds)),
            f"{middle('web_calls_per_s'):,.0f}",
            f"{middle('redeploys_per_s'):.1f}",
            f"{middle('quiet_redeploys_per_s'):.1f}",
            f"{middle('claims_p99_ms'):,.0f} ms",
            f"{middle('queued_p99_ms'):,.0f} ms",
        )


def _ratio(results: Results, name: str, other: str, connections: int) -> float:
    rounds = len(results.loads[name][connections])
    if rounds == len(results.loads[other].get(connections, ())):
        return results.rate_ratio(name, other, connections)
    return results.load(name, connections).calls_per_s / results.load(other, connections).calls_per_s


def _single_rows(results: Results) -> Iterator[tuple[str, ...]]:
    sizes = [results.handlers[EMPTY], results.handlers["large"]]
    for key, name in _ROW_NAMES.items():
        yield (name, *(f"{size[f'{key}_p50_ms']:.1f} ms" for size in sizes))
    process = results.process
    yield "ready after start", f"{process['ready_s']:.2f} s", f"{process['ready_large_s']:.2f} s"
    yield "memory, idle", f"{process['memory_idle_mb']:.0f} MB", f"{process['memory_idle_large_mb']:.0f} MB"
    yield "POST answered, idle, p50", f"{results.idle['answered_p50_ms']:.1f} ms", ""
    yield "POST → engine, idle, p50 (p90)", _two(results.idle["engine_p50_ms"], results.idle["engine_p90_ms"]), ""
    loaded = results.loaded
    yield "POST → engine, full call load, p50 (p99)", _two(loaded["engine_p50_ms"], loaded["engine_p99_ms"]), ""
    yield "`?wait=` after the end, full call load, p50 (p99)", _two(loaded["wait_p50_ms"], loaded["wait_p99_ms"]), ""


def _two(middle: float, high: float) -> str:
    return f"{middle:.1f} ms ({high:.1f} ms)"


def target_table(compared: Iterable[Target]) -> str:
    """Return a table of figures and their targets."""
    rows = [
        (
            target.name,
            f"{target.figure:.2f}{target.unit}",
            f"{'≤' if target.at_most else '≥'} {target.wanted:g}{target.unit}",
            "met" if target.is_met else "**not met**",
        )
        for target in compared
    ]
    return table(("", "figure", "target", ""), rows)


def table(head: Sequence[str], rows: Iterable[tuple[str, ...]]) -> str:
    """Return a table."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
