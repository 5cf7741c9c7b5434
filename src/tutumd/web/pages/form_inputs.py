"""The inputs of a form for one handler field, derived from its JSON Schema.

A value that the inputs cannot show exactly is shown, and read, as JSON.
"""

import json
import re
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from pydantic import TypeAdapter

from tutumd.application.admission.fields import HandlerField
from tutumd.application.admission.json_checks import TEXTS_SCHEMA, join_texts, quote, split_texts
from tutumd.application.admission.verify import PRESET_FIELDS
from tutumd.application.queries import parse_date, write_date
from tutumd.errors import InvalidInputError

ON, OFF = "on", "off"
_WHOLE = re.compile(r"-?[0-9]{1,18}", re.ASCII)
_KINDS = {"boolean": "checkbox", "integer": "number", "string": "text"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Input:
    """One input.

    Attributes:
        kind: Kind of the HTML input: `checkbox`, `number`, `text`, `select`, `lines`, `pairs`, `secrets`, `date` or
            `json`.
        schema: JSON Schema of its value.
        key: Key of the value within the field's value; empty if it is the complete value.
        preset: The kind of filter to which it belongs; empty if there is none.
        of_presets: Presets of the same object to which it applies; empty: all.
        takes_flag: `true` and `false` are also values.
    """

    name: str
    kind: str
    schema: Mapping[str, Any]
    key: str = ""
    preset: str = ""
    of_presets: tuple[str, ...] = ()
    takes_flag: bool = False

    @property
    def example(self) -> str:
        """The first example of its schema."""
        example: Any = next(iter(self.schema.get("examples", ())), "")
        return _write_pairs(example) if self.kind == "pairs" else write_example(example)


def write_example(example: Any) -> str:
    """Return a JSON value in the form in which people type it."""
    if isinstance(example, list) and all(isinstance(each, str) for each in example):
        return join_texts(example)
    return example if isinstance(example, str) else json.dumps(example, ensure_ascii=False)


def json_name(field: HandlerField) -> str:
    """Return the name of the input for the field's value as JSON."""
    return f"{field.name}.json"


def make_inputs(field: HandlerField) -> tuple[Input, ...]:
    """Return the inputs of a field, except the input for JSON."""
    schema = field.schema
    if schema.get("type") == "object":
        presets = PRESET_FIELDS if field.name == "verify" else {}
        inputs = [
            Input(
                name=f"{field.name}.{key}",
                kind=_kind_of(each),
                schema=each,
                key=key,
                of_presets=tuple(name for name in presets if key in presets[name]),
            )
            for key, each in schema.get("properties", {}).items()
        ]
    elif any("properties" in each for each in schema.get("anyOf", ())):
        inputs = list(_make_alternatives(field.name, schema["anyOf"]))
    else:
        takes_flag = {"type": "boolean"} in (schema, *schema.get("anyOf", ()))
        shown = field.shown_schema or schema
        if takes_flag and field.default is None and shown is schema:  # a checkbox has only two states
            shown = {"enum": ["true", "false"]}
        inputs = [
            Input(
                name=field.name,
                kind="date" if field.is_date else _kind_of(shown),
                schema=shown,
                takes_flag=takes_flag,
            )
        ]
    return tuple(each for each in inputs if each.kind != "json")


def write_texts(field: HandlerField, value: Any) -> dict[str, str]:
    """Return the texts of the inputs for a value in the API's form. Secrets are never among them."""
    inputs = make_inputs(field)
    empty = {each.name: OFF if each.kind == "checkbox" else "" for each in inputs} | {json_name(field): ""}
    shown = {key: value[key] for key in value if key != "secrets_set"} if isinstance(value, dict) else value
    texts = empty | _spread(field, inputs, shown)
    defaults = {each.key: each.schema.get("default") for each in inputs if each.key and not each.preset}
    if _simplify(_collect(field, inputs, texts), defaults) == _simplify(shown, defaults):
        return texts
    return empty | {json_name(field): json.dumps(shown, ensure_ascii=False, indent=2)}


def read_texts(field: HandlerField, texts: Mapping[str, str]) -> Any:
    """Return the JSON value of the inputs; None if they are empty.

    Args:
        texts: Mapping[str, str] of the inputs, by their names. A checked box has the value `on`.

    Raises:
        InvalidInputError: The JSON is invalid, or another input also has a value. The text contains no secret.
    """
    value, text = _collect(field, make_inputs(field), texts), texts.get(json_name(field), "").strip()
    if not text:
        return value
    secrets = {"secrets": value.pop("secrets")} if isinstance(value, dict) and "secrets" in value else {}
    if value and value is not True:
        raise InvalidInputError(f"{field.name} is given twice: empty its JSON, or the other inputs")
    try:
        document = TypeAdapter(Any).validate_json(text)
    except ValueError:
        raise InvalidInputError(
            f"{field.name} must be JSON here: texts need double quotes, and no comma ends a list"
        ) from None
    if not isinstance(document, dict) or not has_secrets(field):
        return document
    if "secrets" in document:
        raise InvalidInputError(f"{field.name} as JSON must be without secrets: there is an input for them")
    return document | secrets


def has_secrets(field: HandlerField) -> bool:
    """Return whether a field holds secrets."""
    return any(each.kind == "secrets" for each in make_inputs(field))


def _make_alternatives(name: str, schemas: list[Mapping[str, Any]]) -> Iterator[Input]:
    """Yield the inputs of presets, and of the text that may replace a preset."""
    for schema in schemas:
        properties = schema.get("properties", {})
        preset = properties.get("preset", {}).get("const", "")
        for key, each in properties.items():
            if key != "preset":
                yield Input(name=f"{name}.{preset}.{key}", kind=_kind_of(each), schema=each, key=key, preset=preset)
    for schema in schemas:
        if schema.get("type") == "string":
            yield Input(name=f"{name}.expression", kind="text", schema=schema)


def _kind_of(schema: Mapping[str, Any]) -> str:
    if schema.get("writeOnly"):
        return "secrets"
    if "enum" in schema:
        return "select"
    if schema.get("additionalProperties"):
        return "pairs"
    if schema.get("type") == "array" or schema.get("anyOf") == TEXTS_SCHEMA["anyOf"]:
        return "lines"
    return _KINDS.get(schema.get("type", ""), "json")


def _spread(field: HandlerField, inputs: tuple[Input, ...], value: Any) -> dict[str, str]:
    """Return the parts of a value for the inputs. A part that fits no input is missing."""
    if value is None:
        return {}
    if field.name in (each.name for each in inputs):
        return {field.name: _write(inputs[0], value)}
    texts: dict[str, str] = {}
    for part in value if isinstance(value, list) else [value]:
        known = part if isinstance(part, dict) else {"": part}
        preset = known.get("preset", "") if any(each.preset for each in inputs) else ""
        texts |= {
            each.name: _write(each, known[each.key])
            for each in inputs
            if each.key in known and each.preset == preset and each.name not in texts
        }
    return texts


def _collect(field: HandlerField, inputs: tuple[Input, ...], texts: Mapping[str, str]) -> Any:
    """Return the value of the inputs other than JSON. The inverse of `_spread`."""
    values = [(each, value) for each in inputs if (value := _read(each, texts.get(each.name, ""))) is not None]
    if field.name in (each.name for each in inputs):
        return values[0][1] if values else None
    if not any(each.preset for each in inputs):
        preset = texts.get(f"{field.name}.preset", "")
        return {each.key: value for each, value in values if not each.of_presets or preset in each.of_presets} or None
    parts: dict[str, Any] = {}
    for each, value in values:
        if each.preset:
            parts.setdefault(each.preset, {"preset": each.preset})[each.key] = value
        else:
            parts[""] = value
    return next(iter(parts.values())) if len(parts) == 1 else list(parts.values()) or None


def _write(each: Input, value: Any) -> str:
    if each.kind == "secrets" or (value == each.schema.get("default") and not each.preset):
        return ""
    if each.kind == "checkbox":
        return ON if value is True else OFF
    if each.kind == "date":
        return parse_date(each.name, str(value)).isoformat()[:19]  # the API shows UTC, to the second
    if isinstance(value, bool):
        return str(value).lower()
    if each.kind == "pairs":
        return _write_pairs(value)
    return join_texts(value) if isinstance(value, list) else str(value)


def _read(each: Input, text: str) -> Any:
    text = text.replace("\r", "")
    if each.kind == "secrets":
        return [line for line in text.split("\n") if line.strip()] or None
    if each.kind == "lines":
        return split_texts(text) or None
    if each.kind == "pairs":
        return _read_pairs(each.name, text) or None
    text = text.replace("\n", "").strip()  # browsers keep no line end in an input
    if each.kind == "checkbox":
        return text == ON
    if each.takes_flag and text.lower() in ("true", "false"):
        return text.lower() == "true"
    if each.kind == "number" and _WHOLE.fullmatch(text):
        return int(text)
    if each.kind == "date" and text:
        # Browsers omit seconds of 0. The field's own check reports an error.
        with suppress(InvalidInputError, OverflowError):
            return write_date(parse_date(each.name, text))
    return text or None


def _write_pairs(value: Mapping[str, Any]) -> str:
    """Return a line for each name, with its texts after commas."""
    items = {name: each if isinstance(each, list) else [each] for name, each in value.items()}
    return "\n".join(f"{name} = {', '.join(join_texts([each]) for each in texts)}" for name, texts in items.items())


def _read_pairs(name: str, text: str) -> dict[str, list[str]]:
    pairs: dict[str, list[str]] = {}
    for line in filter(str.strip, text.split("\n")):
        key, found, texts = line.partition("=")
        if not found:
            raise InvalidInputError(f"{name} must have lines such as repository = me/shop, got {quote(line)}")
        pairs.setdefault(key.strip(), []).extend(split_texts(texts))
    return pairs


def _simplify(value: Any, defaults: Mapping[str, Any]) -> Any:
    """Return the same value for all equivalent values: a list of one item, another order of filters, a default."""
    if isinstance(value, list):
        items = [_simplify(each, {}) for each in value]
        return items[0] if len(items) == 1 else sorted(items, key=str) if dict in map(type, items) else items
    if isinstance(value, dict):
        return {key: _simplify(each, {}) for key, each in value.items() if each != defaults.get(key, ...)}
    return value
