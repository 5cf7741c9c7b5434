"""`tutum action`: shows, cancels, abandons and retries actions."""

import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict
from itertools import islice
from typing import Annotated

import typer

from tutum import Accepted, Action, ActionTimeoutError, Plan, Service, TutumApiError, Utils
from tutum.cli.options import (
    ACTION_STATES,
    DEFAULT_TIMEOUT_S,
    AsJson,
    Quiet,
    Timeout,
    Wait,
    complete_service,
    parse_state,
    words,
)
from tutum.cli.output import Columns, age, count, parse_date, print_json, print_list, print_resources, printable

FAILED_EXIT_CODE = 1
INTERRUPTED_EXIT_CODE = 130
DIGEST_LENGTH = len("sha256:") + 12


def start_each(
    operation: str, services: Sequence[Service], start: Callable[[Service], Accepted]
) -> list[tuple[str, Accepted]]:
    """Start an operation of each service, and return the labels and results for `report`."""
    return [(f"{operation} of {service.shown_name}", start(service)) for service in services]


def report(
    operations: Sequence[tuple[str, Accepted]], *, wait: bool, timeout_s: float, quiet: bool, as_json: bool
) -> None:
    """Print which operations were started; with `wait`, follow each to its end.

    Args:
        operations: Labels such as "REDEPLOY of web", and the results of starting them.

    Raises:
        typer.Exit: With 1, if an operation did not succeed; with 130, if the user interrupts the wait.
    """
    for note in (note for _, accepted in operations for note in accepted.notes):
        print(f"Note: {printable(note)}", file=sys.stderr)
    announce = not (quiet or as_json)
    actions = [follow(*each, timeout_s=timeout_s, announce=announce) for each in operations] if wait else []
    if as_json:
        print_resources(actions or [accepted.action for _, accepted in operations])
    elif quiet or not wait:
        for label, accepted in operations:
            print(accepted.action_uuid if quiet else printable(f"{label} accepted, action {accepted.action_uuid}"))
    if not all(action.succeeded for action in actions):
        raise typer.Exit(FAILED_EXIT_CODE)


def follow(label: str, accepted: Accepted, *, timeout_s: float, announce: bool) -> Action:
    """Wait for the end of an operation and show its progress. A failure is always printed.

    Args:
        announce: Whether to print a success, too.

    Raises:
        typer.Exit: With 130, if the user interrupts the wait.
    """
    action = accepted.action
    clock = action.client.clock
    start_s = clock.monotonic()
    try:
        action.wait(timeout_s, on_poll=_show_steps(label))
    except ActionTimeoutError as error:
        print(f"tutum: {error}; it continues: tutum action inspect {action.uuid}", file=sys.stderr)
        return action
    except KeyboardInterrupt as error:
        print(f"\ntutum: the action continues: tutum action inspect {action.uuid}", file=sys.stderr)
        raise typer.Exit(INTERRUPTED_EXIT_CODE) from error
    text = verdict(action, label, elapsed_s=clock.monotonic() - start_s)
    if announce or not action.succeeded:
        print(text, file=sys.stdout if action.succeeded else sys.stderr)
    return action


def verdict(action: Action, label: str, *, elapsed_s: float) -> str:
    """Return the result of a finished action: the state, the change or the reason, and the output of what failed."""
    details = [f"{label}, {elapsed_s:.0f} s"]
    new = len(set(action.container_uris_after) - set(action.container_uris_before))
    if action.succeeded and new:
        details.append(count(new, "new container"))
    if not action.succeeded and action.rolled_back:
        details.append("rolled back")
    lines = [f"{action.state}: {', '.join(details)}"]
    if action.reason:
        lines.append(f"Reason: {action.reason}")
    if action.image_tried:
        before = action.image_before or "unknown"
        lines.append(f"Image: {action.image_tried} failed; {before} ran before")
    if action.log_tail:
        lines += ["Last output:", *(f"  {line}" for line in action.log_tail.splitlines())]
    return printable("\n".join(lines), keep="\n\t")


def _show_steps(label: str) -> Callable[[Action], None]:
    """Return a function that prints the states of an action, and each step of its run with its seconds."""
    shown, last, begin = "", 0, ""

    def show(action: Action) -> None:
        nonlocal shown, last, begin
        state = f"{action.state}: {action.reason}" if action.state == "Pending" and action.reason else action.state
        if state != shown and not action.finished:
            shown = state
            print(printable(f"{label}: {state}"), file=sys.stderr, flush=True)
        if action.state == "Pending":
            return
        with suppress(TutumApiError):  # the next poll shows the steps
            for line in action.lines(last):
                last, begin = line.number, begin or line.time
                seconds = (parse_date(line.time) - parse_date(begin)).total_seconds()
                print(printable(f"{seconds:6.1f} s  {line.text}"), file=sys.stderr, flush=True)

    return show


