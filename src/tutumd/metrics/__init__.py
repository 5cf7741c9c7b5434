"""Metrics for Prometheus: what an edge counts, what the database knows, and how both are written."""
