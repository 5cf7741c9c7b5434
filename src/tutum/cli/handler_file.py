"""The file of `tutum apply`, in TOML: services with their webhook handlers, webhook groups, notification targets and
freeze windows. It is read here, and the entries for a target or a window are written here.
"""

import json
import re
import tomllib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from tutum.cli.options import VARIABLE, nearest
from tutum.freeze import FREEZE_FIELDS, FreezeWindow
from tutum.notification import SECRET_SETTINGS, TARGET_FIELDS, NotificationTarget
from tutum.webhook_group import GROUP_FIELDS
from tutum.webhook_handler import FIELDS

_MASK = "…"
_EXAMPLES = {"name": "web", "engine": "docker", "kind": "webhook", "from": "Fri 16:00", "to": "Mon 06:00"}
_TABLES: dict[str, tuple[str, Sequence[str], Iterable[str]]] = {
    "service": ("a service", ("name",), ("engine", "handler")),
    "service.handler": ("a handler", ("name",), ("operation", *FIELDS)),
    "group": ("a group", ("name",), GROUP_FIELDS),
    "notification": ("a notification", ("name", "kind"), ("settings", *TARGET_FIELDS)),
    "freeze": ("a freeze window", ("from", "to"), FREEZE_FIELDS),
}
"""For each table: the name of an entry without a name in errors, the fields that must be texts, and the others."""


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
class WantedService(WantedObject):
    """A service of the file. Its `body` has its name for people (`shop/web`), and maybe the engine."""

    handlers: Sequence[WantedObject]


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
    reader = _Reader(file, {table: _find_lines(text, table) for table in _TABLES}, variables)
    reader.refuse_unknown(document, ("service", "group", "notification", "freeze"), file)
    wanted = Wanted(
        services=reader.read_services(document),
        groups=reader.read(document, "group", file),
        targets=reader.read(document, "notification", file),
        freezes=reader.read(document, "freeze", file),
    )
    if reader.problems:
        raise HandlerFileError(*reader.problems)
    return wanted


def _find_lines(text: str, table: str) -> Iterator[int]:
    """Return the numbers of the lines that begin a table."""
    name = r"\s*\.\s*".join(table.split("."))
    header = re.compile(rf"\s*\[\[\s*{name}\s*\]\]")
    return iter([number for number, line in enumerate(text.splitlines(), start=1) if header.match(line)])


