"""`tutum notification`: lists the messages about actions, and manages the targets to which they are sent."""

from functools import partial
from itertools import islice
from shlex import quote
from typing import Annotated, Any

import typer

from tutum import Notification, NotificationTarget, TargetTest, Utils
from tutum.cli.actions import FAILED_EXIT_CODE
from tutum.cli.field_options import changes_of, takes_fields
from tutum.cli.handler_calls import PAIRS
from tutum.cli.options import (
    AsJson,
    Quiet,
    TargetName,
    TargetNames,
    complete_service,
    complete_target,
    find_each,
    parse_state,
    read_secret,
    seconds_of,
    words,
)
from tutum.cli.output import Columns, age, hint, print_list, print_resources, print_table, printable
from tutum.notification import TARGET_FIELDS

app = typer.Typer(rich_markup_mode=None)
targets = typer.Typer(rich_markup_mode=None)
app.add_typer(targets, name="target", help="Manage who is notified.", no_args_is_help=True)

STATES = ("pending", "sent", "dead")
EVENTS = ("failed", "canceled", "recovered", "succeeded", "engine.down", "engine.up", "target.disabled")
FORGES = ("github", "gitlab", "gitea", "forgejo")
_FROM = "- reads it from stdin or asks, ${NAME} is an environment variable."
LIST_COLUMNS: Columns = {
    "UUID": lambda message: message.uuid,
    "EVENT": lambda message: message.event,
    "TARGET": lambda message: message.target_name,
    "STATE": lambda message: message.state,
    "SERVICE": lambda message: message.service_name,
    "CREATED": lambda message: age(message.created_datetime),
    "REASON": lambda message: message.error,
}
TARGET_COLUMNS: Columns = {
    "NAME": lambda target: target.name,
    "KIND": lambda target: target.kind,
    "ABOUT": lambda target: _scope_of(target),
    "STATE": lambda target: "enabled" if target.enabled else "disabled",
    "PENDING": lambda target: str(target.pending),
    "DEAD": lambda target: str(target.dead),
    "UUID": lambda target: target.uuid,
}
_NONE = "nobody is notified: tutum notification target create NAME --help"


@app.command("list")
@app.command("ls", hidden=True)
def list_notifications(
    target: Annotated[
        str | None,
        typer.Option("--target", metavar="TARGET", help="Only to this target.", autocompletion=complete_target),
    ] = None,
    state: Annotated[
        str | None,
        typer.Option("--status", "-s", metavar="STATE", help="pending, sent or dead.", autocompletion=words(*STATES)),
    ] = None,
    action: Annotated[str | None, typer.Option("--action", metavar="ACTION", help="Only about this action.")] = None,
    last: Annotated[int, typer.Option("--last", min=1, metavar="N", help="How many, the newest first.")] = 25,
    quiet: Quiet = False,
    as_json: AsJson = False,
) -> None:
    """List the messages to your targets. Dead ones could not be sent: tutum notification retry."""
    iterated = Notification.iterate(
        state=parse_state(state, STATES),
        target=None if target is None else Utils.fetch_remote(NotificationTarget, target).uuid,
        action=None if action is None else Utils.fetch_remote_action(action).uuid,
        limit=min(last, 100),
    )
    print_list(list(islice(iterated, last)), LIST_COLUMNS, quiet=quiet, as_json=as_json)


@app.command("retry")
def retry_notifications(
    identifiers: Annotated[
        list[str] | None, typer.Argument(metavar="NOTIFICATION", help="UUID, or the start of it.")
    ] = None,
    target: Annotated[
        str | None,
        typer.Option(
            "--target", metavar="TARGET", help="All dead ones of this target.", autocompletion=complete_target
        ),
    ] = None,
) -> None:
    """Send dead notifications again."""
    if bool(identifiers) == (target is not None):
        raise typer.BadParameter("name notifications, or give --target for all dead ones of a target")
    if target is not None:
        print(f"Queued again: {Utils.fetch_remote(NotificationTarget, target).retry()}")
    for notification in [Utils.fetch_remote(Notification, identifier) for identifier in identifiers or []]:
        notification.retry()
        print(f"{notification.uuid} {notification.state}")


