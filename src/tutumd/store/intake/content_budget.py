"""How much content of deliveries is kept: a rate per handler, so that one URL does not fill the disk."""

from tutumd.store.intake.rate_limits import take_token

MAX_HANDLERS = 10_000
"""Handlers whose spending is remembered, about 100 bytes each."""

# In place of the content. `is_cut`: it cannot be redelivered.
REFUSED = '{"is_cut": true, "left_out": ["headers, query and body: the call was refused"]}'
TOO_MUCH = '{"is_cut": true, "left_out": ["headers, query and body: the handler got too much in a minute"]}'


class ContentBudget:
    """Bytes that are kept of each handler's calls within a minute, in the memory of this process."""

    def __init__(self, bytes_per_minute: int) -> None:
        self._bytes_per_minute = bytes_per_minute
        self._full_at: dict[int, int] = {}

    def spend(self, handler_seq: int, size: int, now_us: int) -> bool:
        """Spend bytes of a handler's budget, which refills evenly; return False if not as many are left."""
        full_at = self._full_at.get(handler_seq, 0)
        full_at, wait_us = take_token(full_at, now_us, self._bytes_per_minute, 60, size)
        if len(self._full_at) >= MAX_HANDLERS:
            self._full_at.clear()
        self._full_at[handler_seq] = full_at
        return not wait_us
