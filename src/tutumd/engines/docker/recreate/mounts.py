"""Volumes of a replacement: those of the old container, anonymous ones by their generated names."""

import posixpath
import re
from collections.abc import Collection, Mapping
from typing import Any

from tutumd.engines.labels import Json

# Name of an anonymous volume.
GENERATED_NAME = re.compile(r"[0-9a-f]{64}")


def carry_over_mounts(old: Json, inherited: Collection[str]) -> list[dict[str, Any]]:
    """Return HostConfig.Mounts for a replacement, so that anonymous volumes keep their content.

    A plain re-creation would create a new, empty volume for each VOLUME of the image, each `-v /path` and each mount
    without a source. Instead, the old volume is mounted by name; so is a volume that came through a VolumesFrom whose
    container is gone.

    Args:
        inherited: Destinations that come through VolumesFrom, and so must not be mounted a second time.
    """
    host: Json = old.get("HostConfig") or {}
    mounted = {mount["Destination"]: mount for mount in old.get("Mounts") or ()}
    listed = [_with_source(mount, mounted) for mount in host.get("Mounts") or ()]
    # A bind is `SOURCE:DESTINATION[:OPTIONS]`, or only a destination.
    binds = [bind.split(":")[1] if ":" in bind else bind for bind in host.get("Binds") or ()]
    given = [mount.get("Target", "") for mount in listed] + binds
    # The engine shows the mount of `-v /data/` at `/data`.
    taken = {posixpath.normpath(path) for path in given} | set(inherited)
    unlisted = [_as_request(mounted[destination]) for destination in sorted(mounted.keys() - taken)]
    return listed + [mount for mount in unlisted if mount["Source"]]


def fresh_mounts(mounts: Collection[Json]) -> list[dict[str, Any]]:
    """Return mounts for a replica, which gets anonymous volumes of its own instead of those of the first container."""
    volumes = [mount for mount in mounts if mount.get("Type") == "volume"]
    anonymous = [mount for mount in volumes if GENERATED_NAME.fullmatch(mount.get("Source") or "")]
    return [
        {field: value for field, value in mount.items() if field != "Source" or mount not in anonymous}
        for mount in mounts
    ]


def _with_source(mount: Json, mounted: Mapping[str, Json]) -> dict[str, Any]:
    volume = mounted.get(posixpath.normpath(mount.get("Target", ""))) or {}
    if mount.get("Type") == "volume" and not mount.get("Source") and volume.get("Name"):
        return {**mount, "Source": volume["Name"]}
    return dict(mount)


def _as_request(mount: Json) -> dict[str, Any]:
    """Convert a mount from the form that is shown to the one that is given; without a Source if that is impossible."""
    source = {"volume": mount.get("Name"), "bind": mount.get("Source")}.get(mount.get("Type", ""))
    return {
        "Type": mount.get("Type"),
        "Source": source or "",
        "Target": mount["Destination"],
        "ReadOnly": not mount.get("RW", True),
    }
