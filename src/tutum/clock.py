"""The clock of a client. Tests give one on which only `sleep` takes time."""

from typing import Protocol


class Clock(Protocol):
    """Monotonic time and waiting, as the module `time` provides them."""

    def monotonic(self) -> float:
        """Return seconds since a fixed moment."""

    def sleep(self, seconds: float, /) -> None:
        """Wait."""
