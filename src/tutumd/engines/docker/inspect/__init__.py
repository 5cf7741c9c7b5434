"""Containers as the engine shows them, sorted into services."""
