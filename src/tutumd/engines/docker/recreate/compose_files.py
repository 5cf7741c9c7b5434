"""Copying into a replacement the files that compose had copied into the old container."""

from tutumd.engines.docker.api import DockerApi
from tutumd.engines.docker.inline import inline_candidates, is_inline
from tutumd.engines.docker.inspect.inspected_container import InspectedContainer
from tutumd.errors import EngineRefusedError
from tutumd.ports import Run

_MOST_BYTES = 1024 * 1024
"""Swarm's limit for a config; compose has none."""


def copy_inline_files(host: DockerApi, old: InspectedContainer, new: str, run: Run) -> None:
    """Replica inline configs and secrets from `old` into the container `new`; only for compose containers.

    Raises:
        EngineRefusedError: one cannot be copied.
    """
    if old.compose is None:
        return
    destinations = [mount["Destination"] for mount in old.raw.get("Mounts") or ()]
    for path in inline_candidates(host.changed_files(old.id), destinations):
        stat = host.file_stat(old.id, path)
        if stat is None or not is_inline(stat, old.created, old.started):
            continue
        if stat.size > _MOST_BYTES:
            raise EngineRefusedError(f"the inline file {path} of {old.name} has {stat.size} bytes: too many to copy")
        archive = host.read_file(old.id, path)
        made = host.container(new)
        if made is None or made.created is None:
            raise EngineRefusedError(f"the container {new[:12]} was removed by somebody else")
        run.check()
        # The time tells such a file from others at the next redeploy, so it must be of this container's making.
        host.write_file(new, path, archive, modified=made.created)
        run.log(f"copied the inline file {path}")
