"""`tutum freeze`: lists, adds and removes the windows of time in which redeploys wait."""

from typing import Annotated

import typer

from tutum import FreezeWindow, Utils
from tutum.cli.options import AsJson, Quiet, complete_service, find_each
from tutum.cli.output import Columns, print_list, print_resources

app = typer.Typer(rich_markup_mode=None)

COLUMNS: Columns = {
    "HOLDS": lambda window: window.subject,
    "FROM": lambda window: window.begins,
    "TO": lambda window: window.ends,
    "TZ": lambda window: window.tz,
    "ACTIVE UNTIL": lambda window: window.active_until or "",
    "REASON": lambda window: window.reason,
    "OWNER": lambda window: window.owner,
    "UUID": lambda window: window.uuid,
}
_NONE = "no freeze windows: tutum freeze add --help"


@app.command("list")
@app.command("ls", hidden=True)
def list_windows(
    service: Annotated[
        str | None,
        typer.Option(
            "--service", metavar="SERVICE", help="Only those that hold this service.", autocompletion=complete_service
        ),
    ] = None,
    quiet: Quiet = False,
    as_json: AsJson = False,
) -> None:
    """List the freeze windows that hold your services."""
    uuid = None if service is None else Utils.fetch_remote_service(service).uuid
    print_list(FreezeWindow.list(service=uuid), COLUMNS, quiet=quiet, as_json=as_json, none=_NONE)


@app.command("add")
def add_window(
    *,
    service: Annotated[
        str | None,
        typer.Argument(metavar="[SERVICE]", help="Hold this service.", autocompletion=complete_service),
    ] = None,
    begins: Annotated[str, typer.Option("--from", metavar="TIME", help="'Fri 16:00', or '2026-12-24 18:00'.")],
    ends: Annotated[str, typer.Option("--to", metavar="TIME", help="The end, in the form of --from.")],
    tz: Annotated[str, typer.Option("--tz", metavar="ZONE", help="Such as Europe/Berlin.")] = "UTC",
    reason: Annotated[str, typer.Option("--reason", metavar="TEXT", help="For people.")] = "",
    stack: Annotated[str | None, typer.Option("--stack", metavar="STACK", help="Hold this stack.")] = None,
    server: Annotated[bool, typer.Option("--server", help="Hold all services. Only for admins.")] = False,
    as_json: AsJson = False,
) -> None:
    """Let redeploys wait in a span of time, each week or once, and print the window's UUID."""
    uuid = None if service is None else Utils.fetch_remote_service(service).uuid
    window = FreezeWindow.add(begins, ends, tz=tz, reason=reason, service=uuid, stack=stack, server=server)
    print_resources([window]) if as_json else print(window.uuid)


@app.command("rm")
def remove_windows(
    identifiers: Annotated[list[str], typer.Argument(metavar="WINDOW", help="UUID, or the start of it.")],
) -> None:
    """Remove freeze windows. The redeploys that waited for them start."""
    for window in find_each(FreezeWindow, identifiers):
        window.delete()
        print(window.uuid)
