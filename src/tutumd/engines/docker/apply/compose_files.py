"""Files that Compose copied into a container before its start: inline `configs:` and `secrets:`."""

import io
import tarfile
from collections.abc import Sequence
from datetime import datetime, timedelta

from tutumd.engines.docker.api import DockerApi
from tutumd.engines.docker.look.containers import InspectedContainer
from tutumd.engines.dockerapi.documents import parse_time
from tutumd.engines.labels import Json
from tutumd.errors import EngineRefusedError
from tutumd.ports import Run

# Swarm's limit for a config; Compose has none.
_MAX_BYTES = 1024 * 1024
_MAX_PATHS = 500
_TOLERANCE = timedelta(seconds=2)


def copy_compose_files(api: DockerApi, old: InspectedContainer, new: InspectedContainer, run: Run) -> None:
    """Copy inline configs and secrets from a Compose container into the new container.

    Raises:
        EngineRefusedError: A file cannot be copied.
    """
    if old.compose is None or new.created is None:
        return
    for path in candidate_paths(
        api.changed_files(old.id), [mount["Destination"] for mount in old.raw.get("Mounts") or ()]
    ):
        stat = api.file_stat(old.id, path)
        if stat is None or not is_compose_file(stat, old.created, old.started):
            continue
        if stat["size"] > _MAX_BYTES:
            raise EngineRefusedError(
                f"cannot copy the inline file {path} of {old.name}: it has {stat['size']} bytes, more than {_MAX_BYTES}"
            )
        # The next redeploy recognizes the file by this time.
        api.write_files(new.id, _with_time(api.read_file(old.id, path), path, new.created), run)
        run.log(f"copied the inline file {path}")


def candidate_paths(paths: Sequence[str], destinations: Sequence[str]) -> tuple[str, ...]:
    """Return the changed paths that Compose may have written: at most 500, none in a mount, no parent folders.

    Args:
        destinations: Destinations of the container's mounts.
    """
    parents = {path.rpartition("/")[0] for path in paths}
    folders = tuple(f"{top.rstrip('/')}/" for top in destinations)
    leaves = [path for path in paths if path not in parents and not f"{path}/".startswith(folders)]
    return tuple(sorted(leaves, key=lambda path: not path.startswith("/run/secrets/"))[:_MAX_PATHS])


def is_compose_file(stat: Json, created: datetime | None, started: datetime | None) -> bool:
    """Return True if Compose wrote the file between the creation and the start of the container.

    docker/compose pkg/compose/secrets.go: the tar header carries that time in whole seconds. The time of a file that a
    process wrote almost always has a fraction.
    """
    modified = parse_time(stat["mtime"])
    # Go's io/fs.FileMode: with any of these bits it is not a regular file.
    if stat["mode"] & 0x8F280000 or modified is None or created is None or "." in stat["mtime"]:
        return False
    return created - _TOLERANCE <= modified <= (started or modified) + _TOLERANCE


def _with_time(archive: bytes, path: str, modified: datetime) -> bytes:
    """Return an archive with one file for the same path, with this time in whole seconds."""
    copy = io.BytesIO()
    with tarfile.open(fileobj=io.BytesIO(archive)) as source, tarfile.open(fileobj=copy, mode="w") as target:
        entry = source.next()
        if entry is None or not entry.isreg():
            raise EngineRefusedError(f"cannot copy the inline file {path}: it is not a regular file")
        entry.name, entry.mtime = path.lstrip("/"), int(modified.timestamp())
        entry.pax_headers = {}
        target.addfile(entry, source.extractfile(entry))
    return copy.getvalue()
