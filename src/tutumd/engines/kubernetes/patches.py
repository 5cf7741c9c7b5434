"""Patches of a redeploy: the one that begins it, and the one that restores the pod template."""

import copy
from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import Any

from tutumd.engines.kubernetes.journal import RedeployJournal
from tutumd.engines.kubernetes.workloads import RESTARTED_AT, Workload, fingerprint
from tutumd.engines.labels import IMAGE_TAGGED, Json
from tutumd.engines.rollout.environment import restore_entries, store_entries

# Environment variables that a redeploy sets in the main container; None removes one.
Variables = Mapping[str, str | None]

_LISTS = ("containers", "initContainers")


def stored_parts(workload: Workload, image: str, names: Collection[str]) -> dict[str, Any]:
    """Return what a redeploy changes, for its rollback. Of the environment only `names` are stored with values."""
    main = workload.main
    parts: dict[str, Any] = {"restarted_at": workload.restarted_at, "main": main["name"]}
    if image != main["image"]:
        same = [
            [part, container["name"]]
            for part, container in _all_containers(workload.template)
            if container["image"] == main["image"]
        ]
        parts |= {"image": main["image"], "containers": same, "tagged": workload.annotations.get(IMAGE_TAGGED)}
    if names:
        parts["env"] = store_entries(main.get("env") or (), names, _variable_name)
    return parts


def restart_patch(workload: Workload, journal: RedeployJournal, variables: Variables) -> dict[str, Any]:
    """Return the strategic merge patch that begins a redeploy of the workload at the version that was read.

    The image is changed in the main container and in all others that have the same one. Containers are merged by name.
    """
    template: dict[str, Any] = {"metadata": {"annotations": {RESTARTED_AT: journal.restarted_at}}}
    main = workload.main
    for part, container in _all_containers(workload.template):
        change: dict[str, Any] = {}
        if journal.image != main["image"] and container["image"] == main["image"]:
            change["image"] = journal.image
        if variables and container is main:
            change["env"] = _env_patch(container.get("env") or (), variables)
        if change:
            spec = template.setdefault("spec", {})
            spec.setdefault(part, []).append({"name": container["name"], **change})
    min_ready = {} if journal.min_ready is None else {"minReadySeconds": journal.min_ready}
    tagged = {} if journal.image == main["image"] else {"annotations": {IMAGE_TAGGED: journal.image}}
    return {"metadata": {"resourceVersion": workload.version, **tagged}, "spec": {"template": template, **min_ready}}


def rollback_patch(workload: Workload, journal: RedeployJournal, variables: Variables) -> list[Json]:
    """Return the JSON patch that restores the whole template, as `kubectl rollout undo` does."""
    before = journal.before.get("tagged")
    tagged: Json = {"op": "add", "value": before} if before else {"op": "remove"}
    return [
        {"op": "replace", "path": "/metadata/resourceVersion", "value": workload.version},
        *(
            [{**tagged, "path": f"/metadata/annotations/{IMAGE_TAGGED}"}]
            if "tagged" in journal.before and IMAGE_TAGGED in workload.annotations
            else []
        ),
        {"op": "replace", "path": "/spec/template", "value": _restore(workload.template, journal.before, variables)},
    ]


def is_patched(workload: Workload, journal: RedeployJournal, variables: Variables) -> bool:
    """Return whether the template is what `restart_patch` makes of the old one, and nothing else."""
    template, before = workload.template, journal.before
    if workload.restarted_at != journal.restarted_at:
        return False
    changed = _changed_containers(before)
    for part, container in _all_containers(template):
        if (part, container["name"]) in changed and container["image"] != journal.image:
            return False
        if (part, container["name"]) == (_LISTS[0], before["main"]):
            env = {entry["name"]: entry for entry in container.get("env") or ()}
            if any((_value(env[name]) if name in env else None) != value for name, value in variables.items()):
                return False
    return fingerprint(_restore(template, before, variables)) == journal.old


def _restore(template: Json, before: Json, names: Collection[str]) -> dict[str, Any]:
    """Return the template as it was, made from the patched one and the stored parts."""
    restored: dict[str, Any] = copy.deepcopy(dict(template))
    metadata = restored["metadata"]
    annotations = {**(metadata.pop("annotations", None) or {}), RESTARTED_AT: before["restarted_at"]}
    if not before["restarted_at"]:
        del annotations[RESTARTED_AT]
    if annotations:  # the API leaves out what is empty
        metadata["annotations"] = annotations
    changed = _changed_containers(before)
    for part, container in _all_containers(restored):
        if (part, container["name"]) in changed:
            container["image"] = before["image"]
        if names and (part, container["name"]) == (_LISTS[0], before["main"]):
            env = restore_entries(container.pop("env", None) or (), before["env"], names, _variable_name)
            if env:
                container["env"] = env
    return restored


def _changed_containers(before: Json) -> set[tuple[str, str]]:
    return {(part, name) for part, name in before.get("containers") or ()}


def _all_containers(template: Json) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield the containers and the init containers, each with the name of its list."""
    for part in _LISTS:
        for container in template["spec"].get(part) or ():
            yield part, container


def _env_patch(present: Iterable[Json], variables: Variables) -> list[dict[str, Any]]:
    by_name = {entry["name"]: entry for entry in present}
    patches: list[dict[str, Any]] = []
    # The API adopts the order of the patch, and $(NAME) only knows variables that come before it
    # (kubernetes: staging/src/k8s.io/apimachinery/pkg/util/strategicpatch/patch.go `normalizeElementOrder`).
    places = {name: place for place, name in enumerate(by_name)}
    for name in sorted(variables, key=lambda name: (places.get(name, len(places)), name)):
        value = variables[name]
        if value is not None:
            # A variable has either a value or a source.
            source = {"valueFrom": None} if "valueFrom" in by_name.get(name, {}) else {}
            patches.append({"name": name, "value": value, **source})
        elif name in by_name:
            patches.append({"name": name, "$patch": "delete"})
    return patches


def _variable_name(entry: Json) -> str:
    return str(entry["name"])


def _value(entry: Json) -> str | None:
    """Return the value of a variable, which the API leaves out if it is empty; None if it has a source."""
    return None if "valueFrom" in entry else str(entry.get("value") or "")
