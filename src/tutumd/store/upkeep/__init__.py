"""Counts, retention and checks, separate from calls and actions."""