@targets.command("list")
@targets.command("ls", hidden=True)
def list_targets(
    service: Annotated[
        str | None,
        typer.Option(
            "--service", metavar="SERVICE", help="Only those told of this service.", autocompletion=complete_service
        ),
    ] = None,
    quiet: Quiet = False,
    as_json: AsJson = False,
) -> None:
    """List your notification targets."""
    uuid = None if service is None else Utils.fetch_remote_service(service).uuid
    print_list(NotificationTarget.list(service=uuid), TARGET_COLUMNS, quiet=quiet, as_json=as_json, none=_NONE)


def _scope_of(target: NotificationTarget) -> str:
    """Return which services a target is told of."""
    if target.service:
        return target.service_name or target.service.strip("/").rpartition("/")[2]
    return f"stack {target.stack}" if target.stack else "all services"


def _fields_of(
    webhook: Annotated[str | None, typer.Option(metavar="URL", help=f"POST signed JSON to this URL. {_FROM}")] = None,
    apprise: Annotated[
        str | None,
        typer.Option(metavar="URL", help=f"Send a text to a chat, phone or mailbox. The URL is a secret: {_FROM}"),
    ] = None,
    forge: Annotated[
        str | None,
        typer.Option(metavar="FORGE", help=f"Set commit statuses: {', '.join(FORGES)}.", autocompletion=words(*FORGES)),
    ] = None,
    repository: Annotated[str | None, typer.Option(metavar="OWNER/NAME", help="Repository of --forge.")] = None,
    token_file: Annotated[str | None, typer.Option(metavar="FILE", help=f"Token of --forge in a file. {_FROM}")] = None,
    api: Annotated[
        str | None, typer.Option(metavar="URL", help="API of --forge; default: github.com, gitlab.com.")
    ] = None,
    context: Annotated[
        str | None, typer.Option(metavar="TEXT", help="Name of the status; default: tutumd/SERVICE.")
    ] = None,
    secret_file: Annotated[
        str | None,
        typer.Option(metavar="FILE", help=f"Signing secret of --webhook in a file; default: a new one. {_FROM}"),
    ] = None,
    new_secret: Annotated[bool, typer.Option("--new-secret", help="Generate another signing secret.")] = False,
    events: Annotated[
        list[str] | None,
        typer.Option(
            metavar="EVENT,...",
            help=f"What it is told: {', '.join(EVENTS)}. Default: failed, recovered, and engines for admins.",
            autocompletion=words(*EVENTS),
        ),
    ] = None,
    service: Annotated[
        str | None, typer.Option(metavar="SERVICE", help="Only of this service.", autocompletion=complete_service)
    ] = None,
    stack: Annotated[str | None, typer.Option(metavar="STACK", help="Only of this stack.")] = None,
    include_log: Annotated[
        bool | None, typer.Option("--include-log/--no-include-log", help="Send the last output of a failed container.")
    ] = None,
    repeat: Annotated[
        str | None, typer.Option(metavar="SPAN", help="Send an equal failure once in this time; 0: each. Default: 1h.")
    ] = None,
    per_group_call: Annotated[
        bool | None,
        typer.Option("--per-group-call/--per-service", help="Send one message for a group's call, or one per service."),
    ] = None,
    enabled: Annotated[bool | None, typer.Option("--enable/--disable", help="Whether messages are sent.")] = None,
) -> dict[str, Any]:
    """Return the fields that the options set, in the form of the API."""
    kinds = {"webhook": webhook, "apprise": apprise, "forge": forge}
    given = [kind for kind, value in kinds.items() if value is not None]
    if len(given) > 1:
        raise typer.BadParameter(f"--{given[0]} and --{given[1]} are two targets: create them one by one")
    if service is not None and stack is not None:
        raise typer.BadParameter("--service and --stack exclude each other")
    url = apprise if webhook is None else webhook
    settings: dict[str, Any] = {
        "url": None if url is None else read_secret(f"--{given[0]}", url),
        "secret": None if secret_file is None else read_secret("--secret-file", secret_file, is_file=True),
        "forge": forge,
        "repository": repository,
        "token": None if token_file is None else read_secret("--token-file", token_file, is_file=True),
        "api": api,
        "context": context,
    }
    settings = {name: value for name, value in settings.items() if value is not None}
    scope = {"service": service and Utils.fetch_remote_service(service).uuid, "stack": stack}
    fields = {
        "kind": given[0] if given else None,
        "settings": settings | ({"secret": None} if new_secret else {}) or None,
        "events": None if events is None else [name for text in events for name in map(_event, text.split(","))],
        "include_log": include_log,
        "repeat": None if repeat is None else seconds_of("--repeat", repeat),
        "per_group_call": per_group_call,
        "enabled": enabled,
    }
    set_fields = {name: value for name, value in fields.items() if value is not None}
    return set_fields | (scope if service is not None or stack is not None else {})


