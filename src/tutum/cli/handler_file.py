"""Reads the file of `tutum apply`: services with their webhook handlers, webhook groups, notification targets, and
freeze windows, in TOML.
"""

import json
import re
import tomllib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from tutum.cli.options import VARIABLE, nearest
from tutum.freeze import FIELDS as FREEZE_FIELDS
from tutum.notification import FIELDS as TARGET_FIELDS
from tutum.notification import SECRET_SETTINGS
from tutum.webhook_group import FIELDS as GROUP_FIELDS
from tutum.webhook_handler import FIELDS

_EXAMPLES = {"name": "web", "engine": "docker", "kind": "webhook", "from": "Fri 16:00", "to": "Mon 06:00"}


class HandlerFileError(Exception):
    """A file cannot be applied. Each argument is a line with a reason and its place."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WantedObject:
    """A handler, a webhook group, a notification target or a freeze window of the file.

    Attributes:
        place: Location for errors: `handlers.toml:12: ci of shop/web`.
        body: The request that creates it, with its fields and secrets, and the name of its service.
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
    handlers: tuple[WantedObject, ...]


class Wanted(NamedTuple):
    """All that a file names."""

    services: Sequence[WantedService]
    groups: Sequence[WantedObject]
    targets: Sequence[WantedObject]
    freezes: Sequence[WantedObject]


def read_handler_file(text: str, file: str, variables: Mapping[str, str]) -> Wanted:
    """Return what a file names, with the secrets from its variables. The server checks the fields.

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
    reader = _Reader(file, _find_lines(text, r"service\s*(\.\s*handler\s*)?"), variables)
    reader.refuse_unknown(document, ("service", "group", "notification", "freeze"), file)
    services = [reader.read_service(table) for table in reader.tables(document, "service", file)]
    reader.lines = _find_lines(text, "group")
    groups = [reader.read_group(table) for table in reader.tables(document, "group", file)]
    reader.lines = _find_lines(text, "notification")
    targets = [reader.read_target(table) for table in reader.tables(document, "notification", file)]
    for objects in (groups, targets):
        reader.refuse_twice([(each.place, each.body["name"]) for each in objects])
    reader.lines = _find_lines(text, "freeze")
    freezes = [reader.read_freeze(table) for table in reader.tables(document, "freeze", file)]
    if reader.problems:
        raise HandlerFileError(*reader.problems)
    return Wanted(services, groups, targets, freezes)


def _find_lines(text: str, table: str) -> Iterator[int]:
    """Return the numbers of the lines that begin a table, whose name is a regular expression."""
    header = re.compile(rf"\s*\[\[\s*{table}\s*\]\]")
    return iter([number for number, line in enumerate(text.splitlines(), start=1) if header.match(line)])


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
        self.refuse_twice([(each.place, each.body["name"]) for each in handlers])
        return WantedService(place=place, name=name, engine=engine, handlers=handlers)

    def read_group(self, table: Mapping[str, Any]) -> WantedObject:
        place = f"{self._next_place()}: {table.get('name') or 'a group'}"
        self.refuse_unknown(table, ("name", *GROUP_FIELDS), place)
        body = {**table, "name": self._text(table, "name", place)}
        if "verify" in table:
            body["verify"] = self._fill_secrets(table["verify"], place)
        return WantedObject(place=place, body=body)

    def read_target(self, table: Mapping[str, Any]) -> WantedObject:
        place = f"{self._next_place()}: {table.get('name') or 'a notification'}"
        self.refuse_unknown(table, ("name", "kind", "settings", *TARGET_FIELDS), place)
        name, kind, settings = self._text(table, "name", place), self._text(table, "kind", place), table.get("settings")
        if not isinstance(settings, dict):
            self.problems.append(f'{place} lacks its settings, as in settings = {{ url = "${{ONCALL_URL}}" }}')
            settings = {}
        filled = {key: self._fill(key, value, kind, place) for key, value in settings.items()}
        return WantedObject(place=place, body={**table, "name": name, "kind": kind, "settings": filled})

    def read_freeze(self, table: Mapping[str, Any]) -> WantedObject:
        place = f"{self._next_place()}: a freeze window"
        self.refuse_unknown(table, FREEZE_FIELDS, place)
        times = {key: self._text(table, key, place) for key in ("from", "to")}
        return WantedObject(place=place, body={**table, **times})

    def _fill(self, key: str, value: Any, kind: str, place: str) -> Any:
        """Return the value of a setting, or of the variable that stands for it."""
        match = VARIABLE.fullmatch(str(value))
        if match and not self.variables.get(match[1]):
            self.problems.append(f"{place}: the variable {match[1]} is not set: it must hold {key}")
        elif not match and key in SECRET_SETTINGS.get(kind, ()):
            # The value may be a secret, so the text does not quote it.
            self.problems.append(
                f'{place}: {key} must be a variable, such as "${{ONCALL_SECRET}}": a secret in a file ends up in the '
                "repository"
            )
        return self.variables.get(match[1]) if match else value

    def refuse_twice(self, named: Sequence[tuple[str, str]]) -> None:
        """Add a problem for each entry whose name occurs several times."""
        names = [name for _, name in named]
        self.problems += [f"{place}: stands in the file twice" for place, name in named if names.count(name) > 1]

    def _handler(self, table: Mapping[str, Any], service: str) -> WantedObject:
        place = f"{self._next_place()}: {table.get('name') or 'a handler'} of {service}"
        self.refuse_unknown(table, ("name", "operation", *FIELDS), place)
        body = {**table, "name": self._text(table, "name", place)}
        body["operation"] = str(table.get("operation", "REDEPLOY")).upper()
        if "verify" in table:
            body["verify"] = self._fill_secrets(table["verify"], place)
        return WantedObject(place=place, body=body)

    def _fill_secrets(self, verify: Any, place: str) -> Any:
        """Return what a handler verifies, with the values of the variables that stand for secrets."""
        if isinstance(verify, dict) and "secrets" not in verify:
            return verify
        written = verify["secrets"] if isinstance(verify, dict) else None
        matches = [VARIABLE.fullmatch(str(each)) for each in (written if isinstance(written, list) else [written])]
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
