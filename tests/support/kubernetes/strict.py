"""A strict check of manifests against the models of the official client: unknown fields, types, required fields."""

import re
from typing import Any

from kubernetes import client
from pydantic import ValidationError

_ITEMS = re.compile(r"(?:List|list)\[(.+)\]")
_VALUES = re.compile(r"(?:Dict|dict)[(\[]str, ?(.+)[)\]]")
_PLAIN = {"str": str, "int": int, "float": (int, float), "bool": bool, "datetime": str}
_GROUP_SUFFIX = ".k8s.io"


def model_of(manifest: dict[str, Any]) -> Any:
    """Return the client's class for a manifest, such as V1Deployment. Raises AttributeError if there is none."""
    version = manifest["apiVersion"].rpartition("/")[2]
    return getattr(client, f"{version[0].upper()}{version[1:]}{manifest['kind']}")


def faults(manifest: dict[str, Any]) -> list[str]:
    """Return a line for each field that the API would not know, or whose value it would not take."""
    model = model_of(manifest)
    lines = _check(manifest, model.__name__, manifest["kind"])
    try:
        model.model_validate(manifest)
    except ValidationError as error:
        lines += [f"{'.'.join(map(str, each['loc']))}: {each['msg']}" for each in error.errors()]
    return lines


def _check(value: Any, kind: str, path: str) -> list[str]:
    if kind in _PLAIN:
        fits = isinstance(value, _PLAIN[kind]) and (kind == "bool" or not isinstance(value, bool))  # type: ignore[arg-type]
        return [] if fits else [f"{path}: {kind} was wanted, got {value!r}"]
    if kind == "object":  # a number or a text, such as `intOrString`
        return []
    if items := _ITEMS.fullmatch(kind):
        if not isinstance(value, list):
            return [f"{path}: a list was wanted, got {value!r}"]
        return [line for number, each in enumerate(value) for line in _check(each, items[1], f"{path}[{number}]")]
    if not isinstance(value, dict):
        return [f"{path}: an object was wanted, got {value!r}"]
    if values := _VALUES.fullmatch(kind):
        return [line for name, each in value.items() for line in _check(each, values[1], f"{path}.{name}")]
    return _check_object(value, getattr(client, kind), path)


def _check_object(value: dict[str, Any], model: Any, path: str) -> list[str]:
    names = {json: name for name, json in model.attribute_map.items()}
    lines = [f"{path}: unknown field {field!r}" for field in value if field not in names]
    for field in value.keys() & names.keys():
        lines += _check(value[field], model.openapi_types[names[field]], f"{path}.{field}")
    return lines
