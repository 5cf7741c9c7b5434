"""The arithmetic and the tables of `script/bench --engines`."""

from tests.bench.engines import report
from tests.bench.engines.results import ALIAS, NGINX, START_FIRST, SWARM, Requests, Round, Row, requests, targets

MACHINE = {"date": "2026-01-01", "cpus": 2, "python": "Python 3.11", "engine": "26.1.5", "load_before": 0.1}


def rounds(*durations: float, **failed: int) -> list[Round]:
    return [
        Round(seconds=one, requests={way: Requests(1_000, number, one / 10) for way, number in failed.items()})
        for one in durations
    ]


def test_requests_are_summed_and_gaps_are_medians() -> None:
    assert requests(rounds(1, 2, 6, way=3), "way") == Requests(3_000, 9, 0.2)
    assert requests(rounds(1), "way") == Requests()


def test_redeploys_are_compared_with_their_targets() -> None:
    row = Row(name=START_FIRST, command="up", ours=rounds(13, 11, 12), theirs=rounds(1))
    for one in row.ours:
        one.requests = {NGINX: Requests(1_000, 0, 0.1), ALIAS: Requests(1_000, 1, 0.1)}
    rows = {START_FIRST: row, SWARM: Row(name=SWARM, ours=rounds(18), theirs=rounds(9))}
    figures = [(target.figure, target.is_met) for target in targets(rows)]
    assert figures == [(12, True), (0, True), (30, False), (2, False)]
    shown = report.tables(MACHINE, rows)
    assert "| docker, start-first | 12.0 s | 1.0 s | 12.00 | through nginx: 0 of 3,000 failed" in shown
    assert "| swarm, 2 tasks | 18.0 s | 9.0 s | 2.00 |" in shown
