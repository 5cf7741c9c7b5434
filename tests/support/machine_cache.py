"""Files that are expensive to make, made once on a machine and shared by all runs and workers."""

import contextlib
import fcntl
import os
import shutil
import signal
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

_KEPT = 3
"""Of each kind, so that the cache of a machine that builds every day stays small."""


def made_once(kind: str, key: str, make: Callable[[Path], None]) -> Path:
    """Return the folder of this kind and key. Where there is none, `make` fills it; whoever comes meanwhile waits.

    A folder that is there is complete: it gets its name when `make` has returned. What a killed run left is removed.
    The time limit of the test stands still meanwhile, so everything in `make` needs one of its own.

    Args:
        kind: Such as `wheels`. One of each is made at a time.
        key: Stands for everything that the content depends on.
        make: Gets an empty folder.
    """
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "tutumd-tests"
    cache.mkdir(parents=True, exist_ok=True)
    folder = cache / f"{kind}-{key}"
    with (cache / f"{kind}.lock").open("w") as lock, _time_limit_suspended():
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not folder.exists():
            for left in cache.glob(f".{kind}-*"):
                shutil.rmtree(left, ignore_errors=True)
            made = Path(tempfile.mkdtemp(prefix=f".{kind}-", dir=cache))
            made.chmod(0o755)
            make(made)
            made.rename(folder)
        os.utime(folder)
        for old in sorted(cache.glob(f"{kind}-*"), key=lambda path: path.stat().st_mtime)[:-_KEPT]:
            shutil.rmtree(old, ignore_errors=True)
    return folder


@contextlib.contextmanager
def _time_limit_suspended() -> Iterator[None]:
    """Stop the timer with which pytest-timeout ends the test; it goes on afterwards."""
    left_s, _ = signal.setitimer(signal.ITIMER_REAL, 0)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, left_s)
