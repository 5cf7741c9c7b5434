"""Specifications of services: what is read from them, and the new ones made of them. Nothing is sent here."""

import copy
from collections.abc import Collection, Mapping, Sequence
from enum import StrEnum
from typing import Any

from tutumd.engines.labels import STOPPED_REPLICAS, Json, read_stopped
from tutumd.engines.swarm import environment
from tutumd.engines.swarm.version import Version, version_of

STACK = "com.docker.stack.namespace"
_CONFIG = "UpdateConfig"
_NANO = 1_000_000_000
_STEPS = 4
"""An update without a setting of the user's own takes about this many steps."""
_MOST_DELAY_S = 45
"""What all pauses of one update may take together: our deadline ends an update that has not ended."""
_MOST_DELAY_SHARE = 0.375
"""The same, of a deadline that the service's labels set."""


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


def has_health_check(spec: Json) -> bool:
    """Tell whether the specification itself, apart from the image, has a health check."""
    return is_health_check((_container(spec).get("Healthcheck") or {}).get("Test"))


def is_health_check(test: Sequence[str] | None) -> bool:
    """Tell whether the `Test` of a health check tests anything. `NONE` switches the image's off."""
    return bool(test) and test != ["NONE"]


def is_tty(spec: Json) -> bool:
    """Tell whether the service's output comes unframed."""
    return bool(_container(spec).get("TTY"))


def grace_s(spec: Json) -> float:
    """Read how long a container may take to stop, in seconds; absent means 10 (Docker: `--stop-grace-period`)."""
    given = _container(spec).get("StopGracePeriod")
    return 10.0 if given is None else int(given) / _NANO


def most_per_node(spec: Json) -> int:
    """Read how many tasks of the service one node may have; 0 means any number."""
    return int(((spec.get("TaskTemplate") or {}).get("Placement") or {}).get("MaxReplicas") or 0)


def completions_of(spec: Json) -> int | None:
    """Read how many tasks of a job shall end well; None: one on each node."""
    mode: Json = spec.get("Mode") or {}
    job: Json | None = mode.get("ReplicatedJob")
    if job is None:
        return None
    total = job.get("TotalCompletions", job.get("MaxConcurrent"))
    return 1 if total is None else int(total)


def is_stopped(spec: Json) -> bool:
    """Tell whether nothing of the service shall run."""
    return mode_of(spec) is Mode.REPLICATED and replicas_of(spec) == 0


def stopped_replicas(spec: Json) -> int:
    """Read how many replicas a stopped service had; 0 where nobody noted it."""
    return read_stopped(spec.get("Labels") or {})


def version(spec: Json) -> Version:
    """Read which version the service is at."""
    return version_of(spec.get("TaskTemplate") or {})


def service_labels(spec: Json) -> dict[str, str]:
    """Read the service's labels. They are the user's own: a specification never has labels of the image."""
    return dict(spec.get("Labels") or {})


def container_labels(spec: Json) -> dict[str, str]:
    """Read the labels that its containers get, beside those of the image."""
    return dict(_container(spec).get("Labels") or {})


def update_config(spec: Json, *, order: str, stable_s: float, deadline_s: float | None = None) -> dict[str, Any]:
    """Make the UpdateConfig of one redeploy.

    Parallelism and Delay stay the user's where set, the latter within what our deadline leaves. Else the tasks are
    replaced in about four steps with `stable_s` between them, so that an image that dies soon after its start
    takes no more than one step's tasks. RollbackConfig is not ours to choose: an automatic rollback goes by that
    of the specification it returns to (swarmkit: manager/orchestrator/update/updater.go `Run`).

    Args:
        order: `start-first` or `stop-first`.
        stable_s: How long a new task has to run before the next one's turn, and before the update counts.
        deadline_s: Seconds that the service's labels give to a redeploy; None: as many as any has.
    """
    given: Json = spec.get(_CONFIG) or {}
    replicas = replicas_of(spec)
    parallelism = int(given.get("Parallelism", -(-replicas // _STEPS) or 1))
    steps = -(-replicas // parallelism) if parallelism else 1
    if mode_of(spec) is not Mode.REPLICATED:
        steps = _STEPS
    own_delay = int(stable_s * _NANO) if 1 < steps <= _STEPS else 0
    most_delay_s = _MOST_DELAY_S if deadline_s is None else deadline_s * _MOST_DELAY_SHARE
    return {
        "Parallelism": parallelism,
        "Delay": min(int(given.get("Delay") or own_delay), int(most_delay_s * _NANO) // max(steps, 1)),
        "FailureAction": "rollback",
        "Monitor": int(stable_s * _NANO),
        "MaxFailureRatio": 0,
        "Order": str(order),
    }


def redeploy_spec(
    spec: Json,
    target: Version,
    config: Json | None,
    platforms: Sequence[Json] | None,
    variables: Mapping[str, str | None],
) -> dict[str, Any]:
    """Make the specification that replaces every task by one of `target`.

    Args:
        config: Its UpdateConfig; None for a job, which has none.
        platforms: What the image was built for, so that no task lands where it cannot run; None changes nothing.
    """
    new = with_version(spec, target)
    if config is not None:
        new[_CONFIG] = dict(config)
    if variables:
        container = new["TaskTemplate"]["ContainerSpec"]
        _set_env(container, environment.changed(container.get("Env") or (), variables))
    if platforms:
        placement = new["TaskTemplate"].setdefault("Placement", {})
        placement["Platforms"] = [dict(platform) for platform in platforms]
    return new


def undo_spec(spec: Json, before: Json, config: Json, names: Collection[str] = ()) -> dict[str, Any]:
    """Make the specification that brings the old version back, keeping what others changed meanwhile.

    The update that undoes goes on whatever happens: a half undone one helps nobody.

    Args:
        names: Of the variables that the redeploy set or took away.
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
    if names:
        container = new["TaskTemplate"]["ContainerSpec"]
        kept = template["ContainerSpec"]["Env"]
        _set_env(container, environment.restored(container.get("Env") or (), kept, names))
    new[_CONFIG] = undo_config(config)
    return new


def nudged_config(config: Json) -> dict[str, Any]:
    """Make an UpdateConfig that means the same, but is another one: it makes the engine look at the update anew."""
    return {**config, "Delay": config["Delay"] + 1}


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


def monitor_s(config: Json) -> float:
    """Read for how long the engine watches a new task, in seconds."""
    return int(config.get("Monitor") or 0) / _NANO


def remembered(spec: Json, names: Collection[str] = ()) -> dict[str, Any]:
    """Pick what a redeploy changes, to put it back: of the environment, which may hold secrets, only these names."""
    template: Json = spec["TaskTemplate"]
    kept: dict[str, Any] = {
        "ContainerSpec": {"Image": template["ContainerSpec"]["Image"]},
        "ForceUpdate": template.get("ForceUpdate", 0),
    }
    if names:
        kept["ContainerSpec"]["Env"] = [
            list(pair) for pair in environment.kept(template["ContainerSpec"].get("Env") or (), names)
        ]
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


def _container(spec: Json) -> Json:
    found: Json = (spec.get("TaskTemplate") or {}).get("ContainerSpec") or {}
    return found


def _set_env(container: dict[str, Any], env: list[str]) -> None:
    # The engine leaves out an empty one.
    container.pop("Env", None)
    if env:
        container["Env"] = env


def _set(config: Json | None) -> dict[str, Any] | None:
    # The engine leaves out what is zero.
    return None if config is None else {name: value for name, value in config.items() if value}
