"""Specifications of services: reading them, and making new ones from them. Nothing is sent here."""

import copy
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, cast

from tutumd.engines.labels import (
    IGNORE,
    IMAGE_ROLLED_BACK,
    IMAGE_TAGGED,
    STOPPED_REPLICAS,
    Json,
    ServiceLabels,
    is_true,
    parse_labels,
    written_number,
)
from tutumd.engines.rollout import restore_variables, set_variables, store_variables, with_changes
from tutumd.model import RunLimits

STACK = "com.docker.stack.namespace"
UPDATE_CONFIG = "UpdateConfig"
NANO = 1_000_000_000
# Approximate number of steps of an update without the user's own settings.
_STEPS = 4
# Pause between two steps of a probed image as a share of `stable_s`.
_PROBED_PAUSE_SHARE = 1 / 3
# Limit for all pauses of one update as a share of its time limit, after which it would be undone.
_MAX_DELAY_SHARE = 0.375


@dataclass(frozen=True, slots=True)
class Version:
    """The version of a service: the image, and a counter that distinguishes two updates to the same image."""

    image: str
    force: int


def version_of(template: Json) -> Version:
    """Return the version in a service's TaskTemplate or in a task's Spec."""
    return Version(
        image=str((template.get("ContainerSpec") or {}).get("Image") or ""), force=int(template.get("ForceUpdate") or 0)
    )


class Mode(StrEnum):
    """The mode, which determines the number of a service's tasks."""

    REPLICATED = "replicated"
    GLOBAL = "global"
    JOB = "job"


def mode_of(spec: Json) -> Mode:
    """Return the mode. Absent means replicated."""
    mode: Json = spec.get("Mode") or {}
    if "ReplicatedJob" in mode or "GlobalJob" in mode:
        return Mode.JOB
    return Mode.GLOBAL if "Global" in mode else Mode.REPLICATED


def replicas_of(spec: Json) -> int:
    """Return the replicas of a replicated service; absent means 1 (swarmkit: api/defaults)."""
    return int(((spec.get("Mode") or {}).get("Replicated") or {}).get("Replicas", 1))


def completions_of(spec: Json) -> int | None:
    """Return how many tasks of a job must complete; None means one task on each node."""
    job: Json | None = (spec.get("Mode") or {}).get("ReplicatedJob")
    return None if job is None else int(job.get("TotalCompletions", job.get("MaxConcurrent", 1)))


def is_stopped(spec: Json) -> bool:
    """Return whether the service should have no task."""
    return mode_of(spec) is Mode.REPLICATED and replicas_of(spec) == 0


def replicas_before_stop(spec: Json) -> int:
    """Return the replicas that a stopped service had; 0 if no label has them."""
    return written_number(spec.get("Labels") or {}, STOPPED_REPLICAS)


def container_spec(spec: Json) -> Json:
    """Return the ContainerSpec; empty if there is none."""
    return cast(Json, (spec.get("TaskTemplate") or {}).get("ContainerSpec") or {})


def grace_s(spec: Json) -> float:
    """Return the seconds that a container may take to stop; absent means 10 (Docker: `--stop-grace-period`)."""
    return int(container_spec(spec).get("StopGracePeriod", 10 * NANO)) / NANO


def max_per_node(spec: Json) -> int:
    """Return how many tasks of the service one node may have; 0 means any number."""
    return int(((spec.get("TaskTemplate") or {}).get("Placement") or {}).get("MaxReplicas") or 0)


def version(spec: Json) -> Version:
    """Return the version of the service."""
    return version_of(spec.get("TaskTemplate") or {})


def label_sets(spec: Json) -> tuple[dict[str, str], dict[str, str]]:
    """Return the labels of the service, and the labels of its containers. Neither includes labels of the image."""
    return dict(spec.get("Labels") or {}), dict(container_spec(spec).get("Labels") or {})


def is_shown(spec: Json) -> bool:
    """Return whether a service consists of containers and is not ignored by its label."""
    return bool(container_spec(spec)) and not any(is_true(labels.get(IGNORE)) for labels in label_sets(spec))


def read_labels(spec: Json) -> ServiceLabels:
    """Return the configuration in the labels: labels of the service override labels of its containers."""
    service, containers = label_sets(spec)
    return parse_labels([{**containers, **service}])


