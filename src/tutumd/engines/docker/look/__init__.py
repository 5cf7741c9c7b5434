"""Reads: the engine's objects, and the services that tutumd derives from them."""
