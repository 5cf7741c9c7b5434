"""Specifications of services: what is read from them, and the new ones made of them. Nothing is sent here."""

import copy
from collections.abc import Sequence
from enum import StrEnum
from typing import Any

from tutumd.engines.dockerapi import Json
from tutumd.engines.swarm.version import Version, version_of

STACK = "com.docker.stack.namespace"
STOPPED_REPLICAS = "tutum.stopped.replicas"
"""Label of a stopped service: how many replicas it had."""
_CONFIG = "UpdateConfig"
_NANO = 1_000_000_000
_STEPS = 4
"""An update without a setting of the user's own takes about this many steps."""
_MOST_DELAY_S = 45
"""What all pauses of one update may take together: our deadline ends an update that has not ended."""


class Mode(StrEnum):
    """How a service's number of tasks comes about."""

    REPLICATED = "replicated"
    GLOBAL = "global"
    JOB = "job"


def mode_of(spec: Json) -> Mode:
    """Read the mode. Absent means replicated."""
    mode: Json = spec.get("Mode") or {}
    if "ReplicatedJob" in mode or "GlobalJob" in mode:
        return Mode.JOB
    return Mode.GLOBAL if "Global" in mode else Mode.REPLICATED


def replicas_of(spec: Json) -> int:
    """Read how many tasks a replicated service shall have; absent means 1 (swarmkit: api/defaults)."""
    replicated: Json = (spec.get("Mode") or {}).get("Replicated") or {}
    number = replicated.get("Replicas")
    return 1 if number is None else int(number)


def is_stopped(spec: Json) -> bool:
    """Tell whether nothing of the service shall run."""
    return mode_of(spec) is Mode.REPLICATED and replicas_of(spec) == 0


def stopped_replicas(spec: Json) -> int:
    """Read how many replicas a stopped service had; 0 where nobody noted it."""
    text = (spec.get("Labels") or {}).get(STOPPED_REPLICAS, "")
    return int(text) if text.isascii() and text.isdigit() and len(text) <= 6 else 0


def version(spec: Json) -> Version:
    """Read which version the service is at."""
    return version_of(spec.get("TaskTemplate") or {})


def start_first_obstacle(spec: Json) -> str:
    """Say what forbids that a new task starts before the old one has stopped; empty where nothing does."""
    if mode_of(spec) is not Mode.REPLICATED:
        # moby/moby#37972: global, start-first and rollback together have lost the good task.
        return "the service is global"
    ports = (spec.get("EndpointSpec") or {}).get("Ports") or []
    if any(port.get("PublishMode") == "host" for port in ports):
        # moby/moby#36934: the new task would wait for ever for the old one's port.
        return "a port is published in host mode"
    container = (spec.get("TaskTemplate") or {}).get("ContainerSpec") or {}
    for mount in container.get("Mounts") or []:
        if mount.get("Type") not in ("tmpfs", "image") and not mount.get("ReadOnly"):
            return f"two tasks at once would write to the mount {mount.get('Target')}"
    return ""


