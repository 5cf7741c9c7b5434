"""Files that compose copied into a container before its start: inline `configs:` and `secrets:`."""

import io
import json
import tarfile
from base64 import b64decode
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import docker.errors

from tutumd.engines.docker.host import Host
from tutumd.engines.docker.seen import Seen
from tutumd.engines.dockerapi import parse_time, translated
from tutumd.errors import EngineRefusedError
from tutumd.ports import Run

_MOST_PATHS = 500
_MOST_BYTES = 1024 * 1024
"""Swarm's limit for a config; compose has none."""
_LEEWAY = timedelta(seconds=2)
# Go's io/fs.FileMode: any of these bits makes it something other than a regular file.
_IRREGULAR = 0x8F280000


@dataclass(frozen=True, slots=True, kw_only=True)
class FileStat:
    """What the archive API tells about a path; `modified` with the full text of its fraction."""

    path: str
    size: int
    mode: int
    modified: str


def copy_inline_files(host: Host, old: Seen, new: str, run: Run) -> None:
    """Copy into the replacement what compose had copied into the old container; only for compose containers."""
    if old.compose is None:
        return
    for path in inline_candidates(host.added_files(old.id), _destinations(old)):
        stat = _stat(host, old.id, path)
        if stat is None or not is_inline(stat, old.created, old.started):
            continue
        if stat.size > _MOST_BYTES:
            raise EngineRefusedError(f"the inline file {path} of {old.name} has {stat.size} bytes: too many to copy")
        run.check()
        _put(host, new, path, _get(host, old.id, path))
        run.log(f"copied the inline file {path}")


def inline_candidates(paths: Sequence[str], destinations: Sequence[str]) -> tuple[str, ...]:
    """Return the added paths that could have come from compose: not in mounts, no parents of others, not too many."""
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


def _destinations(old: Seen) -> list[str]:
    return [mount["Destination"] for mount in old.raw.get("Mounts") or ()]


def _stat(host: Host, container: str, path: str) -> FileStat | None:
    api: Any = host.client
    with translated(f"look at {path} in {container[:12]}"):
        answer = api.head(api._url("/containers/{0}/archive", container), params={"path": path})
        header = answer.headers.get("X-Docker-Container-Path-Stat")
    if answer.status_code != 200 or not header:
        return None
    stat = json.loads(b64decode(header))
    return FileStat(path=path, size=stat["size"], mode=stat["mode"], modified=stat["mtime"])


def _get(host: Host, container: str, path: str) -> tuple[tarfile.TarInfo, bytes]:
    api: Any = host.client
    with translated(f"read {path} of {container[:12]}"):
        answer = api.get(api._url("/containers/{0}/archive", container), params={"path": path})
        api._raise_for_status(answer)
    with tarfile.open(fileobj=io.BytesIO(answer.content)) as archive:
        entry = archive.next()
        content = archive.extractfile(entry) if entry is not None else None
        if entry is None or content is None:
            raise EngineRefusedError(f"{path} of {container[:12]} is no file")
        return entry, content.read()


def _put(host: Host, container: str, path: str, file: tuple[tarfile.TarInfo, bytes]) -> None:
    api: Any = host.client
    entry, content = file
    entry.name = path.lstrip("/")
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as archive:
        archive.addfile(entry, io.BytesIO(content))
    with translated(f"write {path} into {container[:12]}"):
        try:
            api.put_archive(container, "/", out.getvalue())
        except docker.errors.NotFound as error:
            raise EngineRefusedError(f"cannot write {path} into {container[:12]}: {error.explanation}") from error
