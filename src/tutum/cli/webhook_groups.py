"""`tutum webhook-group`: manages and calls the secret URLs that redeploy several services each."""

import sys
from functools import partial
from itertools import islice
from typing import Annotated, Any, Literal

import typer

from tutum import GroupProgress, Handler, Utils, WebhookGroup
from tutum.cli.actions import FAILED_EXIT_CODE, INTERRUPTED_EXIT_CODE
from tutum.cli.field_options import changes_of, complete_verify, takes_fields
from tutum.cli.handler_calls import explained
from tutum.cli.handler_text import action_uuid, call_advice, state_of
from tutum.cli.options import (
    DEFAULT_TIMEOUT_S,
    AnyServices,
    AsJson,
    Grace,
    GroupName,
    GroupNames,
    NewName,
    OnlyUrl,
    Quiet,
    Sender,
    Timeout,
    Wait,
    with_names,
    words,
)
from tutum.cli.output import Columns, age, count, print_json, print_list, print_table, printable
from tutum.cli.webhook_handlers import print_handler, print_urls, remove, rotate, show
from tutum.lookup import find_handler
from tutum.webhook_group import GROUP_FIELDS

app = typer.Typer(rich_markup_mode=None)

NOUN = "webhook group"
_POLL_S = 1.0

LIST_COLUMNS: Columns = {
    "NAME": lambda group: group.name,
    "SERVICES": lambda group: _selection(group),
    "SEQUENCE": lambda group: group.sequence,
    "STATE": state_of,
    "UUID": lambda group: group.uuid,
}
CALL_COLUMNS: Columns = {
    "ID": lambda call: str(call["id"]),
    "RECEIVED": lambda call: age(call["received_datetime"]),
    "STATE": lambda call: call["state"],
    "SERVICES": lambda call: ", ".join(f"{line['service_name']} {_state(line)}" for line in call["actions"]),
}


@partial(takes_fields, without=("max_containers", "rollback_hold"))  # for other operations than a redeploy
def _fields_of(
    services: AnyServices = None,
    stack: Annotated[
        str | None, typer.Option("--stack", metavar="STACK", help="The services of this project, stack or release.")
    ] = None,
    engine: Annotated[
        str | None, typer.Option("--engine", metavar="ENGINE", help="Engine of the stack, if several engines have it.")
    ] = None,
    image: Annotated[
        str | None,
        typer.Option("--image", metavar="GLOB", help="The services whose image a call names: 'ghcr.io/me/*'."),
    ] = None,
    sequence: Annotated[
        Literal["none", "listed", "depends_on"] | None,
        typer.Option("--sequence", help="In which order the services are redeployed; default: all at once."),
    ] = None,
    on_failure: Annotated[
        Literal["cancel", "continue"] | None,
        typer.Option("--on-failure", help="What happens to those that follow a failed one; default: cancel."),
    ] = None,
    *,
    fields: dict[str, Any],
) -> dict[str, Any]:
    """Return the fields that the options set, in the form of the API, which takes only one selector."""
    own = {
        "services": [Utils.fetch_remote_service(each).uuid for each in services] if services else None,
        "stack": stack,
        "engine": engine,
        "match": {"image": image} if image is not None else None,
        "sequence": sequence,
        "on_failure": on_failure,
    }
    return {name: value for name, value in own.items() if value is not None} | fields


_takes_fields = partial(takes_fields, fields_of=_fields_of)


@app.command("list")
@app.command("ls", hidden=True)
def list_groups(quiet: Quiet = False, as_json: AsJson = False) -> None:
    """List your webhook groups."""
    none = "no webhook groups: tutum webhook-group create --help"
    print_list(WebhookGroup().list(), LIST_COLUMNS, quiet=quiet, as_json=as_json, none=none)


@app.command("create")
@_takes_fields
def create_group(
    name: NewName = None,
    quiet: Quiet = False,
    as_json: AsJson = False,
    *,
    fields: dict[str, Any],
) -> None:
    """Create a webhook group of services, of a stack or of an image, and print its UUID and URL."""
    groups = WebhookGroup()
    groups.add(name, **complete_verify(fields, None))
    print_urls(groups.save(), call_advice(fields), quiet=quiet, as_json=as_json)


@app.command("set")
@_takes_fields
def set_fields(
    identifier: GroupName,
    name: NewName = None,
    reset: Annotated[
        list[str] | None,
        typer.Option(
            "--reset",
            metavar="FIELD",
            help="Field to set to its default; repeatable.",
            autocompletion=words(*GROUP_FIELDS),
        ),
    ] = None,
    as_json: AsJson = False,
    *,
    fields: dict[str, Any],
) -> None:
    """Change the given fields of a webhook group. Services, a stack or an image replace the old selection."""
    changes = changes_of(name, reset, fields, GROUP_FIELDS)
    groups, group = _find(identifier)
    changed = groups.update(group.uuid, **complete_verify(changes, group))
    print_handler(_label_of(changed), changed if as_json else with_names(changed), as_json=as_json)


@app.command("show")
def show_group(identifier: GroupName, target: Sender = None, url: OnlyUrl = False, as_json: AsJson = False) -> None:
    """Show a webhook group. Its URL is a password, and printed only with --url, --for or --json."""
    _, group = _find(identifier)
    show(_label_of(group), group if as_json else with_names(group), target, url=url, as_json=as_json)


@app.command("rotate")
def rotate_group(identifier: GroupName, grace: Grace = "1d", quiet: Quiet = False, as_json: AsJson = False) -> None:
    """Give a webhook group a new UUID and URL, and print them."""
    rotate(*_find(identifier), grace, quiet=quiet, as_json=as_json)


@app.command("rm")
def remove_groups(identifiers: GroupNames) -> None:
    """Revoke webhook groups: their URLs answer 404. If a name is unknown, none is revoked."""
    remove(WebhookGroup(), identifiers, NOUN)


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
    groups, group = _find(identifier)
    with explained("group", group, "tutum webhook-group show GROUP"):
        progress = groups.call(group.uuid, tag=tag)
    if wait:
        progress = _follow(progress, timeout_s=timeout_s)
    if as_json:
        print_json({name: getattr(progress, name) for name in ("state", "reason", "group_call", "actions")})
    elif progress.state == "Skipped":
        print(f"Skipped: {printable(progress.reason or '')}")
    elif quiet:
        for line in progress.actions:
            print(action_uuid(line))
    else:
        rows = [(line["service_name"], _state(line), action_uuid(line), _reason(line)) for line in progress.actions]
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
    groups, group = _find(identifier)
    print_list(list(islice(groups.group_calls(group.number), last)), CALL_COLUMNS, as_json=as_json)


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


def _find(identifier: str) -> tuple[WebhookGroup, Handler]:
    groups = WebhookGroup()
    return groups, find_handler(groups.list(), identifier, NOUN)


def _selection(group: Handler) -> str:
    if group.services:
        return count(len(group.services), "service")
    return f"stack {group.stack} on {group.engine}" if group.stack else f"image {group.match['image']}"


def _label_of(group: Handler) -> str:
    return f"REDEPLOY of {_selection(group)}"


def _state(line: Any) -> str:
    return str(line.get("state") or ("left out" if line.get("note") else "deleted"))


def _reason(line: Any) -> str:
    return " ".join(" ".join(filter(None, (line.get("reason"), line.get("note")))).split())
