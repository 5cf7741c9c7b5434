"""Checks what a file says of a handler against the table of handler fields."""

import re
from collections.abc import Mapping, Sequence
from typing import Any

from tutum.cli.options import nearest
from tutum.handler_fields import FIELDS

_Schema = Mapping[str, Any]

_OPERATIONS = ("REDEPLOY", "SCALEUP")
_KINDS: dict[str, tuple[type, str]] = {
    "array": (list, "a list"),
    "boolean": (bool, "true or false"),
    "integer": (int, "a whole number"),
    "object": (dict, "a table"),
    "string": (str, "a text"),
}


def find_problems(operation: str, fields: Mapping[str, Any]) -> list[str]:
    """Return what is wrong with the fields of a handler, a sentence each. No text quotes a secret.

    The server checks more, such as expressions.
    """
    problems = []
    if operation not in _OPERATIONS:
        problems.append(f"operation must be REDEPLOY or SCALEUP, got {operation[:60]!r}")
    for name, value in fields.items():
        field = FIELDS.get(name)
        if field is None:
            problems.append(f"unknown field {name!r}: {nearest(name, ('name', 'operation', *FIELDS))}")
        elif field["operation"] not in (None, operation) and operation in _OPERATIONS:
            problems.append(
                f"{name} is for handlers with the operation {field['operation']}, and this one's is {operation}"
            )
        else:
            problems += _check(name, value, field["schema"], example=field["example"])
    return problems


def _check(name: str, value: Any, schema: _Schema, *, example: Any = None) -> list[str]:
    if "anyOf" in schema:
        return _check_choices(name, value, schema["anyOf"])
    kind = schema.get("type")
    if kind and not _is_a(kind, value):
        return [f"{name} must be {_KINDS[kind][1]}{_got(name, value)}"]
    if "enum" in schema and str(value).lower() not in schema["enum"]:
        return [f"{name} is unknown: {nearest(str(value), schema['enum'])}"]
    if "pattern" in schema and not re.fullmatch(schema["pattern"], value):
        form = f'like "{example}"' if isinstance(example, str) else f"of the form {schema['pattern']}"
        return [f"{name} must be {form}{_got(name, value)}"]
    if kind == "integer" and not schema.get("minimum", value) <= value <= schema.get("maximum", value):
        return [f"{name} must be {schema['minimum']} to {schema['maximum']}, got {value}"]
    if kind == "array":
        return _check_items(name, value, schema)
    return _check_table(name, value, schema) if kind == "object" else []


def _check_choices(name: str, value: Any, choices: Sequence[_Schema]) -> list[str]:
    fitting = [choice for choice in choices if _is_a(choice["type"], value)]
    if not fitting:
        kinds = list(dict.fromkeys(_KINDS[choice["type"]][1] for choice in choices))
        return [f"{name} must be {' or '.join(kinds)}{_got(name, value)}"]
    if not isinstance(value, dict):
        return _check(name, value, fitting[0])
    presets = {choice["properties"]["preset"]["const"]: choice for choice in fitting}
    preset = str(value.get("preset", "")).lower()
    if preset not in presets:
        return [f"{name}.preset is {'unknown' if preset else 'missing'}: {nearest(preset, presets)}"]
    return _check_table(name, value, presets[preset])


def _check_items(name: str, value: Sequence[Any], schema: _Schema) -> list[str]:
    low, high = schema.get("minItems", 0), schema.get("maxItems", len(value))
    if not low <= len(value) <= high:
        return [
            f"{name} must have {low} to {high} entries, got {len(value)}"
            if "maxItems" in schema
            else f"{name} is empty"
        ]
    checked = enumerate(value, start=1)
    return [problem for number, item in checked for problem in _check(f"{name}[{number}]", item, schema["items"])]


def _check_table(name: str, value: Mapping[str, Any], schema: _Schema) -> list[str]:
    known = schema["properties"]
    problems = [f"{name} has no field {key!r}: {nearest(key, known)}" for key in value if key not in known]
    problems += [f"{name}.{key} is missing" for key in schema["required"] if key not in value]
    for key, schema_of_key in known.items():
        if key in value and "const" not in schema_of_key:
            problems += _check(f"{name}.{key}", value[key], schema_of_key)
    return problems


def _is_a(kind: str, value: Any) -> bool:
    return isinstance(value, _KINDS[kind][0]) and (kind == "boolean" or not isinstance(value, bool))


def _got(name: str, value: Any) -> str:
    """Return the end of a sentence that quotes a value; empty where that could be a secret."""
    if name.startswith("verify"):
        return ""
    text = repr(value)
    return f", got {text if len(text) <= 60 else f'{text[:57]}...'}"
