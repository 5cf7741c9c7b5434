"""The statements that something executes, and what their plans read as a whole."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import sqlalchemy as sa

from tests.support.dashboard_bed import ANSWERER
from tests.support.stores import StoreBed, is_postgres

LARGE_TABLES = ("deliveries", "actions", "action_lines")
MAX_ROWS = 5_000
"""Of large tables, that a page's statement may read; a service has a tenth of that."""
MAX_STEPS = 500_000
"""Of SQLite; to read all services takes a fifth of that."""


@contextmanager
def recorded() -> Iterator[list[tuple[str, Any]]]:
    """Collect the statements that are executed, but those of the worker that answers: it looks as often as it can."""
    statements: list[tuple[str, Any]] = []

    def record(_conn: object, _cursor: object, sql: str, parameters: Any, *_: object) -> None:
        if sql.startswith(("SELECT", "WITH")) and threading.current_thread().name != ANSWERER:
            statements.append((sql, parameters))

    sa.event.listen(sa.Engine, "before_cursor_execute", record)
    try:
        yield statements
    finally:
        sa.event.remove(sa.Engine, "before_cursor_execute", record)


def scans(bed: StoreBed, sql: str, parameters: Any) -> list[str]:
    """Return where the plan of a statement reads a large table from end to end; partial indexes are small."""
    with bed.database.read() as connection:
        how = "EXPLAIN" if is_postgres(bed.database) else "EXPLAIN QUERY PLAN"
        plan = [str(row[-1]) for row in connection.exec_driver_sql(f"{how} {sql}", parameters)]
    if is_postgres(bed.database):
        return [line for line in plan for table in LARGE_TABLES if f"Seq Scan on {table} " in line]
    partial = ("actions_live", "actions_one_in_progress", "actions_failed")
    whole = [line for line in plan if line.startswith("SCAN") and line.split()[1] in LARGE_TABLES]
    return [line for line in whole if not line.endswith(partial)]


def count_rows(bed: StoreBed, sql: str, parameters: Any) -> int:
    """Return how many rows of large tables a statement reads on PostgreSQL, with those that its filters throw away."""
    with bed.database.read() as connection:
        explained = connection.exec_driver_sql(f"EXPLAIN (ANALYZE, TIMING OFF, FORMAT JSON) {sql}", parameters).scalar()
    assert explained is not None
    return sum(map(_rows_of, _nodes(explained[0]["Plan"])))


def count_steps(bed: StoreBed, sql: str, parameters: Any) -> int:
    """Return how many steps SQLite's virtual machine takes for a statement: some ten for each row that it reads."""
    thousands: list[None] = []
    with bed.database.read() as connection:
        driver: Any = connection.connection.driver_connection
        driver.set_progress_handler(lambda: thousands.append(None), 1_000)
        try:
            connection.exec_driver_sql(sql, parameters).all()
        finally:
            driver.set_progress_handler(None, 0)
    return 1_000 * len(thousands)


def _nodes(plan: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield plan
    for each in plan.get("Plans", ()):
        yield from _nodes(each)


def _rows_of(node: dict[str, Any]) -> int:
    if node.get("Relation Name") not in (*LARGE_TABLES, "audit", "users"):
        return 0
    names = ("Actual Rows", "Rows Removed by Filter", "Rows Removed by Index Recheck")
    return int(node["Actual Loops"] * sum(node.get(name, 0) for name in names))
