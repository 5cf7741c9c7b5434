"""What a redeploy changes of a pod template, what of it is remembered, and the template as it was, made of both."""

import copy
from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import Any

from tutumd.engines.kubernetes.workloads import RESTARTED_AT, Workload
from tutumd.engines.labels import Json

_PARTS = ("containers", "initContainers")


def patch(workload: Workload, image: str, variables: Mapping[str, str | None], restarted_at: str) -> dict[str, Any]:
    """Return the strategic merge patch of the template: containers by their names, which are the merge key.

    Args:
        image: Of the main container, and of all others that have the same image as it has now.
        variables: Set in the main container; None removes one.
    """
    found: dict[str, Any] = {"metadata": {"annotations": {RESTARTED_AT: restarted_at}}}
    spec: dict[str, Any] = {}
    main = workload.main
    for part, container in all_containers(workload.template):
        change: dict[str, Any] = {}
        if image != main["image"] and container["image"] == main["image"]:
            change["image"] = image
        if variables and container is main:
            change["env"] = _environment(container.get("env") or (), variables)
        if change:
            spec.setdefault(part, []).append({"name": container["name"], **change})
    return {**found, "spec": spec} if spec else found


def remembered(workload: Workload, image: str, names: Collection[str]) -> dict[str, Any]:
    """Pick what such a patch changes, as it is now: of the environment, which may hold secrets, only these names."""
    main = workload.main
    kept: dict[str, Any] = {"restarted_at": workload.restarted_at, "main": main["name"]}
    if image != main["image"]:
        same = [[part, one["name"]] for part, one in all_containers(workload.template) if one["image"] == main["image"]]
        kept |= {"image": main["image"], "containers": same}
    if names:
        env = main.get("env") or ()
        kept["env"] = [[one["name"], dict(one) if one["name"] in names else None] for one in env]
    return kept


def restored(template: Json, before: Json, names: Collection[str]) -> dict[str, Any]:
    """Make the template as it was, from the one with the patch in it and what was remembered."""
    new: dict[str, Any] = copy.deepcopy(dict(template))
    metadata = new["metadata"]
    annotations = {**(metadata.pop("annotations", None) or {}), RESTARTED_AT: before["restarted_at"]}
    # The API leaves out what is empty.
    if annotations := {name: value for name, value in annotations.items() if name != RESTARTED_AT or value}:
        metadata["annotations"] = annotations
    changed = [tuple(one) for one in before.get("containers") or ()]
    for part, container in all_containers(new):
        if (part, container["name"]) in changed:
            container["image"] = before["image"]
        if names and (part, container["name"]) == (_PARTS[0], before["main"]):
            env = _restored_environment(container.pop("env", None) or (), before["env"], names)
            if env:
                container["env"] = env
    return new


def carries(template: Json, before: Json, image: str, variables: Mapping[str, str | None]) -> bool:
    """Tell whether the template has the image and the variables that the patch wrote, where it wrote them."""
    changed = [tuple(one) for one in before.get("containers") or ()]
    for part, container in all_containers(template):
        if (part, container["name"]) in changed and container["image"] != image:
            return False
        if (part, container["name"]) == (_PARTS[0], before["main"]):
            env = {one["name"]: one for one in container.get("env") or ()}
            found = {name: _value(env[name]) if name in env else None for name in variables}
            if found != dict(variables):
                return False
    return True


def all_containers(template: Json) -> Iterator[tuple[str, dict[str, Any]]]:
    """Go through the containers and the init containers, each with the name of its list."""
    for part in _PARTS:
        for container in template["spec"].get(part) or ():
            yield part, container


def _environment(present: Iterable[Json], variables: Mapping[str, str | None]) -> list[dict[str, Any]]:
    by_name = {one["name"]: one for one in present}
    patches: list[dict[str, Any]] = []
    # The API brings those of a patch into the patch's order, and $(NAME) only knows variables that come before it
    # (kubernetes: staging/src/k8s.io/apimachinery/pkg/util/strategicpatch/patch.go `normalizeElementOrder`).
    places = {name: place for place, name in enumerate(by_name)}
    for name, value in sorted(variables.items(), key=lambda one: (places.get(one[0], len(places)), one[0])):
        if value is not None:
            # A variable has either a value or a source.
            source = {"valueFrom": None} if "valueFrom" in by_name.get(name, {}) else {}
            patches.append({"name": name, "value": value, **source})
        elif name in by_name:
            patches.append({"name": name, "$patch": "delete"})
    return patches


def _restored_environment(
    present: Iterable[Json], before: Iterable[tuple[str, Json | None]], names: Collection[str]
) -> list[Json]:
    """Put the variables of these names back, each in its place; the others keep their order."""
    others = [one for one in present if one["name"] not in names]
    made: list[Json] = []
    for name, entry in before:
        if entry is not None:
            made.append(entry)
        elif (at := next((n for n, other in enumerate(others) if other["name"] == name), None)) is not None:
            made.append(others.pop(at))
    return made + others


def _value(entry: Json) -> str | None:
    """Read the value of a variable; the API leaves an empty one out. One with a source has none."""
    return None if "valueFrom" in entry else str(entry.get("value") or "")
