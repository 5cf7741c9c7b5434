"""Files in the data folder that hold one key each and that only their owner can read."""

import contextlib
import os
from collections.abc import Callable
from pathlib import Path
from tempfile import NamedTemporaryFile


def read_or_create(path: Path, make_key: Callable[[], str]) -> str:
    """Return the key in a file, which is created if it does not exist.

    The file appears as a whole. If several processes create it at once, all return the first one's key.
    """
    if not path.exists():
        with NamedTemporaryFile("w", encoding="ascii", dir=path.parent, prefix=path.name) as file:  # mode 0600
            file.write(make_key() + "\n")
            file.flush()
            os.fsync(file.fileno())
            with contextlib.suppress(FileExistsError):
                path.hardlink_to(file.name)
    return path.read_text(encoding="ascii", errors="replace").strip()
