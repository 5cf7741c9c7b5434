"""`tutum apply`: makes the webhook handlers of services, and notification targets, as a file says."""

import os
import sys
from collections.abc import Iterator, Sequence
from shlex import quote
from typing import Annotated

import typer

from tutum.cli.apply_plan import ServicePlan, Step, make_plans
from tutum.cli.handler_file import HandlerFileError, read_handler_file
from tutum.cli.options import read_text
from tutum.cli.output import count, printable
from tutum.cli.target_file import TITLE, plan_targets
from tutum.errors import TutumApiError

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
            help="Remove the handlers of the file's services, and the notification targets, that it does not name.",
        ),
    ] = False,
    check: Annotated[
        bool, typer.Option("--check", help="Only show what would be done, and exit with 1 if that is anything.")
    ] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask; for CI.")] = False,
) -> None:
    """Make the webhook handlers of services, and notification targets, as a file says. It shows its plan, and asks.

    Services that the file does not name are left alone. ${NAME} stands for a secret in an environment variable.
    """
    try:
        text, shown = read_text("FILE", file), "stdin" if file == "-" else printable(file)
        services, targets = read_handler_file(text, shown, os.environ)
        plans = [*make_plans(services, prune=prune), *plan_targets(targets, prune=prune)]
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
    has_targets = any(plan.title == TITLE for plan in plans)
    if not verbs:
        shown = "handlers and targets are" if has_targets else count(unchanged, "handler")
        yield f"Nothing to do: {shown} as the file says."
        return
    add, change, remove = (verbs.count(verb) for verb in _SIGNS)  # type: ignore[arg-type]  # its keys are verbs
    head = str(add) if has_targets else count(add, "handler")
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
        if step.verb == "add" and step.service:
            shown = f"tutum webhook-handler show {quote(step.service)} {quote(step.name)} --url"
            print(printable(f"  its URL is a password; print it with: {shown}"))
