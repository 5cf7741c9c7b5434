"""Two kinds of patch of the API, as far as tests need them."""

import copy
from typing import Any


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
    "application/json-patch+json": json_patch,
}
