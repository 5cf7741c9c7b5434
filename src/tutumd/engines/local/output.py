"""What processes write: files that they append to themselves, so that none needs the server to be there.

A file that grew too large is copied and then emptied, since a process keeps its file open: it was opened for
appending, so the next line is written at the new beginning. What is written between copy and cut is lost.
"""

import os
import shutil
from pathlib import Path

MAX_BYTES = 10 * 1024 * 1024
TAIL_BYTES = 256 * 1024


def rotate(path: Path, *, max_bytes: int = MAX_BYTES) -> bool:
    """Move the content to `….1` where the file is larger than `max_bytes`; say whether that was so."""
    try:
        size = path.stat().st_size
    except FileNotFoundError:
        return False
    if size <= max_bytes:
        return False
    older = _older(path)
    copy = older.with_name(f"{older.name}.new")
    try:
        shutil.copyfile(path, copy)
        copy.replace(older)
    except FileNotFoundError:
        return False
    except OSError:
        copy.unlink(missing_ok=True)  # no room for the copy: then it is all the more important to cut
    os.truncate(path, 0)
    return True


def tail(path: Path, lines: int) -> list[str]:
    """Read the last lines, at most 256 KiB of them; none where there is no file."""
    found = _last_lines(path, lines)
    if len(found) < lines:
        found = _last_lines(_older(path), lines - len(found)) + found
    return found


def _last_lines(path: Path, lines: int) -> list[str]:
    if lines <= 0:
        return []
    try:
        with path.open("rb") as file:
            start = max(0, file.seek(0, os.SEEK_END) - TAIL_BYTES)
            file.seek(start)
            content = file.read(TAIL_BYTES)
    except FileNotFoundError:
        return []
    found = content.decode(errors="replace").removesuffix("\n").split("\n")
    if start and len(found) > 1:
        found = found[1:]  # most likely the rest of a line that began earlier
    return found[-lines:] if content else []


def _older(path: Path) -> Path:
    return path.with_name(f"{path.name}.1")
