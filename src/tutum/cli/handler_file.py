"""Reads the file of `tutum apply`: services and their webhook handlers in TOML."""

import re
import tomllib
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
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


_VARIABLE = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)\}", re.ASCII)
_HEADER = re.compile(r"\s*\[\[\s*service\s*(\.\s*handler\s*)?\]\]")
_SERVICE_KEYS = ("name", "engine", "handler")
_EXAMPLES = {"name": "web", "engine": "docker"}
_MAX_NAME = 255


class HandlerFileError(Exception):
    """A file cannot be applied. `problems` has a line for each reason."""

    def __init__(self, problems: Sequence[str]) -> None:
        """Take the lines, each with its place."""
        super().__init__("\n".join(problems))
        self.problems = tuple(problems)


@dataclass(frozen=True, slots=True, kw_only=True)
class WantedHandler:
    """A handler of the file.

    Attributes:
        place: Where it stands, for errors: `handlers.toml:12: ci of shop/web`.
        fields: In the form of the API, with secrets.
    """

    place: str
    name: str
    operation: str
    fields: Mapping[str, Any] = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class WantedService:
    """A service of the file.

    Attributes:
        name: As people call it: `shop/web`.
        engine: Narrows the name; empty for any.
    """

    place: str
    name: str
    engine: str
    handlers: tuple[WantedHandler, ...]


def read_handler_file(text: str, file: str, variables: Mapping[str, str]) -> tuple[WantedService, ...]:
    """Return the services of a file, with the secrets that its variables name.

    Args:
        file: Its name, for errors.
        variables: Such as the environment.

    Raises:
        HandlerFileError: With all that is wrong in the file, and all variables that are missing.
    """
    try:
        document = tomllib.loads(text.removeprefix("\ufeff"))  # Windows editors begin a file with it
    except (ValueError, RecursionError) as error:
        raise HandlerFileError([f"{file}: this is not TOML: {error}"]) from error
    reader = _Reader(file, _header_lines(text, document), variables)
    services = reader.read(document)
    if reader.problems:
        raise HandlerFileError(reader.problems)
    return services


class _Reader:
    def __init__(self, file: str, lines: Iterator[int], variables: Mapping[str, str]) -> None:
        self.problems: list[str] = []
        self._file = file
        self._lines = lines
        self._variables = variables

    def read(self, document: Mapping[str, Any]) -> tuple[WantedService, ...]:
        for key in document:
            if key != "service":
                self.problems.append(f"{self._file}: unknown key {key!r}: services stand below [[service]]")
        services = tuple(
            map(self._service, self._tables(document.get("service", []), f"{self._file}: service", "service"))
        )
        self._refuse_doubles([(service.place, f"{service.name} {service.engine}") for service in services])
        return services

    def _service(self, table: Mapping[str, Any]) -> WantedService:
        line = self._place()
        name = self._text(table, "name", f"{line}: a service")
        place = f"{line}: {name or 'service without a name'}"
        for key in table:
            if key not in _SERVICE_KEYS:
                self.problems.append(f"{place}: unknown key {key!r}: {nearest(key, _SERVICE_KEYS)}")
        engine = self._text(table, "engine", place) if "engine" in table else ""
        tables = self._tables(table.get("handler", []), f"{place}: handler", "service.handler")
        handlers = tuple(self._handler(each, name) for each in tables)
        self._refuse_doubles([(handler.place, handler.name) for handler in handlers])
        return WantedService(place=place, name=name, engine=engine, handlers=handlers)

    def _handler(self, table: Mapping[str, Any], service: str) -> WantedHandler:
        line = self._place()
        name = self._text(table, "name", f"{line}: a handler of {service}")
        place = f"{line}: {name or 'handler without a name'} of {service}"
        if len(name) > _MAX_NAME:
            self.problems.append(f"{place}: name must have at most {_MAX_NAME} characters, got {len(name)}")
        given = {key: _plain(value) for key, value in table.items() if key not in ("name", "operation")}
        operation = str(table.get("operation", "REDEPLOY")).upper()
        fields = self._fill_secrets(given, place)
        self.problems += [f"{place}: {problem}" for problem in find_problems(operation, fields)]
        return WantedHandler(place=place, name=name, operation=operation, fields=fields)

    def _fill_secrets(self, fields: dict[str, Any], place: str) -> dict[str, Any]:
        """Return the fields with the values of the variables that stand for secrets."""
        verify = fields.get("verify")
        if not isinstance(verify, dict) or "secrets" not in verify:
            return fields
        written = verify["secrets"]
        names = written if isinstance(written, list) else [written]
        matches = [_VARIABLE.fullmatch(text) if isinstance(text, str) else None for text in names]
        if None in matches:  # what stands there may be a secret, so the text does not quote it
            self.problems.append(
                f'{place}: each of verify.secrets must be a variable, such as "${{GITHUB_SECRET}}": '
                "a secret in a file ends up in the repository"
            )
        for match in filter(None, matches):
            if not self._variables.get(match[1]):
                self.problems.append(f"{place}: the variable {match[1]} is not set: it must hold the sender's secret")
        # Each placeholder belongs to a problem above, so none is ever sent.
        secrets = [self._variables.get(match[1], "-") if match else "-" for match in matches]
        return fields | {"verify": verify | {"secrets": secrets}}

    def _text(self, table: Mapping[str, Any], key: str, place: str) -> str:
        value = table.get(key)
        if isinstance(value, str) and value.strip():
            return value
        self.problems.append(f'{place} lacks its {key}, as in {key} = "{_EXAMPLES[key]}"')
        return ""

    def _tables(self, value: Any, place: str, header: str) -> list[Mapping[str, Any]]:
        if isinstance(value, list) and all(isinstance(each, dict) for each in value):
            return value
        self.problems.append(f"{place} must be written as [[{header}]], with two brackets")
        return []

    def _refuse_doubles(self, named: Sequence[tuple[str, str]]) -> None:
        counts = Counter(name for _, name in named)
        self.problems += [
            f"{place}: stands in the file twice" for place, name in named if name.strip() and counts[name] > 1
        ]

    def _place(self) -> str:
        line = next(self._lines, None)
        return self._file if line is None else f"{self._file}:{line}"


def _plain(value: Any) -> Any:
    """Return a date as text; the API has no other. One without a zone is UTC."""
    return value.isoformat() if isinstance(value, date | datetime) else value


def _header_lines(text: str, document: Mapping[str, Any]) -> Iterator[int]:
    """Return the lines of the headers in the order in which they are read; nothing if they cannot be told for sure."""
    lines = [number for number, line in enumerate(text.splitlines(), start=1) if _HEADER.match(line)]
    services = document.get("service")
    tables = services if isinstance(services, list) else []
    handlers = [table.get("handler") for table in tables if isinstance(table, dict)]
    count = len(tables) + sum(len(each) for each in handlers if isinstance(each, list))
    return iter(lines if len(lines) == count else [])
