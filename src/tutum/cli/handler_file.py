"""Reads the file of `tutum apply`: services and their webhook handlers in TOML."""

import json
import re
import tomllib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from tutum.cli.options import nearest
from tutum.webhook_handler import FIELDS

_VARIABLE = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)\}", re.ASCII)
_HEADER = re.compile(r"\s*\[\[\s*service\s*(\.\s*handler\s*)?\]\]")
_EXAMPLES = {"name": "web", "engine": "docker"}


class HandlerFileError(Exception):
    """A file cannot be applied. Each argument is a line with a reason and its place."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WantedHandler:
    """A handler of the file.

    Attributes:
        place: Location for errors: `handlers.toml:12: ci of shop/web`.
        body: The request that creates it, with its name, operation, fields and secrets.
    """

    place: str
    body: dict[str, Any] = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class WantedService:
    """A service of the file.

    Attributes:
        name: Name for people: `shop/web`.
        engine: Narrows the name; empty for any.
    """

    place: str
    name: str
    engine: str
    handlers: tuple[WantedHandler, ...]


def read_handler_file(text: str, file: str, variables: Mapping[str, str]) -> list[WantedService]:
    """Return the services of a file, with the secrets from its variables. The server checks the fields.

    Args:
        file: Name of the file, for errors.
        variables: Such as the environment.

    Raises:
        HandlerFileError: Lists all errors in the form of the file, and all missing variables.
    """
    try:
        # Windows editors begin a file with a byte order mark. Dates, and numbers that JSON does not support, become
        # texts.
        document = tomllib.loads(text.removeprefix("\ufeff"))
        document = json.loads(json.dumps(document, default=lambda date: date.isoformat()), parse_constant=str)
    except (ValueError, RecursionError) as error:
        raise HandlerFileError(f"{file}: this is not TOML: {error}") from error
    lines = [number for number, line in enumerate(text.splitlines(), start=1) if _HEADER.match(line)]
    reader = _Reader(file, iter(lines), variables)
    reader.refuse_unknown(document, ("service",), file)
    services = [reader.read_service(table) for table in reader.tables(document, "service", file)]
    if reader.problems:
        raise HandlerFileError(*reader.problems)
    return services


@dataclass(slots=True)
class _Reader:
    file: str
    lines: Iterator[int]
    variables: Mapping[str, str]
    problems: list[str] = field(default_factory=list)

    def read_service(self, table: Mapping[str, Any]) -> WantedService:
        place = f"{self._next_place()}: {table.get('name') or 'a service'}"
        name = self._text(table, "name", place)
        engine = self._text(table, "engine", place) if "engine" in table else ""
        self.refuse_unknown(table, ("name", "engine", "handler"), place)
        handlers = tuple(self._handler(each, name) for each in self.tables(table, "handler", place))
        names = [each.body["name"] for each in handlers]
        self.problems += [
            f"{each.place}: stands in the file twice" for each in handlers if names.count(each.body["name"]) > 1
        ]
        return WantedService(place=place, name=name, engine=engine, handlers=handlers)

    def _handler(self, table: Mapping[str, Any], service: str) -> WantedHandler:
        place = f"{self._next_place()}: {table.get('name') or 'a handler'} of {service}"
        self.refuse_unknown(table, ("name", "operation", *FIELDS), place)
        body = {**table, "name": self._text(table, "name", place)}
        body["operation"] = str(table.get("operation", "REDEPLOY")).upper()
        if "verify" in table:
            body["verify"] = self._fill_secrets(table["verify"], place)
        return WantedHandler(place=place, body=body)

    def _fill_secrets(self, verify: Any, place: str) -> Any:
        """Return what a handler verifies, with the values of the variables that stand for secrets."""
        if isinstance(verify, dict) and "secrets" not in verify:
            return verify
        written = verify["secrets"] if isinstance(verify, dict) else None
        matches = [_VARIABLE.fullmatch(str(each)) for each in (written if isinstance(written, list) else [written])]
        names = [match[1] for match in matches if match]
        if len(names) < len(matches):
            # The value may be a secret, so the text does not quote it.
            self.problems.append(
                f"{place}: verify must be a table, and each of verify.secrets a variable, such as "
                '"${GITHUB_SECRET}": a secret in a file ends up in the repository'
            )
            return None
        self.problems += [
            f"{place}: the variable {name} is not set: it must hold the sender's secret"
            for name in names
            if not self.variables.get(name)
        ]
        return verify | {"secrets": [self.variables.get(name) for name in names]}

    def refuse_unknown(self, table: Mapping[str, Any], known: Iterable[str], place: str) -> None:
        for key in table:
            if key not in known:
                self.problems.append(f"{place}: unknown field {key!r}: {nearest(key, known)}")

    def tables(self, table: Mapping[str, Any], key: str, place: str) -> list[Mapping[str, Any]]:
        value = table.get(key, [])
        if isinstance(value, list) and all(isinstance(each, dict) for each in value):
            return value
        header = "service.handler" if key == "handler" else key
        self.problems.append(f"{place}: {key} must be written as [[{header}]], with two brackets")
        return []

    def _text(self, table: Mapping[str, Any], key: str, place: str) -> str:
        value = table.get(key)
        if isinstance(value, str) and value.strip():
            return value
        self.problems.append(f'{place} lacks its {key}, as in {key} = "{_EXAMPLES[key]}"')
        return ""

    def _next_place(self) -> str:
        line = next(self.lines, None)
        return self.file if line is None else f"{self.file}:{line}"
