"""Options and arguments that several commands share."""

from collections.abc import Sequence
from typing import Annotated

import typer

DEFAULT_TIMEOUT_S = 600.0
_IDENTIFIER = "UUID, start of the UUID, or name."
_SERVICE = "Name, STACK/NAME, name of a container, UUID, or start of the UUID."

Services = Annotated[list[str], typer.Argument(metavar="SERVICE", help=_SERVICE)]
OneService = Annotated[str, typer.Argument(metavar="SERVICE", help=_SERVICE)]
HandlerName = Annotated[str, typer.Argument(metavar="HANDLER", help=_IDENTIFIER)]
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
