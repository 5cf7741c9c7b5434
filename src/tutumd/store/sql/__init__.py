"""Connections, transactions, turns, wake-ups and faults, on SQLite and PostgreSQL."""