@dataclass(slots=True)
class _Reader:
    file: str
    lines: Mapping[str, Iterator[int]]
    variables: Mapping[str, str]
    problems: list[str] = field(default_factory=list)

    def read_services(self, document: Mapping[str, Any]) -> list[WantedService]:
        services = []
        for service in self._read_tables(document, "service", self.file):
            if "engine" in service.body:
                self._text(service.body, "engine", service.place)
            handlers = self.read(service.body, "service.handler", service.place, of=f" of {service.body['name']}")
            for handler in handlers:
                handler.body["operation"] = str(handler.body.get("operation", "REDEPLOY")).upper()
            services.append(WantedService(place=service.place, body=service.body, handlers=handlers))
        return services

    def read(self, parent: Mapping[str, Any], table: str, place: str, *, of: str = "") -> list[WantedObject]:
        """Return the objects of a table, with their secrets. `of` follows their names in errors."""
        objects = self._read_tables(parent, table, place, of)
        names = [each.body["name"] for each in objects if each.body.get("name")]
        for each in objects:
            if names.count(each.body.get("name")) > 1:
                self.problems.append(f"{each.place}: stands in the file twice")
            if table == "notification":
                self._fill_settings(each)
            elif "verify" in each.body:
                self._fill_verify(each)
        return objects

    def _read_tables(self, parent: Mapping[str, Any], table: str, place: str, of: str = "") -> list[WantedObject]:
        noun, needed, others = _TABLES[table]
        objects = []
        for entries in self._tables(parent, table, place):
            line = next(self.lines[table], None)
            where = self.file if line is None else f"{self.file}:{line}"
            own_place = f"{where}: {entries.get('name') or noun}{of}"
            self.refuse_unknown(entries, (*needed, *others), own_place)
            texts = {key: self._text(entries, key, own_place) for key in needed}
            objects.append(WantedObject(place=own_place, body={**entries, **texts}))
        return objects

    def _tables(self, parent: Mapping[str, Any], table: str, place: str) -> list[Mapping[str, Any]]:
        key = table.rpartition(".")[2]
        value = parent.get(key, [])
        if isinstance(value, list) and all(isinstance(each, dict) for each in value):
            return value
        self.problems.append(f"{place}: {key} must be written as [[{table}]], with two brackets")
        return []

    def _fill_settings(self, target: WantedObject) -> None:
        settings = target.body.get("settings")
        if not isinstance(settings, dict):
            self.problems.append(f'{target.place} lacks its settings, as in settings = {{ url = "${{ONCALL_URL}}" }}')
            settings = {}
        secret = SECRET_SETTINGS.get(target.body["kind"], ())
        rules = {key: f'{key} must be a variable, such as "${{ONCALL_SECRET}}"' for key in secret}
        target.body["settings"] = {
            key: self._fill(value, target.place, key, rules.get(key)) for key, value in settings.items()
        }

    def _fill_verify(self, handler: WantedObject) -> None:
        verify = handler.body["verify"]
        if isinstance(verify, dict) and "secrets" not in verify:
            return
        written = verify["secrets"] if isinstance(verify, dict) else None
        rule = 'verify must be a table, and each of verify.secrets a variable, such as "${GITHUB_SECRET}"'
        secrets = [
            self._fill(each, handler.place, "the sender's secret", rule)
            for each in (written if isinstance(written, list) else [written])
        ]
        handler.body["verify"] = {**(verify if isinstance(verify, dict) else {}), "secrets": secrets}

    def _fill(self, value: Any, place: str, meaning: str, rule: str | None) -> Any:
        """Return a value, or that of the variable that stands for it.

        Args:
            meaning: What the variable must hold.
            rule: What is wrong with a value, which may be a secret and is not quoted; None if it is fine.
        """
        match = VARIABLE.fullmatch(str(value))
        if match is None:
            self.problems += [f"{place}: {rule}: a secret in a file ends up in the repository"] if rule else []
            return value
        if not self.variables.get(match[1]):
            self.problems.append(f"{place}: the variable {match[1]} is not set: it must hold {meaning}")
        return self.variables.get(match[1])

    def refuse_unknown(self, table: Mapping[str, Any], known: Iterable[str], place: str) -> None:
        for key in table:
            if key not in known:
                self.problems.append(f"{place}: unknown field {key!r}: {nearest(key, known)}")

    def _text(self, table: Mapping[str, Any], key: str, place: str) -> str:
        value = table.get(key)
        if isinstance(value, str) and value.strip():
            return value
        self.problems.append(f'{place} lacks its {key}, as in {key} = "{_EXAMPLES[key]}"')
        return ""


def open_settings(target: NotificationTarget) -> dict[str, Any]:
    """Return the settings of a target that are no secrets."""
    return {key: value for key, value in target.settings.items() if _MASK not in str(value)}


def target_fields(target: NotificationTarget, service: str | None, variables: Mapping[str, str]) -> dict[str, Any]:
    """Return the entries of the file for a target.

    Args:
        service: Name of its service; None if it has none.
        variables: References to variables for its secret settings.
    """
    settings = {key: variables.get(key, value) for key, value in target.settings.items() if value}
    fields = target.get_all_attributes() | {"service": service}
    kept = {name: fields[name] for name, default in TARGET_FIELDS.items() if fields[name] not in (default, [])}
    return {"name": target.name, "kind": target.kind, "settings": settings, **kept}


def window_fields(window: FreezeWindow, service: str | None) -> dict[str, Any]:
    """Return the entries of the file for a window. `service` names its service."""
    fields = {**window.get_all_attributes(), "service": service}
    return {name: fields[name] for name, default in FREEZE_FIELDS.items() if fields[name] != default}
