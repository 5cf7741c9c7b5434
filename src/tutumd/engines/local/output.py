"""Output files, which processes append to themselves, so that they do not need the server.

A process keeps its output file open. So a file that grew too large is copied and then emptied; since it was opened for
appending, the next line goes to the new beginning. Lines that are written between copy and cut are lost.
"""

import os
import shutil
from pathlib import Path

MAX_BYTES = 10 * 1024 * 1024
TAIL_BYTES = 256 * 1024


def rotate(path: Path, *, max_bytes: int = MAX_BYTES) -> None:
    """Move the content to `PATH.1` if the file is larger than `max_bytes`."""
    older = _older(path)
    copy = older.with_name(f"{older.name}.new")
    try:
        if path.stat().st_size <= max_bytes:
            return
        shutil.copyfile(path, copy)
        copy.replace(older)
    except FileNotFoundError:
        return  # its container is gone
    except OSError:
        copy.unlink(missing_ok=True)  # no room for the copy: cutting matters all the more
    os.truncate(path, 0)


def tail(path: Path, lines: int) -> list[str]:
    """Return the last lines, at most 256 KiB of them; none if there is no file."""
    last_lines = _last_lines(path, lines)
    if len(last_lines) < lines:
        last_lines = _last_lines(_older(path), lines - len(last_lines)) + last_lines
    return last_lines


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
    last_lines = content.decode(errors="replace").removesuffix("\n").split("\n")
    if start and len(last_lines) > 1:
        last_lines = last_lines[1:]  # probably the end of a line that began before
    return last_lines[-lines:] if content else []


def _older(path: Path) -> Path:
    return path.with_name(f"{path.name}.1")
