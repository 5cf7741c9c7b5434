"""`tutum export`: prints the webhook handlers of services as a file for `tutum apply`."""

import json
import re
import sys
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from shlex import quote
from typing import Annotated, Any

import typer

from tutum.cli.apply_plan import find_service, label_of_handler
from tutum.cli.completion import complete_service
from tutum.cli.output import printable
from tutum.client import current_client
from tutum.dates import parse_date
from tutum.errors import NonUniqueIdentifier, ObjectNotFound
from tutum.handler import Handler
from tutum.handler_fields import FIELDS
from tutum.lookup import Utils
from tutum.paths import origin_of
from tutum.service import Service
from tutum.webhook_handler import WebhookHandler

app = typer.Typer(rich_markup_mode=None)


@app.command("export")
def export(
    services: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[SERVICE]...",
            help="Default: all that have webhook handlers.",
            autocompletion=complete_service,
            show_default=False,
        ),
    ] = None,
) -> None:
    """Print the webhook handlers of services as a file for tutum apply.

    It holds no secret: where a handler has some, it names variables.
    """
    writer = _Writer()
    blocks = ["\n".join(writer.lines_of(service)) for service in _services(services or [])]
    needs = [f"#   {name}" for name in writer.variables]
    head = [f"# Webhook handlers of {origin_of(current_client().base_url)}, for: tutum apply FILE"]
    if needs:
        head += ["# Secrets are not exported. These variables must hold them when the file is applied:", *needs]
    print("\n\n".join(["\n".join(head), *blocks]))
    if needs:
        print(
            f"not exported: secrets; the file names variables for them: {', '.join(writer.variables)}", file=sys.stderr
        )
    for line in dict.fromkeys(writer.notes):
        print(printable(line), file=sys.stderr)


def _services(identifiers: Sequence[str]) -> list[Service]:
    """Return the services, each once, by name."""
    if identifiers:
        found = map(Utils.fetch_remote_service, identifiers)
    else:
        uuids = dict.fromkeys(handler.service_uuid for handler in WebhookHandler.unused(0))
        found = map(Service.fetch, uuids)
    unique = {service.uuid: service for service in found}
    return sorted(unique.values(), key=lambda service: (service.shown_name, service.engine))


class _Writer:
    """Writes services.

    Attributes:
        variables: That the file names for secrets.
        notes: What could not be written, and what cannot be applied, a line each.
    """

    def __init__(self) -> None:
        self.variables: list[str] = []
        self.notes: list[str] = []

    def lines_of(self, service: Service) -> Iterator[str]:
        """Yield the lines of a service and its handlers."""
        yield "[[service]]"
        yield from (toml_line(*entry) for entry in _reference(service).items())
        handlers = WebhookHandler.fetch(service).list()
        counts = Counter(handler.name for handler in handlers)
        for handler in handlers:
            if not handler.name:
                line = f"{label_of_handler(handler)} of {service.shown_name}: a file needs names"
                self.notes.append(f"not exported: {line}")
                yield printable(f"# Not exported: {line}")
                continue
            yield "\n[[service.handler]]"
            if counts[handler.name] > 1:
                line = f"{counts[handler.name]} handlers of {service.shown_name} have this name; rename all but one"
                self.notes.append(f"{handler.name}: {line}, then export again")
                yield printable(
                    f"# {line}: tutum webhook-handler set {quote(service.shown_name)} {handler.uuid[:8]} -n NEW"
                )
            yield toml_line("name", handler.name)
            yield toml_line("operation", handler.operation)
            for name, field in FIELDS.items():
                if handler.get(name, field["default"]) != field["default"]:
                    yield toml_line(name, self._value(service, handler, name))

    def _value(self, service: Service, handler: Handler, name: str) -> Any:
        value = handler[name]
        if name == "expires_datetime":
            return parse_date(value)
        if name != "verify":
            return value
        count = value.get("secrets_set", 1)
        words = re.sub(r"[^A-Z0-9]+", "_", f"{service.shown_name} {handler.name}".upper()).strip("_")
        stem = f"{'' if words[:1].isalpha() else 'S_'}{words}_SECRET".replace("__", "_")
        names = [self._variable(stem if count == 1 else f"{stem}_{number}") for number in range(1, count + 1)]
        settings = {key: each for key, each in value.items() if key != "secrets_set"}
        return {**settings, "secrets": [f"${{{each}}}" for each in names]}

    def _variable(self, name: str) -> str:
        """Return a name that no other secret of the file has."""
        unique, number = name, 1
        while unique in self.variables:
            number += 1
            unique = f"{name}_{number}"
        self.variables.append(unique)
        return unique


def _reference(service: Service) -> dict[str, str]:
    """Return the entries of the file that `tutum apply` finds this service by, and no other."""
    by_name = {"name": service.shown_name}
    for entries in (by_name, by_name | {"engine": service.engine}):
        try:
            if find_service(entries["name"], entries.get("engine", "")).uuid == service.uuid:
                return entries
        except (ObjectNotFound, NonUniqueIdentifier):
            continue
    return {"name": service.uuid}


_BARE_KEY = re.compile(r"[A-Za-z0-9_-]+", re.ASCII)
_WIDTH = 100


def toml_line(key: str, value: Any) -> str:
    """Return `key = value`. A list that would make it too long has a line for each entry.

    Args:
        value: A text, number, flag or date, or a list or dict of these.
    """
    line = f"{_key(key)} = {_value(value)}"
    if len(line) <= _WIDTH or not isinstance(value, list):
        return line
    return "\n".join([f"{_key(key)} = [", *(f"    {_value(each)}," for each in value), "]"])


def _key(key: str) -> str:
    return key if _BARE_KEY.fullmatch(key) else _text(key)


def _value(value: Any) -> str:
    if isinstance(value, Mapping):
        return f"{{ {', '.join(f'{_key(key)} = {_value(each)}' for key, each in value.items())} }}"
    if isinstance(value, list):
        return f"[{', '.join(map(_value, value))}]"
    if isinstance(value, datetime):
        return value.isoformat().replace("+00:00", "Z")
    return _text(value) if isinstance(value, str) else json.dumps(value)


def _text(text: str) -> str:
    # JSON's escapes are TOML's; TOML also wants one for DEL.
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")
