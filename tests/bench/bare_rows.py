"""A client of PostgreSQL that commits one bare row per transaction: the most that one connection of callers can get."""

import time

import psycopg

_ADDRESS, _AGENT = "192.0.2.1", "bench"


def commits_per_s(database: str, seconds: float) -> float:
    """Insert rows as small as a delivery's, each in a transaction of its own."""
    with psycopg.connect(database, autocommit=True, prepare_threshold=0) as connection:
        connection.execute(
            "CREATE TABLE IF NOT EXISTS bare_rows (seq bigserial PRIMARY KEY, at bigint, address text, agent text)"
        )
        began, made = time.monotonic(), 0
        while time.monotonic() - began < seconds:
            values = (time.time_ns() // 1000, _ADDRESS, _AGENT)
            connection.execute("INSERT INTO bare_rows (at, address, agent) VALUES (%s, %s, %s)", values)
            made += 1
        return made / (time.monotonic() - began)
