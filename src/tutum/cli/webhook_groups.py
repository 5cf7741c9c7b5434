"""`tutum webhook-group`: manages and calls the secret URLs that redeploy several services each."""

import sys
from collections.abc import Sequence
from itertools import islice
from typing import Annotated, Any, Literal

import typer

from tutum.cli.actions import FAILED_EXIT_CODE, INTERRUPTED_EXIT_CODE
from tutum.cli.field_options import changes_of, complete_verify, takes_fields
from tutum.cli.handler_calls import PAIRS, explained
from tutum.cli.handler_text import call_advice, handler_pairs, state_of
from tutum.cli.options import (
    DEFAULT_TIMEOUT_S,
    AnyServices,
    AsJson,
    Quiet,
    Timeout,
    Wait,
    complete_group,
    find_services,
    seconds_of,
    words,
)
from tutum.cli.output import (
    Columns,
    age,
    count,
    hint,
    print_json,
    print_list,
    print_resources,
    print_table,
    printable,
)
from tutum.cli.webhook_handlers import warn_of_loopback
from tutum.errors import TutumApiError
from tutum.lookup import find_handler
from tutum.redaction import shorten
from tutum.service import Service
from tutum.snippets import TARGETS, snippet
from tutum.webhook_group import FIELDS, GroupProgress, WebhookGroup
from tutum.webhook_handler import Handler

app = typer.Typer(rich_markup_mode=None)

NOUN = "webhook group"
_POLL_S = 1.0
_group = typer.Argument(metavar="GROUP", help="Name, UUID, or start of the UUID.", autocompletion=complete_group)
GroupName = Annotated[str, _group]
Name = Annotated[str | None, typer.Option("--name", "-n", metavar="NAME", help="Name.")]
Stack = Annotated[
    str | None, typer.Option("--stack", metavar="STACK", help="The services of this project, stack or release.")
]
Engine = Annotated[
    str | None, typer.Option("--engine", metavar="ENGINE", help="Engine of the stack, if several engines have it.")
]
Image = Annotated[
    str | None,
    typer.Option("--image", metavar="GLOB", help="The services whose image a call names: 'ghcr.io/me/*'."),
]
Order = Annotated[
    Literal["none", "listed", "depends_on"] | None,
    typer.Option("--sequence", help="In which order the services are redeployed; default: all at once."),
]
OnFailure = Annotated[
    Literal["cancel", "continue"] | None,
    typer.Option("--on-failure", help="What happens to those that follow a failed one; default: cancel."),
]

LIST_COLUMNS: Columns = {
    "NAME": lambda group: group.name or "",
    "SERVICES": lambda group: _selection(group),
    "SEQUENCE": lambda group: group.sequence,
    "STATE": lambda group: state_of(_as_handler(group)),
    "UUID": lambda group: group.uuid,
}
CALL_COLUMNS: Columns = {
    "ID": lambda call: str(call["id"]),
    "RECEIVED": lambda call: age(call["received_datetime"]),
    "STATE": lambda call: call["state"],
    "SERVICES": lambda call: ", ".join(f"{line['service_name']} {_state(line)}" for line in call["actions"]),
}


@app.command("list")
@app.command("ls", hidden=True)
def list_groups(quiet: Quiet = False, as_json: AsJson = False) -> None:
    """List your webhook groups."""
    none = "no webhook groups: tutum webhook-group create --help"
    print_list(WebhookGroup.list(), LIST_COLUMNS, quiet=quiet, as_json=as_json, none=none)


@app.command("create")
@takes_fields
def create_group(
    services: AnyServices = None,
    name: Name = None,
    stack: Stack = None,
    engine: Engine = None,
    image: Image = None,
    sequence: Order = None,
    on_failure: OnFailure = None,
    quiet: Quiet = False,
    as_json: AsJson = False,
    *,
    fields: dict[str, Any],
) -> None:
    """Create a webhook group of services, of a stack or of an image, and print its UUID and URL."""
    selector = _selector(services, stack, engine, image)
    if not selector:
        raise typer.BadParameter("name services, or give --stack or --image")
    if name and WebhookGroup.list(name=name):
        raise TutumApiError(f"there is a webhook group {name} already: choose another name")
    fields = complete_verify(selector | _own_fields(sequence, on_failure) | fields, None)
    group = WebhookGroup.create(name=name, **fields)
    group.save()
    _print_url(group, call_advice(fields), quiet=quiet, as_json=as_json)


