"""Options and arguments that several commands share."""

from collections.abc import Sequence
from typing import Annotated

import typer

Services = Annotated[list[str], typer.Argument(metavar="SERVICE", help="UUID, start of the UUID, or name.")]
OneService = Annotated[str, typer.Argument(metavar="SERVICE", help="UUID, start of the UUID, or name.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Print only UUIDs.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON; an array where several are asked for.")]
Wait = Annotated[bool, typer.Option("--wait", help="Wait for the end, and exit with 1 if the operation failed.")]
Timeout = Annotated[float, typer.Option("--timeout", min=0, metavar="SECONDS", help="How long --wait waits.")]
DEFAULT_TIMEOUT_S = 600.0
HandlerName = Annotated[str, typer.Argument(metavar="HANDLER", help="UUID, start of the UUID, or name.")]


def parse_pairs(option: str, texts: Sequence[str], *, separator: str = "=") -> list[tuple[str, str]]:
    """Take NAME=VALUE texts apart.

    Raises:
        typer.BadParameter: One has no name or no separator; the value, perhaps a secret, is not quoted.
    """
    pairs = []
    for text in texts:
        name, found, value = text.partition(separator)
        if not name.strip() or not found:
            form = "NAME=VALUE" if separator == "=" else "'Name: value'"
            raise typer.BadParameter(f"{option} must be {form}, got {name!r}")
        pairs.append((name.strip(), value if separator == "=" else value.strip()))
    return pairs
