"""Reports what was started, and with --wait how it goes and how it ends."""

import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import typer

from tutum.action import Action
from tutum.call_result import Accepted
from tutum.cli.output import print_resources, printable
from tutum.errors import ActionTimeoutError

FAILED_EXIT_CODE = 1
INTERRUPTED_EXIT_CODE = 130


@dataclass(frozen=True, slots=True, kw_only=True)
class Started:
    """An operation that was accepted.

    Attributes:
        label: Such as "REDEPLOY of web".
    """

    label: str
    accepted: Accepted


def report(started: Sequence[Started], *, wait: bool, timeout_s: float, quiet: bool, as_json: bool) -> None:
    """Print what was started; with `wait`, follow each to its end.

    Raises:
        typer.Exit: With 1, if one of them did not end well; with 130, if the user did not want to wait.
    """
    for note in (note for one in started for note in one.accepted.notes):
        print(f"Note: {printable(note)}", file=sys.stderr)
    if not wait:
        if as_json:
            print_resources([one.accepted.action for one in started], as_array=False)
        else:
            for one in started:
                print(one.accepted.action_uuid if quiet else f"{one.label} accepted, action {one.accepted.action_uuid}")
        return
    actions = [follow(one, timeout_s=timeout_s, announce=not (quiet or as_json)) for one in started]
    if as_json:
        print_resources(actions, as_array=False)
    elif quiet:
        for action in actions:
            print(action.uuid)
    if not all(action.succeeded for action in actions):
        raise typer.Exit(FAILED_EXIT_CODE)


def follow(started: Started, *, timeout_s: float, announce: bool) -> Action:
    """Wait for the end of one operation, showing how it goes; why it failed is printed in any case.

    Args:
        announce: Print a good end too.

    Raises:
        typer.Exit: With 130, if the user did not want to wait.
    """
    action = started.accepted.action
    clock = action.client.clock
    begin_s = clock.monotonic()
    try:
        with _display(printable(started.label)) as show:
            action.wait(timeout_s, on_poll=lambda one: show(one.state))
    except ActionTimeoutError as error:
        print(f"tutum: {error}; it goes on: tutum action inspect {action.uuid}", file=sys.stderr)
        return action
    except KeyboardInterrupt as error:
        print(f"\ntutum: it goes on without you: tutum action inspect {action.uuid}", file=sys.stderr)
        raise typer.Exit(INTERRUPTED_EXIT_CODE) from error
    text = verdict(action, started.label, elapsed_s=clock.monotonic() - begin_s)
    if not action.succeeded:
        print(text, file=sys.stderr)
    elif announce:
        print(text)
    return action


def verdict(action: Action, label: str, *, elapsed_s: float) -> str:
    """Return how a finished action ended: the state, what changed or the reason, and the output of what failed."""
    details = [f"{label}, {elapsed_s:.0f} s"]
    if action.succeeded:
        new = set(action.containers_after) - set(action.containers_before)
        if new:
            details.append(f"{len(new)} new container{'s' if len(new) > 1 else ''}")
    elif action.rolled_back:
        details.append("rolled back")
    lines = [f"{action.state}: {', '.join(details)}"]
    if action.reason:
        lines.append(f"Reason: {action.reason}")
    if action.log_tail:
        lines += ["Last output:", *(f"  {line}" for line in action.log_tail.splitlines())]
    return printable("\n".join(lines), keep="\n\t")


@contextmanager
def _display(label: str) -> Iterator[Callable[[str], None]]:
    if sys.stderr.isatty():
        with _spinner(label) as show:
            yield show
        return
    last = ""

    def show_line(state: str) -> None:
        nonlocal last
        if state != last:
            last = state
            print(f"{label}: {printable(state)}", file=sys.stderr, flush=True)

    yield show_line


@contextmanager
def _spinner(label: str) -> Iterator[Callable[[str], None]]:
    from rich.console import Console  # slow to load
    from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

    columns = (SpinnerColumn(), TextColumn("{task.description}", markup=False), TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task(label)

        def show_state(state: str) -> None:
            progress.update(task, description=f"{label}: {printable(state)}")

        yield show_state
