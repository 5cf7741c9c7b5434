"""How much content of deliveries is kept: a rate per handler, so that one URL does not fill the disk."""

MINUTE_US = 60 * 1_000_000
MAX_HANDLERS = 10_000
"""Handlers whose spending is remembered, about 100 bytes each."""

# In place of the content. `is_cut`: it cannot be redelivered.
REFUSED = '{"is_cut": true, "left_out": ["headers, query and body: the call was refused"]}'
TOO_MUCH = '{"is_cut": true, "left_out": ["headers, query and body: the handler got too much in a minute"]}'


class ContentBudget:
    """Bytes that are kept of each handler's calls within a minute, in the memory of this process."""

    def __init__(self, bytes_per_minute: int) -> None:
        self._us_per_byte = MINUTE_US / bytes_per_minute
        self._unspent_at: dict[int, float] = {}

    def spend(self, handler_seq: int, size: int, now_us: int) -> bool:
        """Spend bytes of a handler's budget, which refills evenly; return False if not as many are left."""
        unspent_at = self._unspent_at.get(handler_seq, 0)
        if not now_us < unspent_at <= now_us + MINUTE_US:  # unspent, or the clock was set back
            unspent_at = now_us
        unspent_at += size * self._us_per_byte
        if unspent_at > now_us + MINUTE_US:
            return False
        if len(self._unspent_at) >= MAX_HANDLERS:
            self._unspent_at.clear()
        self._unspent_at[handler_seq] = unspent_at
        return True
