"""Reads: what the engine has, and how tutumd sees it."""
