"""Reads the file of `tutum apply`: services and their webhook handlers in TOML."""

import json
import re
import tomllib
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from tutum.cli.options import nearest
from tutum.handler_fields import FIELDS

_VARIABLE = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)\}", re.ASCII)
_HEADER = re.compile(r"\s*\[\[\s*service\s*(\.\s*handler\s*)?\]\]")
_SERVICE_KEYS = ("name", "engine", "handler")
_EXAMPLES = {"name": "web", "engine": "docker"}


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
    """Return the services of a file, with the secrets that its variables name. The server checks the fields.

    Args:
        file: Its name, for errors.
        variables: Such as the environment.

    Raises:
        HandlerFileError: With all that is wrong in the form of the file, and all variables that are missing.
    """
    try:
        document = _plain(tomllib.loads(text.removeprefix("\ufeff")))  # Windows editors begin a file with it
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
        fields = {key: value for key, value in table.items() if key not in ("name", "operation")}
        for key in fields:
            if key not in FIELDS:
                self.problems.append(f"{place}: unknown field {key!r}: {nearest(key, FIELDS)}")
        operation = str(table.get("operation", "REDEPLOY")).upper()
        return WantedHandler(place=place, name=name, operation=operation, fields=self._fill_secrets(fields, place))

    def _fill_secrets(self, fields: dict[str, Any], place: str) -> dict[str, Any]:
        """Return the fields with the values of the variables that stand for secrets."""
        verify = fields.get("verify", {})
        if not isinstance(verify, dict):  # it may be a secret, so the text does not quote it
            self.problems.append(f'{place}: verify must be a table, such as {{ preset = "github", secrets = … }}')
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


def _plain(document: dict[str, Any]) -> dict[str, Any]:
    """Return a document in JSON's types: dates are texts, and so are numbers that JSON does not know, such as NaN."""
    text = json.dumps(document, default=lambda date: date.isoformat())
    return dict(json.loads(text, parse_constant=str))


def _header_lines(text: str, document: Mapping[str, Any]) -> Iterator[int]:
    """Return the lines of the headers in the order in which they are read; nothing if they cannot be told for sure."""
    lines = [number for number, line in enumerate(text.splitlines(), start=1) if _HEADER.match(line)]
    services = document.get("service")
    tables = services if isinstance(services, list) else []
    handlers = [table.get("handler") for table in tables if isinstance(table, dict)]
    count = len(tables) + sum(len(each) for each in handlers if isinstance(each, list))
    return iter(lines if len(lines) == count else [])
