"""`tutum service redeploy|start|stop|scale|terminate`: begins an action on services."""

from collections.abc import Callable, Sequence
from typing import Annotated

import typer

from tutum.call_result import Accepted
from tutum.cli.options import DEFAULT_TIMEOUT_S, AsJson, Quiet, Services, Timeout, Wait
from tutum.cli.plans import show_plans
from tutum.cli.progress import Started, report
from tutum.lookup import Utils
from tutum.service import Service

app = typer.Typer(rich_markup_mode=None)


@app.command("redeploy")
def redeploy_services(
    services: Services,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only show what would be done.")] = False,
    wait: Wait = False,
    timeout_s: Timeout = DEFAULT_TIMEOUT_S,
    quiet: Quiet = False,
    as_json: AsJson = False,
) -> None:
    """Replace the containers of services with new ones of the newest image."""
    if dry_run:
        show_plans([(service.name, service.plan()) for service in _find(services)], as_json=as_json)
        return
    report(_start("REDEPLOY", services, Service.redeploy), wait=wait, timeout_s=timeout_s, quiet=quiet, as_json=as_json)


@app.command("start")
def start_services(
    services: Services,
    wait: Wait = False,
    timeout_s: Timeout = DEFAULT_TIMEOUT_S,
    quiet: Quiet = False,
    as_json: AsJson = False,
) -> None:
    """Start services."""
    report(_start("START", services, Service.start), wait=wait, timeout_s=timeout_s, quiet=quiet, as_json=as_json)


@app.command("stop")
def stop_services(
    services: Services,
    wait: Wait = False,
    timeout_s: Timeout = DEFAULT_TIMEOUT_S,
    quiet: Quiet = False,
    as_json: AsJson = False,
) -> None:
    """Stop services."""
    report(_start("STOP", services, Service.stop), wait=wait, timeout_s=timeout_s, quiet=quiet, as_json=as_json)


@app.command("scale")
def scale_services(
    services: Services,
    target: Annotated[int, typer.Argument(min=0, metavar="N", help="How many containers each should have.")],
    wait: Wait = False,
    timeout_s: Timeout = DEFAULT_TIMEOUT_S,
    quiet: Quiet = False,
    as_json: AsJson = False,
) -> None:
    """Bring services to a number of containers."""
    started = _start("SCALE", services, lambda service: service.scale(target))
    report(started, wait=wait, timeout_s=timeout_s, quiet=quiet, as_json=as_json)


@app.command("terminate")
def terminate_services(
    services: Services,
    wait: Wait = False,
    timeout_s: Timeout = DEFAULT_TIMEOUT_S,
    quiet: Quiet = False,
    as_json: AsJson = False,
) -> None:
    """Remove the containers of services, and the services."""
    report(_start("TERMINATE", services, Service.delete), wait=wait, timeout_s=timeout_s, quiet=quiet, as_json=as_json)


def _start(operation: str, identifiers: Sequence[str], begin: Callable[[Service], Accepted]) -> list[Started]:
    # Found all before the first is touched.
    return [Started(label=f"{operation} of {one.name}", accepted=begin(one)) for one in _find(identifiers)]


def _find(identifiers: Sequence[str]) -> list[Service]:
    return list({service.uuid: service for service in map(Utils.fetch_remote_service, identifiers)}.values())
