"""Decisions about a call that need no database: whether to trust it, and what to do for it."""
