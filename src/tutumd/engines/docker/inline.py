"""Which files of a container compose copied into it before its start: inline `configs:` and `secrets:`."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from tutumd.engines.dockerapi.times import parse_time

_MOST_PATHS = 500
_LEEWAY = timedelta(seconds=2)
# Go's io/fs.FileMode: any of these bits makes it something other than a regular file.
_IRREGULAR = 0x8F280000


@dataclass(frozen=True, slots=True, kw_only=True)
class FileStat:
    """What the archive API tells about a path; `modified` is its text, in which whole seconds have no fraction."""

    path: str
    size: int
    mode: int
    modified: str


def inline_candidates(paths: Sequence[str], destinations: Sequence[str]) -> tuple[str, ...]:
    """Return the changed paths that could have come from compose: not in mounts, no folders of others, at most 500.

    Args:
        destinations: Where the container's mounts are.
    """
    parents = {path.rpartition("/")[0] for path in paths}
    own = [path for path in paths if path not in parents and not any(_below(path, one) for one in destinations)]
    first = sorted(own, key=lambda path: not path.startswith("/run/secrets/"))
    return tuple(first[:_MOST_PATHS])


def is_inline(stat: FileStat, created: datetime | None, started: datetime | None) -> bool:
    """Tell whether compose put a file there, between creating and starting the container.

    docker/compose pkg/compose/secrets.go: the tar header's time is that moment in whole seconds, which a file that
    a process wrote all but never has.
    """
    modified = parse_time(stat.modified)
    if stat.mode & _IRREGULAR or modified is None or created is None or "." in stat.modified:
        return False
    return created - _LEEWAY <= modified <= (started or modified) + _LEEWAY


def _below(path: str, destination: str) -> bool:
    return path == destination or path.startswith(destination.rstrip("/") + "/")
