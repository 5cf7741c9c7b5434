"""Volumes of a replacement: the old container's, the anonymous ones by their generated name."""

import re
from collections.abc import Collection, Mapping
from typing import Any

from tutumd.engines.dockerapi import Json

_GENERATED = re.compile(r"[0-9a-f]{64}")


def carried_mounts(old: Json, old_image: Json, inherited: Collection[str]) -> list[dict[str, Any]]:
    """Return HostConfig.Mounts for a replacement, so that anonymous volumes keep their content.

    A plain re-creation would make new, empty volumes for each VOLUME of the image, each `-v /path` and each mount
    without a source; here the old volume is mounted by name instead.

    Args:
        inherited: Destinations that come through VolumesFrom: the container must not carry those itself.
    """
    used = {one["Destination"]: one for one in old.get("Mounts") or () if one.get("Type") == "volume"}
    listed = [_with_source(mount, used) for mount in (old.get("HostConfig") or {}).get("Mounts") or ()]
    taken = {mount.get("Target") for mount in listed} | {_destination(bind) for bind in _binds(old)} | set(inherited)
    anonymous = _volumes(old.get("Config")) | _volumes(old_image.get("Config"))
    for destination in sorted(anonymous - taken):
        volume = used.get(destination)
        if volume is not None and volume.get("Name"):
            listed.append(
                {
                    "Type": "volume",
                    "Source": volume["Name"],
                    "Target": destination,
                    "ReadOnly": not volume.get("RW", True),
                }
            )
    return listed


def fresh_mounts(mounts: Collection[Json]) -> list[dict[str, Any]]:
    """Return mounts for one more copy: volumes with a generated name are another container's own, so without them."""
    result = []
    for mount in mounts:
        generated = mount.get("Type") == "volume" and _GENERATED.fullmatch(mount.get("Source") or "")
        result.append({name: value for name, value in mount.items() if not (generated and name == "Source")})
    return result


def _with_source(mount: Json, used: Mapping[str, Json]) -> dict[str, Any]:
    volume = used.get(mount.get("Target", ""))
    if mount.get("Type") == "volume" and not mount.get("Source") and volume is not None and volume.get("Name"):
        return {**mount, "Source": volume["Name"]}
    return dict(mount)


def _binds(old: Json) -> tuple[str, ...]:
    return tuple((old.get("HostConfig") or {}).get("Binds") or ())


def _destination(bind: str) -> str:
    """Return where a bind `SOURCE:DESTINATION[:OPTIONS]` is mounted."""
    parts = bind.split(":")
    return parts[1] if len(parts) > 1 else parts[0]


def _volumes(config: Json | None) -> set[str]:
    return set((config or {}).get("Volumes") or ())
