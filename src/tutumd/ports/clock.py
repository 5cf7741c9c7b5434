"""The clock that the server uses."""

from collections.abc import Callable
from datetime import datetime

Clock = Callable[[], datetime]
"""Returns the current time, in UTC with a time zone."""
