"""Replacement of containers, one step at a time, resumable after any of them."""
