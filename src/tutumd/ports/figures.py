"""Reads the figures for monitoring."""

from typing import Protocol

from tutumd.model import Figures


class FigureReader(Protocol):
    """Reads the figures for monitoring."""

    def read(self) -> Figures:
        """Return the figures of this moment, within a few seconds.

        Raises:
            UnavailableError: The database cannot be read in that time.
        """