def update_config(
    spec: Json,
    *,
    order: str,
    stable_s: float,
    timeout_s: float = RunLimits().timeout_s,
    is_probed: bool = False,
) -> dict[str, Any]:
    """Return the UpdateConfig of one redeploy.

    The user's Parallelism and Delay are kept, the Delay within the time limit. By default the tasks are replaced in
    about four steps with a pause between them, so that an image that crashes soon after its start takes down the tasks
    of one step at most. An automatic rollback follows the RollbackConfig of the specification to which it returns
    (swarmkit: manager/orchestrator/update/updater.go `Run`), so none is set here.

    Args:
        order: `start-first` or `stop-first`.
        stable_s: Seconds that a new task must run before the next step, and before the update counts.
        timeout_s: Maximum duration of the redeploy in seconds.
        is_probed: Whether a probe of the image has run for `stable_s` before. It shows nothing about requests to the
            image.
    """
    given: Json = spec.get(UPDATE_CONFIG) or {}
    replicas = replicas_of(spec)
    parallelism = int(given.get("Parallelism", -(-replicas // _STEPS) or 1))
    steps = -(-replicas // parallelism) if parallelism else 1
    if mode_of(spec) is not Mode.REPLICATED:
        steps = _STEPS
    default_delay = (
        int((stable_s * _PROBED_PAUSE_SHARE if is_probed else stable_s) * NANO) if 1 < steps <= _STEPS else 0
    )
    return {
        "Parallelism": parallelism,
        "Delay": min(
            int(given.get("Delay") or default_delay), int(timeout_s * _MAX_DELAY_SHARE * NANO) // max(steps, 1)
        ),
        "FailureAction": "rollback",
        "Monitor": int(stable_s * NANO),
        "MaxFailureRatio": 0,
        "Order": str(order),
    }


def nudged_config(config: Json) -> dict[str, Any]:
    """Return an equivalent UpdateConfig that differs, so that the engine starts its update again."""
    return {**config, "Delay": config["Delay"] + 1}


def rollback_config(config: Json) -> dict[str, Any]:
    """Return the UpdateConfig for rolling back an update with `config`."""
    return {**config, "FailureAction": "continue", "Delay": 0}


def has_config(spec: Json, config: Json | None) -> bool:
    """Return whether the specification has that UpdateConfig; None means no UpdateConfig."""
    return _without_zeros(spec.get(UPDATE_CONFIG)) == _without_zeros(config)


def redeploy_spec(
    spec: Json,
    new: Version,
    config: Json | None,
    platforms: Sequence[Json] | None,
    variables: Mapping[str, str | None],
    labels: Mapping[str, str | None],
) -> dict[str, Any]:
    """Return the specification that replaces every task by a task of the new version.

    Args:
        config: The UpdateConfig; None for a job, which has none.
        platforms: Platforms of the image, so that no task lands on a node that cannot run it; None changes nothing.
        labels: Labels of the service to set; None removes a label.
    """
    made = _with_version(spec, new, labels)
    if config is not None:
        made[UPDATE_CONFIG] = dict(config)
    if variables:
        set_variables(
            made["TaskTemplate"]["ContainerSpec"],
            "Env",
            {name: None if text is None else f"{name}={text}" for name, text in variables.items()},
        )
    if platforms:
        made["TaskTemplate"].setdefault("Placement", {})["Platforms"] = [dict(platform) for platform in platforms]
    return made


def rollback_spec(spec: Json, before: Json, config: Json, names: Collection[str] = ()) -> dict[str, Any]:
    """Return the specification with the old version, keeping the changes of others in the meantime.

    The rollback continues after failures, because a half-done rollback helps nobody.

    Args:
        before: Result of `stored_parts`.
        names: Names of the variables that the redeploy set or removed.
    """
    made = _with_version(spec, version(before), before.get("Labels") or {})
    template = before.get("TaskTemplate") or {}
    present = made["TaskTemplate"].pop("Placement", None) or {}
    others = {name: value for name, value in present.items() if name != "Platforms"}
    if others or "Placement" in template:
        made["TaskTemplate"]["Placement"] = {**others, **template.get("Placement", {})}
    if names:
        restore_variables(made["TaskTemplate"]["ContainerSpec"], "Env", template["ContainerSpec"]["Env"], names)
    made[UPDATE_CONFIG] = rollback_config(config)
    return made


def stored_parts(spec: Json, names: Collection[str] = ()) -> dict[str, Any]:
    """Return the parts that a redeploy changes, for its rollback. Of the environment, only `names` are stored with
    values.
    """
    template: Json = spec["TaskTemplate"]
    parts: dict[str, Any] = {
        "ContainerSpec": {"Image": template["ContainerSpec"]["Image"]},
        "ForceUpdate": template.get("ForceUpdate", 0),
    }
    if names:
        parts["ContainerSpec"]["Env"] = store_variables(template["ContainerSpec"], "Env", names)
    if "Placement" in template:
        platforms = (template["Placement"] or {}).get("Platforms")
        parts["Placement"] = {} if platforms is None else {"Platforms": platforms}
    config = {UPDATE_CONFIG: spec[UPDATE_CONFIG]} if UPDATE_CONFIG in spec else {}
    labels = {name: label_sets(spec)[0].get(name) for name in (IMAGE_TAGGED, IMAGE_ROLLED_BACK)}
    return copy.deepcopy({"TaskTemplate": parts, **config, "Labels": labels})


def with_config_of(spec: Json, before: Json) -> dict[str, Any]:
    """Return the specification with the UpdateConfig of `before`, or without one if `before` has none."""
    others = {name: value for name, value in spec.items() if name != UPDATE_CONFIG}
    return {**others, UPDATE_CONFIG: before[UPDATE_CONFIG]} if UPDATE_CONFIG in before else others


def with_replicas(spec: Json, replicas: int, *, noted: str | None = None) -> dict[str, Any]:
    """Return the specification with other replicas; `noted` is stored in the label of a stopped service."""
    return {
        **spec,
        "Mode": {"Replicated": {"Replicas": replicas}},
        "Labels": with_changes(label_sets(spec)[0], {STOPPED_REPLICAS: noted}),
    }


def _with_version(spec: Json, new: Version, labels: Mapping[str, str | None]) -> dict[str, Any]:
    made: dict[str, Any] = copy.deepcopy(dict(spec))
    made["TaskTemplate"]["ContainerSpec"]["Image"] = new.image
    made["TaskTemplate"]["ForceUpdate"] = new.force
    made["Labels"] = with_changes(label_sets(spec)[0], labels)
    return made


def _without_zeros(config: Json | None) -> dict[str, Any] | None:
    # The engine omits zero.
    return None if config is None else {name: value for name, value in config.items() if value}
