"""Options and arguments that several commands share."""

from __future__ import annotations

from typing import Annotated

import typer

Services = Annotated[list[str], typer.Argument(metavar="SERVICE", help="UUID, start of the UUID, or name.")]
OneService = Annotated[str, typer.Argument(metavar="SERVICE", help="UUID, start of the UUID, or name.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Print only UUIDs.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON; an array where several are asked for.")]
Wait = Annotated[bool, typer.Option("--wait", help="Wait for the end, and exit with 1 if the operation failed.")]
Timeout = Annotated[float, typer.Option("--timeout", min=0, metavar="SECONDS", help="How long --wait waits.")]
DEFAULT_TIMEOUT_S = 600.0
