"""Counts, retention and checks, apart from calls and actions."""
