"""Volumes of a replacement: the old container's, the anonymous ones by their generated name."""

import posixpath
import re
from collections.abc import Collection, Mapping
from typing import Any

from tutumd.engines.labels import Json

_GENERATED = re.compile(r"[0-9a-f]{64}")


def carried_mounts(old: Json, inherited: Collection[str]) -> list[dict[str, Any]]:
    """Return HostConfig.Mounts for a replacement, so that anonymous volumes keep their content.

    A plain re-creation would make new, empty volumes for each VOLUME of the image, each `-v /path` and each mount
    without a source; here the old volume is mounted by name instead. So is what came through a VolumesFrom whose
    container is gone.

    Args:
        inherited: Destinations that come through VolumesFrom: the container must not carry those itself.
    """
    used = {one["Destination"]: one for one in old.get("Mounts") or ()}
    listed = [_with_source(mount, used) for mount in (old.get("HostConfig") or {}).get("Mounts") or ()]
    given = [mount.get("Target", "") for mount in listed] + [_destination(bind) for bind in _binds(old)]
    taken = {_clean(path) for path in given} | set(inherited)
    unlisted = [_mounted_again(used[destination]) for destination in sorted(used.keys() - taken)]
    return listed + [mount for mount in unlisted if mount["Source"]]


def fresh_mounts(mounts: Collection[Json]) -> list[dict[str, Any]]:
    """Return mounts for one more copy: volumes with a generated name are another container's own, so without them."""
    result = []
    for mount in mounts:
        generated = mount.get("Type") == "volume" and _GENERATED.fullmatch(mount.get("Source") or "")
        result.append({name: value for name, value in mount.items() if not (generated and name == "Source")})
    return result


def _with_source(mount: Json, used: Mapping[str, Json]) -> dict[str, Any]:
    volume = used.get(_clean(mount.get("Target", "")))
    if mount.get("Type") == "volume" and not mount.get("Source") and volume is not None and volume.get("Name"):
        return {**mount, "Source": volume["Name"]}
    return dict(mount)


def _mounted_again(mounted: Json) -> dict[str, Any]:
    """Turn a mount as it is shown into one as it is given; its source is empty where it cannot be given."""
    source = {"volume": mounted.get("Name"), "bind": mounted.get("Source")}.get(mounted.get("Type", ""))
    return {
        "Type": mounted.get("Type"),
        "Source": source or "",
        "Target": mounted["Destination"],
        "ReadOnly": not mounted.get("RW", True),
    }


def _binds(old: Json) -> tuple[str, ...]:
    return tuple((old.get("HostConfig") or {}).get("Binds") or ())


def _destination(bind: str) -> str:
    """Return where a bind `SOURCE:DESTINATION[:OPTIONS]` is mounted."""
    parts = bind.split(":")
    return parts[1] if len(parts) > 1 else parts[0]


def _clean(path: str) -> str:
    """Write a path as the engine shows it, since `-v /data/` is mounted at `/data`."""
    return posixpath.normpath(path)
