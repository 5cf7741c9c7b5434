"""`tutum apply` and `export`: the webhook handlers of services, webhook groups, notification targets, and freeze
windows, as a file.
"""

import itertools
import json
import os
import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from itertools import islice, starmap
from shlex import quote
from typing import Annotated, Any

import typer

from tutum import (
    FreezeWindow,
    Handler,
    NotificationTarget,
    ObjectNotFound,
    Service,
    TutumApiError,
    Utils,
    WebhookGroup,
    WebhookHandler,
)
from tutum.cli.apply_plan import (
    DEFAULTS,
    GROUP,
    ServicePlan,
    Step,
    label_of_handler,
    make_plans,
    own,
    services_named,
)
from tutum.cli.handler_file import HandlerFileError, open_settings, read_handler_file, target_fields, window_fields
from tutum.cli.options import complete_service, read_text
from tutum.cli.output import count, printable
from tutum.client import current_client
from tutum.settings import origin_of

DIFFERS_EXIT_CODE = 1
_SIGNS = {"add": "+", "change": "~", "remove": "-"}
_DONE = {"add": "added", "change": "changed", "remove": "removed"}
_UNCLEAR = (None, 500, 502, 504)
"""Statuses of a request that the server may have performed; None: there was no response."""

app = typer.Typer(rich_markup_mode=None)


@app.command("apply")
def apply(
    file: Annotated[str, typer.Argument(metavar="FILE", help="TOML file, as tutum export prints it; - for stdin.")],
    prune: Annotated[
        bool,
        typer.Option(
            "--prune",
            help="Remove the handlers of the file's services, the webhook groups, the notification targets, and the"
            " freeze windows, that it does not name.",
        ),
    ] = False,
    check: Annotated[
        bool, typer.Option("--check", help="Only show what would be done, and exit with 1 if that is anything.")
    ] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask; for CI.")] = False,
) -> None:
    """Make handlers, groups, notification targets and freeze windows as a file says. It shows its plan, and asks.

    Services that the file does not name are left alone. ${NAME} stands for a secret in an environment variable.
    """
    try:
        text, shown = read_text("FILE", file), "stdin" if file == "-" else printable(file)
        plans = make_plans(read_handler_file(text, shown, os.environ), prune=prune)
    except HandlerFileError as error:
        for problem in error.args:
            print(f"tutum: {printable(problem, keep=chr(10))}", file=sys.stderr)
        print("tutum: nothing was changed", file=sys.stderr)
        sys.exit(2)
    for line in _describe(plans):
        print(printable(line))
    steps = [step for plan in plans for step in plan.steps]
    if not steps or check:
        sys.exit(DIFFERS_EXIT_CODE if steps else 0)
    if not yes:
        if not sys.stdin.isatty():
            raise typer.BadParameter("nobody can be asked here, so nothing was changed: add --yes, or --check")
        typer.confirm("Do this?", abort=True, err=True)
    # Removals last: until then, a handler whose successor could not be added keeps serving its callers.
    perform(sorted(steps, key=lambda step: step.verb == "remove"))


def _describe(plans: Sequence[ServicePlan]) -> Iterator[str]:
    for plan in plans:
        if plan.steps or plan.notes:
            yield plan.title
        for step in plan.steps:
            head, *others = step.details
            yield f"  {_SIGNS[step.verb]} {step.name}  {head}"
            yield from (f"    {' ' * len(step.name)}  {detail}" for detail in others)
        yield from (f"  {note}" for note in plan.notes)
    verbs = [step.verb for plan in plans for step in plan.steps]
    unchanged = sum(plan.unchanged for plan in plans)
    has_others = any(plan.noun for plan in plans)
    if not verbs:
        shown = "everything is" if has_others else count(unchanged, "handler")
        yield f"Nothing to do: {shown} as the file says."
        return
    add, change, remove = (verbs.count(verb) for verb in _SIGNS)  # type: ignore[arg-type]  # its keys are verbs
    head = str(add) if has_others else count(add, "handler")
    yield f"{head} to add, {change} to change, {remove} to remove, {unchanged} unchanged."


def perform(steps: Sequence[Step]) -> None:
    """Perform the steps, and print each completed step. The first failure ends the command."""
    for number, step in enumerate(steps):
        try:
            step.take()
        except TutumApiError as error:
            left = f"the other {len(steps) - number} were not"
            if error.status in _UNCLEAR:
                left = "this one may have been made as well, but none after it"
            raise TutumApiError(
                f"{step.verb} {step.label}: {error.message}. {number} of {len(steps)} changes were "
                f"made, as printed above; {left}. Run the same command again to go on",
                status=error.status,
            ) from error
        print(printable(f"{_DONE[step.verb]} {step.label}"))
        if step.verb == "add" and step.noun in ("", GROUP):
            of_handler = f"handler show {quote(step.service)}"
            shown = f"tutum webhook-{of_handler if step.service else 'group show'} {quote(step.name)} --url"
            print(printable(f"  its URL is a password; print it with: {shown}"))


@app.command("export")
def export(
    services: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[SERVICE]...",
            help="Default: all that have webhook handlers, and your groups, notification targets and freeze windows.",
            autocompletion=complete_service,
            show_default=False,
        ),
    ] = None,
) -> None:
    """Print webhook handlers, groups, notification targets and freeze windows as a file for tutum apply.

    It holds no secret: it names variables instead.
    """
    writer = _Writer()
    blocks = [block for service in _services(services or []) for block in writer.service(service)]
    what = "Webhook handlers"
    if not services:
        what += ", groups, notification targets and freeze windows"
        blocks += [writer.group(group) for group in own(WebhookGroup().list())]
        blocks += [writer.target(target) for target in NotificationTarget.list()]
        windows = own(FreezeWindow.list())
        blocks += [_block("freeze", window_fields(window, _service_of(window))) for window in windows]
    head = [f"# {what} of {origin_of(current_client().base_url)}, for: tutum apply FILE"]
    if names := writer.variables:
        head.append("# Secrets are not exported. These variables must hold them when the file is applied:")
        head += [f"#   {name}" for name in names]
        writer.notes.append(f"not exported: secrets; the file names variables for them: {', '.join(names)}")
    print("\n\n".join(["\n".join(head), *blocks]))
    for note in dict.fromkeys(writer.notes):
        print(note, file=sys.stderr)


