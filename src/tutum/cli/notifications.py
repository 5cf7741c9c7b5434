"""`tutum notification`: lists the messages about actions, and manages the targets to which they are sent."""

from functools import partial
from itertools import islice
from shlex import quote
from typing import Annotated, Any

import typer

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
    parse_state,
    words,
)
from tutum.cli.output import Columns, age, hint, print_list, print_resources, print_table, printable
from tutum.cli.target_options import target_fields_of
from tutum.lookup import Utils
from tutum.notification import FIELDS, Notification, NotificationTarget, TargetTest

app = typer.Typer(rich_markup_mode=None)
targets = typer.Typer(rich_markup_mode=None)
app.add_typer(targets, name="target", help="Manage who is notified.", no_args_is_help=True)

STATES = ("pending", "sent", "dead")
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
takes_target_fields = partial(takes_fields, fields_of=target_fields_of)


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


@targets.command("create")
@takes_target_fields
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
@takes_target_fields
def set_fields(
    identifier: TargetName,
    name: Annotated[str | None, typer.Option("--name", "-n", metavar="NAME", help="New name.")] = None,
    reset: Annotated[
        list[str] | None,
        typer.Option(
            "--reset", metavar="FIELD", help="Field to set to its default; repeatable.", autocompletion=words(*FIELDS)
        ),
    ] = None,
    as_json: AsJson = False,
    *,
    fields: dict[str, Any],
) -> None:
    """Change the given fields of a notification target."""
    changes = changes_of(name, reset, fields, FIELDS)
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
    found = [Utils.fetch_remote(NotificationTarget, identifier) for identifier in identifiers]
    results = []
    for target in found:
        results.append(target.test())
        print(printable(f"{target.name}: {_describe(results[-1])}"), flush=True)
    if not all(result.sent for result in results):
        raise typer.Exit(FAILED_EXIT_CODE)


@targets.command("rm")
def remove_targets(identifiers: TargetNames) -> None:
    """Delete notification targets, with the messages that wait to be sent. If a name is unknown, none is deleted."""
    found = [Utils.fetch_remote(NotificationTarget, identifier) for identifier in identifiers]
    for target in {each.uuid: each for each in found}.values():
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
