"""Reports operations: their plans, their start and, with --wait, their progress and end."""

import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import asdict

import typer

from tutum.action import Action
from tutum.cli.output import count, parse_date, print_json, print_resources, printable
from tutum.errors import ActionTimeoutError, TutumApiError
from tutum.results import Accepted, Plan

FAILED_EXIT_CODE = 1
INTERRUPTED_EXIT_CODE = 130
_DIGEST_LENGTH = len("sha256:") + 12


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
    state, last, begin = "", 0, ""

    def show(action: Action) -> None:
        nonlocal state, last, begin
        if action.state != state and not action.finished:
            state = action.state
            print(printable(f"{label}: {state}"), file=sys.stderr, flush=True)
        if action.state == "Pending":
            return
        with suppress(TutumApiError):  # the next poll shows the steps
            for line in action.lines(last):
                last, begin = line.number, begin or line.time
                seconds = (parse_date(line.time) - parse_date(begin)).total_seconds()
                print(printable(f"{seconds:6.1f} s  {line.text}"), file=sys.stderr, flush=True)

    return show


def show_plans(plans: Sequence[tuple[str, Plan]], *, as_json: bool) -> None:
    """Print the plans of redeploys.

    Args:
        plans: Names of the services, and their plans.

    Raises:
        typer.Exit: With 1, if a redeploy is not possible.
    """
    if as_json:
        objects = [{"service": name} | asdict(plan) for name, plan in plans]
        print_json(objects[0] if len(objects) == 1 else objects)
    else:
        print("\n\n".join("\n".join(plan_lines(name, plan)) for name, plan in plans))
    if not all(plan.possible for _, plan in plans):
        raise typer.Exit(FAILED_EXIT_CODE)


def plan_lines(name: str, plan: Plan) -> list[str]:
    """Return the lines that describe a plan for people."""
    if plan.possible:
        lines = [f"REDEPLOY of {name} would:", *(f"  {number}. {step}" for number, step in enumerate(plan.steps, 1))]
    else:
        lines = [f"REDEPLOY of {name} is not possible: {plan.reason}"]
    if plan.order:
        lines.append(f"Order: {plan.order}" + (f" ({plan.order_reason})" if plan.order_reason else ""))
    lines.append(f"Image: {_describe_image(plan)}")
    lines += [f"Note:  {note}" for note in plan.notes]
    return [printable(line) for line in lines]


def _describe_image(plan: Plan) -> str:
    before, after = (
        digest[:_DIGEST_LENGTH] if digest else "unknown" for digest in (plan.image_before, plan.image_after)
    )
    if plan.possible and before != after:
        change = f"{before} → {after}"
    else:
        change = f"{before}, unchanged" if plan.possible and plan.image_before else f"now {before}"
    return f"{plan.image_name} ({change})" if plan.image_name else change
