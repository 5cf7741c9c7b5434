"""Decisions: what a redeploy replaces, and the create requests of the new containers."""
