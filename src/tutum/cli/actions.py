"""`tutum action`: shows, cancels, abandons and retries actions."""

from itertools import islice
from typing import Annotated

import typer

from tutum.action import Action
from tutum.cli.options import (
    ACTION_STATES,
    DEFAULT_TIMEOUT_S,
    ActionState,
    AsJson,
    Quiet,
    Timeout,
    Wait,
    complete_service,
    parse_state,
)
from tutum.cli.output import age, print_list, print_resources, printable
from tutum.cli.progress import report
from tutum.lookup import Utils
from tutum.results import Accepted
from tutum.service import Service

app = typer.Typer(rich_markup_mode=None)
FOLLOW_POLL_S = 0.5

_IDENTIFIER = typer.Argument(metavar="ACTION", help="UUID, or the start of it.")
OneAction = Annotated[str, _IDENTIFIER]
Actions = Annotated[list[str], _IDENTIFIER]

LIST_HEADINGS = ("UUID", "ACTION", "STATE", "SERVICE", "STARTED", "CALLS", "REASON")


@app.command("list")
@app.command("ls", hidden=True)
def list_actions(
    service: Annotated[
        str | None,
        typer.Option("--service", metavar="SERVICE", help="Only of this service.", autocompletion=complete_service),
    ] = None,
    state: ActionState = None,
    last: Annotated[int, typer.Option("--last", min=1, metavar="N", help="How many, the newest first.")] = 25,
    quiet: Quiet = False,
    as_json: AsJson = False,
) -> None:
    """List actions."""
    state = parse_state(state, ACTION_STATES)
    service_uri = Utils.fetch_remote_service(service).resource_uri if service is not None else None
    actions = list(islice(Action.iterate(object=service_uri, state=state, limit=min(last, 100)), last))
    names = {} if as_json or quiet else {listed.resource_uri: listed.shown_name for listed in Service.list()}

    def row(action: Action) -> list[str]:
        return [
            action.uuid,
            action.operation or action.action,
            action.state,
            names.get(action.object, action.object.strip("/").rpartition("/")[2]),
            age(action.start_date),
            str(action.deliveries),
            " ".join((action.reason or "").split()),
        ]

    print_list(actions, LIST_HEADINGS, row, quiet=quiet, as_json=as_json)


@app.command("inspect")
def inspect_actions(actions: Actions) -> None:
    """Print all fields of actions, as JSON."""
    print_resources([Utils.fetch_remote_action(identifier) for identifier in actions])


@app.command("logs")
def print_logs(
    identifier: OneAction,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Continue until the action has ended.")] = False,
) -> None:
    """Print the log lines of an action's run, each with its time."""
    action = Utils.fetch_remote_action(identifier)
    last = 0
    while True:
        finished = action.finished  # read before the lines, so that no line is missed
        lines = action.lines(last)
        for line in lines:
            print(f"{line.time}  {printable(line.text)}", flush=True)
            last = line.number
        if not lines:
            if finished or not follow:
                return
            action.client.clock.sleep(FOLLOW_POLL_S)
        action.refresh(force=True)


@app.command("cancel")
def cancel_actions(identifiers: Actions) -> None:
    """Cancel actions: pending ones at once, running ones at the next safe point."""
    for action in [Utils.fetch_remote_action(identifier) for identifier in identifiers]:
        action.cancel()
        print(f"{action.uuid} {action.state}")


@app.command("abandon")
def abandon_actions(identifiers: Actions) -> None:
    """End running actions whose engine does not come back, as Failed. The next action of the service clears up."""
    for action in [Utils.fetch_remote_action(identifier) for identifier in identifiers]:
        action.abandon()
        print(f"{action.uuid} {action.state}")


@app.command("retry")
def retry_action(
    identifier: OneAction,
    wait: Wait = False,
    timeout_s: Timeout = DEFAULT_TIMEOUT_S,
    quiet: Quiet = False,
    as_json: AsJson = False,
) -> None:
    """Do again what a failed or canceled action should have done."""
    failed = Utils.fetch_remote_action(identifier)
    service = Service.fetch(failed.object.strip("/").rpartition("/")[2], client=failed.client)
    retried = failed.retry()
    accepted = Accepted(action_uri=retried.resource_uri, client=retried.client)
    label = f"{retried.operation} of {service.name} again"
    report([(label, accepted)], wait=wait, timeout_s=timeout_s, quiet=quiet, as_json=as_json)
