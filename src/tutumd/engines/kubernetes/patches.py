"""Patches of a redeploy: the patch that begins it, and the patch that restores the pod template."""

import copy
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from tutumd.engines.kubernetes.workloads import RESTARTED_AT, Workload, fingerprint, restarted_at
from tutumd.engines.labels import IMAGE_ROLLED_BACK, IMAGE_TAGGED, Json
from tutumd.engines.rollout import Result, Stage, restore_variables, set_variables, store_variables, with_changes

# Environment variables that a redeploy sets in the main container; None removes a variable.
Variables = Mapping[str, str | None]

_LISTS = ("containers", "initContainers")


@dataclass(frozen=True, slots=True, kw_only=True)
class RedeployJournal:
    """One redeploy.

    Attributes:
        before: The changed parts of the pod template before the change (`stored_parts`).
        old: Fingerprint of the complete template before the change.
        image: Image of the main container.
        annotations: Annotations of the workload that the patch sets; None removes an annotation.
        restarted_at: Time written into the template; unique to this restart.
        min_ready_before, min_ready: minReadySeconds before this redeploy (None: absent) and during it (None: not
            changed).
        surge_before, surge: The same for maxSurge.
        running_before: UIDs of the pods that were ready.
        image_before: Digest that they ran.
        stopped: Whether the service was stopped when the redeploy began.
        pull_note: Why the nodes may not check for a newer image; empty if they do.
        ordered: Fingerprint of the template that resulted from our patch; empty until it is known.
        undone: Fingerprint of the template after the rollback.
        result: Result of the redeploy; None until it is known.
    """

    before: Json
    old: str
    image: str
    restarted_at: str
    min_ready_before: int | None
    min_ready: int | None
    running_before: tuple[str, ...]
    image_before: str | None
    annotations: Json = field(default_factory=dict)
    surge_before: str | None = None
    surge: int | None = None
    notes: tuple[str, ...] = ()
    pull_note: str = ""
    stopped: bool = False
    ordered: str = ""
    undone: str = ""
    stage: Stage = Stage.APPLY
    result: Result | None = None


def stored_parts(workload: Workload, image: str, names: Collection[str]) -> dict[str, Any]:
    """Return the parts that a redeploy changes, for its rollback. Of the environment, only `names` are stored with
    values.
    """
    main = workload.main
    parts: dict[str, Any] = {
        "restarted_at": restarted_at(workload.template),
        "main": main["name"],
        "annotations": {name: workload.annotations.get(name) for name in (IMAGE_TAGGED, IMAGE_ROLLED_BACK)},
    }
    if image != main["image"]:
        same = [
            [part, container["name"]]
            for part, container in all_containers(workload.template)
            if container["image"] == main["image"]
        ]
        parts |= {"image": main["image"], "containers": same}
    if names:
        parts["env"] = store_variables(main, "env", names)
    return parts


def restart_patch(workload: Workload, journal: RedeployJournal, variables: Variables) -> list[Json]:
    """Return the JSON patch that begins a redeploy of the workload at the version that was read.

    The image is changed in the main container and in all other containers with the same image.
    """
    settings = {"/spec/minReadySeconds": journal.min_ready, "/spec/strategy/rollingUpdate/maxSurge": journal.surge}
    changed = {path: value for path, value in settings.items() if value is not None}
    return _patch(workload, _restarted(workload.template, journal, variables), journal.annotations, changed)


def restored_settings(workload: Workload, journal: RedeployJournal) -> Json:
    """Return the part of the specification that restores the settings which nobody else has changed since."""
    settings: dict[str, Any] = {}
    if journal.min_ready is not None and workload.spec.get("minReadySeconds") == journal.min_ready:
        settings["minReadySeconds"] = journal.min_ready_before
    if journal.surge is not None and workload.rolling.get("maxSurge") == journal.surge:
        settings["strategy"] = {"rollingUpdate": {"maxSurge": journal.surge_before}}
    return settings


def is_restarted(workload: Workload, journal: RedeployJournal, variables: Variables) -> bool:
    """Return whether the template is the result of `restart_patch`, without a change by another client."""
    before = _restored(workload.template, journal.before, variables)
    return fingerprint(before) == journal.old and _restarted(before, journal, variables) == workload.template


def rollback_patch(workload: Workload, journal: RedeployJournal, names: Collection[str]) -> list[Json]:
    """Return the JSON patch that restores the complete template, as `kubectl rollout undo` does."""
    template = _restored(workload.template, journal.before, names)
    return _patch(workload, template, journal.before.get("annotations") or {}, {})


def _restarted(template: Json, journal: RedeployJournal, variables: Variables) -> Json:
    """Return the template before a redeploy with the changes of the redeploy."""
    restarted: dict[str, Any] = copy.deepcopy(dict(template))
    metadata = restarted.setdefault("metadata", {})
    metadata["annotations"] = {**(metadata.get("annotations") or {}), RESTARTED_AT: journal.restarted_at}
    # The API omits an empty value.
    entries = {
        name: None if text is None else {"name": name, **({"value": text} if text else {})}
        for name, text in variables.items()
    }
    for part, container in all_containers(restarted):
        if [part, container["name"]] in journal.before.get("containers", ()):
            container["image"] = journal.image
        if entries and (part, container["name"]) == (_LISTS[0], journal.before["main"]):
            set_variables(container, "env", entries)
    return restarted


def _restored(template: Json, before: Json, names: Collection[str]) -> Json:
    """Return the template of a redeploy with the stored parts from before it."""
    restored: dict[str, Any] = copy.deepcopy(dict(template))
    metadata = restored["metadata"]
    annotations = with_changes(metadata.pop("annotations", None) or {}, {RESTARTED_AT: before["restarted_at"] or None})
    if annotations:  # the API omits empty values
        metadata["annotations"] = annotations
    for part, container in all_containers(restored):
        if [part, container["name"]] in before.get("containers", ()):
            container["image"] = before["image"]
        if names and (part, container["name"]) == (_LISTS[0], before["main"]):
            restore_variables(container, "env", before["env"], names)
    return restored


def _patch(workload: Workload, template: Json, changed: Mapping[str, str | None], others: Json) -> list[Json]:
    """Return the JSON patch (RFC 6902) that sets the template, annotations of the workload, and other fields."""
    annotations = with_changes(workload.annotations, changed)
    fields = {"/spec/template": template, **others}
    if annotations != workload.annotations:
        fields["/metadata/annotations"] = annotations
    return [
        {"op": "replace", "path": "/metadata/resourceVersion", "value": workload.version},
        *({"op": "add", "path": path, "value": value} for path, value in fields.items()),
    ]


def all_containers(template: Json) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield the containers and the init containers, each with the name of its list."""
    for part in _LISTS:
        for container in template["spec"].get(part) or ():
            yield part, container
