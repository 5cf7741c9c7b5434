"""The three kinds of patch of the API, as far as tests need them."""

import copy
from typing import Any

# Kubernetes API reference, "patch strategy": lists that are merged by this key; all others are replaced.
_MERGE_KEYS = {"containers": "name", "initContainers": "name", "env": "name"}


def merge(target: Any, patch: Any) -> Any:
    """RFC 7386."""
    if not isinstance(patch, dict):
        return copy.deepcopy(patch)
    result = dict(target) if isinstance(target, dict) else {}
    for name, value in patch.items():
        if value is None:
            result.pop(name, None)
        else:
            result[name] = merge(result.get(name), value)
    return result


def strategic(target: Any, patch: Any, name: str = "") -> Any:
    """Strategic merge patch (kubernetes/community: contributors/devel/sig-api-machinery/strategic-merge-patch.md)."""
    if isinstance(patch, list):
        return _list(target or [], patch, _MERGE_KEYS[name]) if name in _MERGE_KEYS else copy.deepcopy(patch)
    if not isinstance(patch, dict):
        return patch
    result = dict(target) if isinstance(target, dict) else {}
    for key, value in patch.items():
        if value is None:
            result.pop(key, None)
        else:
            result[key] = strategic(result.get(key), value, key)
    return result


def _list(target: list[Any], patch: list[Any], key: str) -> list[Any]:
    result = list(target)
    for item in patch:
        at = next((index for index, entry in enumerate(result) if entry[key] == item[key]), None)
        if item.get("$patch") == "delete":
            if at is not None:
                del result[at]
        elif at is None:
            result.append(strategic({}, item))
        else:
            result[at] = strategic(result[at], item)
    return _in_order(target, patch, {entry[key]: entry for entry in result}, key)


def _in_order(target: list[Any], patch: list[Any], result: dict[str, Any], key: str) -> list[Any]:
    """Those of the patch in its order, and each other one before the first of them that it came before.

    kubernetes: staging/src/k8s.io/apimachinery/pkg/util/strategicpatch/patch.go `normalizeElementOrder`.
    """
    before = {entry[key]: index for index, entry in enumerate(target)}
    ours = [entry[key] for entry in patch if entry[key] in result]
    others = [entry[key] for entry in target if entry[key] in result and entry[key] not in ours]
    names: list[str] = []
    while others and ours:
        comes_first = ours[0] in before and before[others[0]] < before[ours[0]]
        names.append((others if comes_first else ours).pop(0))
    return [result[name] for name in (*names, *others, *ours)]


def json_patch(target: Any, operations: list[Any]) -> Any:
    """RFC 6902, of which `add`, `remove` and `replace` in objects are known."""
    result = copy.deepcopy(target)
    for operation in operations:
        *parents, last = operation["path"].strip("/").split("/")
        place = result
        for name in parents:
            place = place[name]
        assert operation["op"] == "add" or last in place
        if operation["op"] == "remove":
            del place[last]
        else:
            place[last] = copy.deepcopy(operation["value"])
    return result


PATCHES = {
    "application/merge-patch+json": merge,
    "application/strategic-merge-patch+json": strategic,
    "application/json-patch+json": json_patch,
}