def _services(identifiers: Sequence[str]) -> list[Service]:
    """Return the services, each once, by name."""
    if identifiers:
        found = map(Utils.fetch_remote_service, identifiers)
    else:
        found = map(Service.fetch, {handler.service_uuid for handler in WebhookHandler.unused(0)})
    unique = {service.uuid: service for service in found}
    return sorted(unique.values(), key=lambda service: (service.shown_name, service.engine))


class _Writer:
    """Writes blocks of the file.

    Attributes:
        variables: Variables that the file names for secrets.
        notes: Lines about entries that could not be written or cannot be applied.
    """

    def __init__(self) -> None:
        self.variables: list[str] = []
        self.notes: list[str] = []

    def service(self, service: Service) -> Iterator[str]:
        """Yield a service and its handlers."""
        yield _block("service", _reference(service))
        handlers = WebhookHandler.fetch(service).list()
        names = [handler.name for handler in handlers]
        for handler in handlers:
            if handler.name and names.count(handler.name) > 1:
                yield self._remark(
                    f"{names.count(handler.name)} handlers have the name {handler.name}; rename all but one: "
                    f"tutum webhook-handler set {quote(service.shown_name)} {handler.uuid[:8]} -n NEW"
                )
            of = f" of {service.shown_name}"
            yield self._handler("service.handler", handler, f"{service.shown_name} {handler.name}", of=of)

    def group(self, group: Handler) -> str:
        """Return a webhook group."""
        services = list(map(_name_of, group.services or [])) or None
        return self._handler("group", Handler(group, services=services), group.name, noun="the webhook group ")

    def _handler(self, table: str, handler: Handler, label: str, *, noun: str = "", of: str = "") -> str:
        """Return a handler or group. `label` is for the variables of its secrets."""
        if not handler.name:
            return self._remark(f"not exported: {noun}{label_of_handler(handler)}{of}: a file needs names")
        kept = [name for name, default in DEFAULTS.items() if handler.get(name, default) != default]
        body = {name: handler[name] for name in ("name", "operation", *kept) if name in handler}
        if "verify" in body:
            verify = dict(handler["verify"])
            number = verify.pop("secrets_set", 1)
            # Identity tokens need no secrets.
            body["verify"] = verify | ({"secrets": self._name_variables(f"{label} secret", number)} if number else {})
        return _block(table, body)

    def _remark(self, text: str) -> str:
        self.notes.append(printable(text))
        return f"# {self.notes[-1]}"

    def target(self, target: NotificationTarget) -> str:
        """Return a notification target."""
        secret = [key for key in target.settings if key not in open_settings(target)]
        variables = {key: self._name_variables(f"{target.name} {key}", 1)[0] for key in secret}
        return _block("notification", target_fields(target, _service_of(target), variables))

    def _name_variables(self, text: str, number: int) -> list[str]:
        """Return references to variables that no other secret of the file has, named after a text."""
        words = re.sub(r"[^A-Z0-9]+", "_", text.upper()).strip("_")
        stem = f"{'' if words[:1].isalpha() else 'S_'}{words}"
        names = (stem if count == 1 else f"{stem}_{count}" for count in itertools.count(1))
        new = list(islice((name for name in names if name not in self.variables), number))
        self.variables += new
        return [f"${{{name}}}" for name in new]


def _reference(service: Service) -> dict[str, str]:
    """Return the entries of the file with which `tutum apply` finds this service, and no other."""
    named = services_named(service.shown_name)
    engines = [each.engine for each in named]
    # A service that is gone is not among those with its name if another service has this name now.
    if service.uuid not in [each.uuid for each in named] or engines.count(service.engine) > 1:
        return {"name": service.uuid}
    return {"name": service.shown_name} | ({"engine": service.engine} if len(engines) > 1 else {})


def _service_of(limited: NotificationTarget | FreezeWindow) -> str | None:
    """Return the entry of the file for the service of a target or a window; None if it has none."""
    uuid = (limited.service or "").strip("/").rpartition("/")[2]
    return _name_of(uuid) if uuid else None


def _name_of(uuid: str) -> str:
    """Return the entry of the file for a service."""
    try:
        found = _reference(Service.fetch(uuid))
    except ObjectNotFound:  # the user does not see it any more
        return uuid
    return found["name"] if len(found) == 1 else uuid


def _block(table: str, fields: Mapping[str, Any]) -> str:
    return "\n".join([f"[[{table}]]", *starmap(toml_line, fields.items())])


def toml_line(key: str, value: Any) -> str:
    """Return `key = value`. The value is a text, number or flag, or a list or dict of these."""
    return f"{key if re.fullmatch(r'[A-Za-z0-9_-]+', key) else _toml(key)} = {_toml(value)}"


def _toml(value: Any) -> str:
    if isinstance(value, dict):
        return f"{{ {', '.join(starmap(toml_line, value.items()))} }}"
    if isinstance(value, list):
        return f"[{', '.join(map(_toml, value))}]"
    # JSON's escapes are valid in TOML; TOML also requires an escape for DEL.
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
