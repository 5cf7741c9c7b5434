"""Lock files in the data folder, which keep other servers out."""

import fcntl
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tutumd.errors import SettingsError
from tutumd.main.key_files import open_private

_POLL_S = 0.05


@contextmanager
def locked(path: Path, hint: str, *, exclusive: bool, wait_s: float = 0.0) -> Iterator[int]:
    """Hold a lock file. Its folder is created if it does not exist, and then only its owner can read it.

    Args:
        wait_s: How long to wait for another process that ends.

    Yields:
        The file descriptor. A process that inherits it holds the lock, too, until it ends.

    Raises:
        SettingsError: The folder cannot be used, or another process holds the lock; then the text is `hint`.
    """
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        file = open(path, "a", opener=open_private)  # noqa: SIM115 (closed below)
    except OSError as error:
        raise SettingsError(f"the data folder {path.parent} cannot be used: {error.strerror}") from error
    with file:
        deadline = time.monotonic() + wait_s
        while True:
            try:
                fcntl.flock(file, (fcntl.LOCK_EX if exclusive else fcntl.LOCK_SH) | fcntl.LOCK_NB)
                break
            except OSError:
                if time.monotonic() >= deadline:
                    raise SettingsError(hint) from None
            time.sleep(_POLL_S)
        yield file.fileno()