def _event(text: str) -> str:
    """Return the name of an event in the API; `failed` is short for `action.failed`."""
    name = text.strip().lower()
    return name if "." in name else f"action.{name}"


_takes_fields = partial(takes_fields, fields_of=_fields_of)


@targets.command("create")
@_takes_fields
def create_target(
    name: Annotated[str, typer.Argument(metavar="NAME", help="Such as oncall.")],
    quiet: Quiet = False,
    as_json: AsJson = False,
    *,
    fields: dict[str, Any],
) -> None:
    """Create a notification target, and print its UUID.

    By default, it is told of failures and recoveries of all your services.
    """
    if "kind" not in fields:
        raise typer.BadParameter("name the receiver: --webhook URL, --apprise URL, or --forge github")
    target = NotificationTarget.create(name=name, **fields)
    target.save()
    _print_saved(target, quiet=quiet, as_json=as_json)
    if not quiet and not as_json:
        hint(f"Send a test with: tutum notification target test {quote(name)}")


@targets.command("set")
@_takes_fields
def set_fields(
    identifier: TargetName,
    name: Annotated[str | None, typer.Option("--name", "-n", metavar="NAME", help="New name.")] = None,
    reset: Annotated[
        list[str] | None,
        typer.Option(
            "--reset",
            metavar="FIELD",
            help="Field to set to its default; repeatable.",
            autocompletion=words(*TARGET_FIELDS),
        ),
    ] = None,
    as_json: AsJson = False,
    *,
    fields: dict[str, Any],
) -> None:
    """Change the given fields of a notification target."""
    changes = changes_of(name, reset, fields, TARGET_FIELDS)
    target = Utils.fetch_remote(NotificationTarget, identifier)
    for field, value in changes.items():
        setattr(target, field, value)
    target.save()
    _print_saved(target, quiet=False, as_json=as_json)


@targets.command("show")
def show_target(identifier: TargetName, as_json: AsJson = False) -> None:
    """Show a notification target, without its secrets."""
    target = Utils.fetch_remote(NotificationTarget, identifier)
    if as_json:
        print_resources([target])
        return
    print(printable(f"{target.name}: {target.kind}, about {_scope_of(target)}"))
    pairs = [
        ("uuid", target.uuid),
        *target.settings.items(),
        ("events", ", ".join(target.events)),
        ("include log", "yes" if target.include_log else "no"),
        ("repeat", f"{target.repeat} s"),
        ("group calls", "one message" if target.per_group_call else "one message per service"),
        ("state", "enabled" if target.enabled else f"disabled: {target.disabled_reason or 'by its owner'}"),
        ("pending", str(target.pending)),
        ("dead", str(target.dead)),
    ]
    print_table(PAIRS, pairs)


@targets.command("test")
def test_targets(identifiers: TargetNames) -> None:
    """Send a test message to targets, and print the result. Exits with 1 if one was not sent."""
    results = []
    for target in find_each(NotificationTarget, identifiers):
        results.append(target.test())
        print(printable(f"{target.name}: {_describe(results[-1])}"), flush=True)
    if not all(result.sent for result in results):
        raise typer.Exit(FAILED_EXIT_CODE)


@targets.command("rm")
def remove_targets(identifiers: TargetNames) -> None:
    """Delete notification targets, with the messages that wait to be sent. If a name is unknown, none is deleted."""
    for target in find_each(NotificationTarget, identifiers):
        target.delete()
        print(target.uuid)


def _describe(result: TargetTest) -> str:
    status = f", HTTP {result.status}" if result.status else ""
    if result.sent:
        return f"sent after {result.seconds:g} s{status}"
    return f"not sent{status}: {result.error}"


def _print_saved(target: NotificationTarget, *, quiet: bool, as_json: bool) -> None:
    """Print the UUID of a target, and its signing secret if the server has generated it."""
    if as_json:
        print_resources([target])
        return
    print(target.uuid)
    if target.secret and not quiet:
        print(target.secret)
        hint("The second line is the secret with which the receiver verifies messages. It is shown only now.")
