"""Options and arguments that several commands share."""

import difflib
from collections.abc import Iterable, Sequence
from typing import Annotated

import typer

from tutum.cli.completion import complete_handler, complete_service, words

DEFAULT_TIMEOUT_S = 600.0
_IDENTIFIER = "UUID, start of the UUID, or name."
_SERVICE = "Name, STACK/NAME, name of a container, UUID, or start of the UUID."
SERVICE_STATES = (
    *("Not running", "Starting", "Running", "Partly running", "Scaling"),
    *("Redeploying", "Stopping", "Stopped", "Terminating", "Terminated"),
)
ACTION_STATES = ("Pending", "In progress", "Canceling", "Canceled", "Success", "Failed")

_service = typer.Argument(metavar="SERVICE", help=_SERVICE, autocompletion=complete_service)
_handler = typer.Argument(metavar="HANDLER", help=_IDENTIFIER, autocompletion=complete_handler)
Services = Annotated[list[str], _service]
OneService = Annotated[str, _service]
HandlerName = Annotated[str, _handler]
HandlerNames = Annotated[list[str], _handler]
ServiceState = Annotated[
    str | None,
    typer.Option("--status", "-s", metavar="STATE", help="Such as Running.", autocompletion=words(*SERVICE_STATES)),
]
ActionState = Annotated[
    str | None,
    typer.Option("--status", "-s", metavar="STATE", help="Such as Failed.", autocompletion=words(*ACTION_STATES)),
]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Print only UUIDs.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON; an array for several objects.")]
Wait = Annotated[bool, typer.Option("--wait", help="Wait for the end, and exit with 1 if the operation failed.")]
Timeout = Annotated[float, typer.Option("--timeout", min=0, metavar="SECONDS", help="How long --wait waits.")]


def parse_pairs(option: str, texts: Sequence[str], *, separator: str = "=") -> list[tuple[str, str]]:
    """Return NAME=VALUE texts as names and values.

    Raises:
        typer.BadParameter: One has no name or no separator. The error does not quote the value: it may be a secret.
    """
    pairs = []
    for text in texts:
        name, found, value = text.partition(separator)
        if not name.strip() or not found:
            form = "NAME=VALUE" if separator == "=" else "'Name: value'"
            raise typer.BadParameter(f"{option} must be {form}, got {name!r}")
        pairs.append((name.strip(), value if separator == "=" else value.strip()))
    return pairs


def parse_state(text: str | None, states: Sequence[str]) -> str | None:
    """Return the state that a text names, in any case and also with `-` for a blank; None for None.

    Raises:
        typer.BadParameter: There is no such state. The text names the nearest one.
    """
    if text is None:
        return None
    by_word = {state.casefold(): state for state in states}
    word = text.replace("-", " ").casefold()
    if word not in by_word:
        raise typer.BadParameter(f"--status: unknown state {text!r}: {nearest(word, by_word.values())}")
    return by_word[word]


def nearest(text: str, known: Iterable[str]) -> str:
    """Return a question for the nearest known word, or a list of all."""
    by_word = {word.casefold(): word for word in known}
    found = difflib.get_close_matches(text.casefold(), by_word, n=1)
    return f"did you mean {by_word[found[0]]}?" if found else f"it must be one of {', '.join(by_word.values())}"
