"""The process's memory allocator."""

import ctypes
import os

_M_ARENA_MAX = -8
_MAX_ARENAS = 2


def limit_arenas() -> None:
    """Let glibc allocate from few arenas, unless its own variable says otherwise. Call this before threads start.

    By default it makes up to eight for each core. Each keeps what its threads once had in use: with the pages that
    SQLite's connections read and free all the time, a server grew by 10 MB a minute. mallopt(3).
    """
    if "MALLOC_ARENA_MAX" not in os.environ and hasattr(libc := ctypes.CDLL(None), "mallopt"):
        libc.mallopt(_M_ARENA_MAX, _MAX_ARENAS)
