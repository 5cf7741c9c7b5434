"""Decisions about a call that need no database: whether to trust the call, and what it does."""
