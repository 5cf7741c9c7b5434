"""The command `tutumd`: the only place that reads settings and builds objects."""

from tutumd.main.commands import main

__all__ = ["main"]