@app.command("set")
@takes_fields
def set_fields(
    identifier: GroupName,
    services: AnyServices = None,
    name: Name = None,
    stack: Stack = None,
    engine: Engine = None,
    image: Image = None,
    sequence: Order = None,
    on_failure: OnFailure = None,
    reset: Annotated[
        list[str] | None,
        typer.Option(
            "--reset",
            metavar="FIELD",
            help="Field to set to its default; repeatable.",
            autocompletion=words(*FIELDS),
        ),
    ] = None,
    as_json: AsJson = False,
    *,
    fields: dict[str, Any],
) -> None:
    """Change the given fields of a webhook group. Services, a stack or an image replace the old selection."""
    selector = _selector(services, stack, engine, image)
    changes = changes_of(name, reset, selector | _own_fields(sequence, on_failure) | fields, FIELDS)
    group = _find(identifier)
    for field, value in complete_verify(changes, _as_handler(group)).items():
        setattr(group, field, value)
    group.save()
    _print_group(group, as_json=as_json)


@app.command("show")
def show_group(
    identifier: GroupName,
    target: Annotated[
        str | None,
        typer.Option(
            "--for",
            metavar="SENDER",
            help=f"Print what to paste, with the URL: {', '.join(TARGETS)}.",
            autocompletion=words(*TARGETS),
        ),
    ] = None,
    url: Annotated[bool, typer.Option("--url", help="Print only the URL to POST to.")] = False,
    as_json: AsJson = False,
) -> None:
    """Show a webhook group. Its URL is a password, and printed only with --url, --for or --json."""
    if target is not None and target not in TARGETS:
        raise typer.BadParameter(f"--for must be one of {', '.join(TARGETS)}; got {target!r}")
    group = _find(identifier)
    if target is None and not url:
        _print_group(group, as_json=as_json)
        return
    handler = _as_handler(group)
    print(handler.call_url if target is None else snippet(target, handler.call_url, handler).rstrip())
    warn_of_loopback([handler])


@app.command("rotate")
def rotate_group(
    identifier: GroupName,
    grace: Annotated[
        str, typer.Option("--grace", metavar="SPAN", help="How long the old URL still works: 0, 1h, 7d.")
    ] = "1d",
    quiet: Quiet = False,
    as_json: AsJson = False,
) -> None:
    """Give a webhook group a new UUID and URL, and print them."""
    grace_s = seconds_of("--grace", grace)
    group = _find(identifier)
    group.rotate(grace_s)
    until = group.rotation["old_until"] if group.rotation else "now"
    _print_url(group, f"The old URL works until {until}.", quiet=quiet, as_json=as_json)


@app.command("rm")
def remove_groups(identifiers: Annotated[list[str], _group]) -> None:
    """Revoke webhook groups: their URLs answer 404. If a name is unknown, none is revoked."""
    groups = WebhookGroup.list()
    for group in {each.uuid: each for each in (find_handler(groups, name, NOUN) for name in identifiers)}.values():
        group.delete()
        print(group.uuid)


@app.command("call")
def call_group(
    identifier: GroupName,
    tag: Annotated[str | None, typer.Option("--tag", metavar="TAG", help="Image tag to deploy.")] = None,
    wait: Wait = False,
    timeout_s: Timeout = DEFAULT_TIMEOUT_S,
    quiet: Quiet = False,
    as_json: AsJson = False,
) -> None:
    """Call a webhook group, and show what it does with each service."""
    group = _find(identifier)
    with explained("group", _as_handler(group), "tutum webhook-group show GROUP"):
        progress = group.call(tag=tag)
    if wait:
        progress = _follow(progress, timeout_s=timeout_s)
    if as_json:
        print_json({name: getattr(progress, name) for name in ("state", "reason", "group_call", "actions")})
    elif progress.state == "Skipped":
        print(f"Skipped: {printable(progress.reason)}")
    elif quiet:
        for line in progress.actions:
            print(_action_uuid(line))
    else:
        rows = [(line["service_name"], _state(line), _action_uuid(line), _reason(line)) for line in progress.actions]
        print_table(["SERVICE", "STATE", "ACTION", "REASON"], rows)
    if wait and progress.state not in ("Success", "Skipped"):
        raise typer.Exit(FAILED_EXIT_CODE)