def show_plans(plans: Sequence[tuple[str, Plan]], *, operation: str = "REDEPLOY", as_json: bool) -> None:
    """Print the plans of redeploys or rollbacks.

    Args:
        plans: Names of the services, and their plans.

    Raises:
        typer.Exit: With 1, if an operation is not possible.
    """
    if as_json:
        objects = [{"service": name} | asdict(plan) for name, plan in plans]
        print_json(objects[0] if len(objects) == 1 else objects)
    else:
        print("\n\n".join("\n".join(plan_lines(f"{operation} of {name}", plan)) for name, plan in plans))
    if not all(plan.possible for _, plan in plans):
        raise typer.Exit(FAILED_EXIT_CODE)


def plan_lines(label: str, plan: Plan) -> list[str]:
    """Return the lines that describe a plan for people. `label` is such as "REDEPLOY of web"."""
    if plan.possible:
        lines = [f"{label} would:", *(f"  {number}. {step}" for number, step in enumerate(plan.steps, 1))]
    else:
        lines = [f"{label} is not possible: {plan.reason}"]
    if plan.order:
        lines.append(f"Order: {plan.order}" + (f" ({plan.order_reason})" if plan.order_reason else ""))
    lines.append(f"Image: {_describe_image(plan)}")
    lines += [f"Note:  {note}" for note in plan.notes]
    return [printable(line) for line in lines]


def _describe_image(plan: Plan) -> str:
    before, after = (
        digest[:DIGEST_LENGTH] if digest else "unknown" for digest in (plan.image_before, plan.image_after)
    )
    if plan.possible and before != after:
        change = f"{before} → {after}"
    else:
        change = f"{before}, unchanged" if plan.possible and plan.image_before else f"now {before}"
    return f"{plan.image_name} ({change})" if plan.image_name else change


app = typer.Typer(rich_markup_mode=None)
FOLLOW_POLL_S = 0.5

_IDENTIFIER = typer.Argument(metavar="ACTION", help="UUID, or the start of it.")
OneAction = Annotated[str, _IDENTIFIER]
Actions = Annotated[list[str], _IDENTIFIER]


@app.command("list")
@app.command("ls", hidden=True)
def list_actions(
    service: Annotated[
        str | None,
        typer.Option("--service", metavar="SERVICE", help="Only of this service.", autocompletion=complete_service),
    ] = None,
    state: Annotated[
        str | None,
        typer.Option("--status", "-s", metavar="STATE", help="Such as Failed.", autocompletion=words(*ACTION_STATES)),
    ] = None,
    last: Annotated[int, typer.Option("--last", min=1, metavar="N", help="How many, the newest first.")] = 25,
    quiet: Quiet = False,
    as_json: AsJson = False,
) -> None:
    """List actions."""
    state = parse_state(state, ACTION_STATES)
    service_uri = Utils.fetch_remote_service(service).resource_uri if service is not None else None
    actions = list(islice(Action.iterate(object=service_uri, state=state, limit=min(last, 100)), last))
    names = {} if as_json or quiet else {listed.resource_uri: listed.shown_name for listed in Service.list()}
    print_list(actions, list_columns(names), quiet=quiet, as_json=as_json)


def list_columns(names: Mapping[str, str]) -> Columns:
    """Return the columns of actions. `names` are those of services, by their paths."""
    return {
        "UUID": lambda action: action.uuid,
        "ACTION": lambda action: action.operation or action.action,
        "STATE": lambda action: action.state,
        "SERVICE": lambda action: names.get(action.object, action.object.strip("/").rpartition("/")[2]),
        "STARTED": lambda action: age(action.start_date),
        "CALLS": lambda action: str(action.deliveries),
        "REASON": lambda action: " ".join((action.reason or "").split()),
    }


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
    action, last = Utils.fetch_remote_action(identifier), 0
    while True:
        while lines := action.lines(last):
            for line in lines:
                print(f"{line.time}  {printable(line.text)}", flush=True)
            last = lines[-1].number
        if action.finished or not follow:
            return
        action.client.clock.sleep(FOLLOW_POLL_S)
        action.refresh(force=True)  # before the lines, so that no line is missed


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