def update_config(spec: Json, *, stable_s: float) -> dict[str, Any]:
    """Make the UpdateConfig of one redeploy.

    Parallelism and Delay stay the user's where set, the latter within what our deadline leaves. Else the tasks are
    replaced in about four steps with `stable_s` between them, so that an image that dies soon after its start
    takes no more than one step's tasks. RollbackConfig is not ours to choose: an automatic rollback goes by that
    of the specification it returns to (swarmkit: manager/orchestrator/update/updater.go `Run`).
    """
    given: Json = spec.get(_CONFIG) or {}
    replicas = replicas_of(spec)
    parallelism = int(given.get("Parallelism", -(-replicas // _STEPS) or 1))
    steps = -(-replicas // parallelism) if parallelism else 1
    if mode_of(spec) is not Mode.REPLICATED:
        steps = _STEPS
    own_delay = int(stable_s * _NANO) if 1 < steps <= _STEPS else 0
    return {
        "Parallelism": parallelism,
        "Delay": min(int(given.get("Delay") or own_delay), _MOST_DELAY_S * _NANO // max(steps, 1)),
        "FailureAction": "rollback",
        "Monitor": int(stable_s * _NANO),
        "MaxFailureRatio": 0,
        "Order": "stop-first" if start_first_obstacle(spec) else "start-first",
    }


def redeploy_spec(spec: Json, target: Version, config: Json, platforms: Sequence[Json] | None) -> dict[str, Any]:
    """Make the specification that replaces every task by one of `target`, with `config` as its UpdateConfig.

    Args:
        platforms: What the image was built for, so that no task lands where it cannot run; None changes nothing.
    """
    new = with_version(spec, target)
    new[_CONFIG] = dict(config)
    if platforms:
        placement = new["TaskTemplate"].setdefault("Placement", {})
        placement["Platforms"] = [dict(platform) for platform in platforms]
    return new


def undo_spec(spec: Json, before: Json, config: Json) -> dict[str, Any]:
    """Make the specification that brings the old version back, keeping what others changed meanwhile.

    The update that undoes goes on whatever happens: a half undone one helps nobody.
    """
    new = with_version(spec, version(before))
    template = before.get("TaskTemplate") or {}
    if "Placement" in template or "Placement" in new["TaskTemplate"]:
        placement = new["TaskTemplate"].setdefault("Placement", {})
        old = (template.get("Placement") or {}).get("Platforms")
        placement.pop("Platforms", None)
        if old is not None:
            placement["Platforms"] = old
        if not placement and "Placement" not in template:
            del new["TaskTemplate"]["Placement"]
    new[_CONFIG] = undo_config(config)
    return new


def undo_config(config: Json) -> dict[str, Any]:
    """Make the UpdateConfig of the update that undoes one sent with `config`."""
    return {**config, "FailureAction": "continue", "Delay": 0}


def with_version(spec: Json, target: Version) -> dict[str, Any]:
    """Make the same specification at another version."""
    new: dict[str, Any] = copy.deepcopy(dict(spec))
    new["TaskTemplate"]["ContainerSpec"]["Image"] = target.image
    new["TaskTemplate"]["ForceUpdate"] = target.force
    return new


def with_config_of(spec: Json, before: Json) -> dict[str, Any]:
    """Make the same specification with the UpdateConfig of `before`, absent where absent there."""
    new: dict[str, Any] = copy.deepcopy(dict(spec))
    new.pop(_CONFIG, None)
    if _CONFIG in before:
        new[_CONFIG] = copy.deepcopy(before[_CONFIG])
    return new


def has_config(spec: Json, config: Json | None) -> bool:
    """Tell whether the specification has that UpdateConfig; None: none at all."""
    return _set(spec.get(_CONFIG)) == _set(config)


def config_of(spec: Json) -> Json | None:
    """Read the UpdateConfig."""
    config: Json | None = spec.get(_CONFIG)
    return config


def remembered(spec: Json) -> dict[str, Any]:
    """Pick what a redeploy changes, to put it back: never the environment, which may hold secrets."""
    template: Json = spec["TaskTemplate"]
    kept: dict[str, Any] = {
        "ContainerSpec": {"Image": template["ContainerSpec"]["Image"]},
        "ForceUpdate": template.get("ForceUpdate", 0),
    }
    if "Placement" in template:
        platforms = (template["Placement"] or {}).get("Platforms")
        kept["Placement"] = {} if platforms is None else {"Platforms": platforms}
    picked: dict[str, Any] = {"TaskTemplate": kept}
    if _CONFIG in spec:
        picked[_CONFIG] = spec[_CONFIG]
    return copy.deepcopy(picked)


def with_replicas(spec: Json, replicas: int, *, noted: int | None = None) -> dict[str, Any]:
    """Make the same specification with another number of replicas; `noted` goes to the label of a stopped service."""
    new: dict[str, Any] = copy.deepcopy(dict(spec))
    new["Mode"] = {"Replicated": {"Replicas": replicas}}
    labels = new.get("Labels") or {}
    labels.pop(STOPPED_REPLICAS, None)
    if noted is not None:
        labels[STOPPED_REPLICAS] = str(noted)
    new["Labels"] = labels
    return new


def _set(config: Json | None) -> dict[str, Any] | None:
    # The engine leaves out what is zero.
    return None if config is None else {name: value for name, value in config.items() if value}