@app.command("calls")
def list_calls(
    identifier: GroupName,
    last: Annotated[int, typer.Option("--last", min=1, metavar="N", help="How many, the newest first.")] = 25,
    as_json: AsJson = False,
) -> None:
    """List the calls of a webhook group, with the state of each service."""
    print_list(list(islice(_find(identifier).group_calls(), last)), CALL_COLUMNS, as_json=as_json)


def _follow(progress: GroupProgress, *, timeout_s: float) -> GroupProgress:
    """Wait for the end of a call, and show each change of a service's state."""
    clock = progress.client.clock
    end_s = clock.monotonic() + timeout_s
    shown: dict[str, str] = {}
    try:
        while True:
            for line in progress.actions:
                text = printable(": ".join(filter(None, (line["service_name"], _state(line), _reason(line)))))
                if shown.get(line["service"]) != text:
                    shown[line["service"]] = text
                    print(text, file=sys.stderr, flush=True)
            left_s = end_s - clock.monotonic()
            if progress.finished or left_s <= 0:
                return progress
            clock.sleep(min(_POLL_S, left_s))
            progress = progress.poll()
    except KeyboardInterrupt as error:
        print("\ntutum: the actions continue: tutum webhook-group calls GROUP", file=sys.stderr)
        raise typer.Exit(INTERRUPTED_EXIT_CODE) from error


def _selector(
    services: Sequence[str] | None, stack: str | None, engine: str | None, image: str | None
) -> dict[str, Any]:
    """Return the fields that select services; none if no option does."""
    selectors = {
        "services": [service.uuid for service in find_services(services)] if services else None,
        "stack": stack,
        "match": {"image": image} if image is not None else None,
        "engine": engine,
    }
    given = {name: value for name, value in selectors.items() if value is not None}
    if len(given.keys() - {"engine"}) > 1 or (engine and not stack):
        raise typer.BadParameter("name services, or give either --stack or --image; --engine needs --stack")
    return given


def _own_fields(sequence: str | None, on_failure: str | None) -> dict[str, Any]:
    fields = {"sequence": sequence, "on_failure": on_failure}
    return {name: value for name, value in fields.items() if value is not None}


def _find(identifier: str) -> WebhookGroup:
    return find_handler(WebhookGroup.list(), identifier, NOUN)


def _as_handler(group: WebhookGroup) -> Handler:
    return Handler(group.get_all_attributes() | {"operation": "REDEPLOY"})


def _selection(group: WebhookGroup) -> str:
    if group.services:
        return count(len(group.services), "service")
    return f"stack {group.stack} on {group.engine}" if group.stack else f"image {group.match['image']}"


def _state(line: Any) -> str:
    return str(line.get("state") or ("left out" if line.get("note") else "deleted"))


def _reason(line: Any) -> str:
    return " ".join(" ".join(filter(None, (line.get("reason"), line.get("note")))).split())


def _action_uuid(line: Any) -> str:
    return str(line.get("action") or "").strip("/").rpartition("/")[2]


def _print_url(group: WebhookGroup, advice: str, *, quiet: bool, as_json: bool) -> None:
    if as_json:
        print_resources([group])
    else:
        print(group.uuid if quiet else f"{group.uuid}\n{group.call_url}")
    if not quiet:
        warn_of_loopback([_as_handler(group)])
    if not (quiet or as_json):
        hint(advice)


def _print_group(group: WebhookGroup, *, as_json: bool) -> None:
    if as_json:
        _print_url(group, "", quiet=False, as_json=True)
        return
    print(printable(f"{group.name or 'group without a name'}: REDEPLOY of {_selection(group)}"))
    names = {service.uuid: service.shown_name for service in Service.list()} if group.services else {}
    pairs = [("" if number else "services", names.get(uuid, uuid)) for number, uuid in enumerate(group.services or [])]
    pairs += [("sequence", group.sequence), ("on_failure", group.on_failure)]
    print_table(PAIRS, [("uuid", shorten(group.uuid)), *pairs, *handler_pairs(_as_handler(group))])
