"""`tutum service`: shows, creates and operates services."""

import sys
from collections.abc import Sequence
from functools import partial
from typing import Annotated, Any, Literal

import typer

from tutum import Service, TutumApiError, WebhookHandler
from tutum.cli import rollbacks
from tutum.cli.actions import FAILED_EXIT_CODE, follow, report, show_plans, start_each
from tutum.cli.field_options import takes_fields
from tutum.cli.options import (
    DEFAULT_TIMEOUT_S,
    SERVICE_STATES,
    AsJson,
    DryRun,
    Quiet,
    Services,
    Timeout,
    Wait,
    complete_service,
    find_each,
    moment_of,
    parse_pairs,
    parse_state,
    words,
)
from tutum.cli.output import Columns, age, count, hint, parse_date, print_list, print_resources, printable
from tutum.lookup import list_outages

app = typer.Typer(rich_markup_mode=None)


Force = Annotated[bool, typer.Option("--force", "-f", help="Do not ask before services that are gone are forgotten.")]

PS_COLUMNS: Columns = {
    "NAME": lambda service: service.shown_name,
    "UUID": lambda service: service.uuid,
    "STATE": lambda service: _state(service),
    "RUNNING": lambda service: f"{service.running_num_containers}/{service.target_num_containers}",
    "IMAGE": lambda service: service.image_name or "",
    "DEPLOYED": lambda service: age(service.deployed_datetime),
    "ENGINE": lambda service: service.engine or "",
}


@app.command("ps")
@app.command("list", hidden=True)
@app.command("ls", hidden=True)
def list_services(
    state: Annotated[
        str | None,
        typer.Option("--status", "-s", metavar="STATE", help="Such as Running.", autocompletion=words(*SERVICE_STATES)),
    ] = None,
    stack: Annotated[
        str | None, typer.Option("--stack", metavar="STACK", help="Only of this project, stack or release.")
    ] = None,
    show_all: Annotated[bool, typer.Option("--all", "-a", help="Also services that are gone.")] = False,
    quiet: Quiet = False,
    as_json: AsJson = False,
) -> None:
    """List services; also as list and ls."""
    services = Service.list(state=parse_state(state, SERVICE_STATES), stack=stack)
    by_stack = sorted(services, key=lambda each: (each.stack or "", each.name, each.engine or ""))
    shown = [service for service in by_stack if show_all or not service.gone_since]
    outages = list_outages()
    none = "No service is known." if outages else ""
    print_list(shown, PS_COLUMNS, quiet=quiet, as_json=as_json, none=none)
    for outage in outages:
        print(printable(outage), file=sys.stderr)
    if len(shown) < len(services):
        hint(f"Not shown: {len(services) - len(shown)} that are gone. tutum service ps --all lists them.")


def _state(service: Service) -> str:
    if not service.gone_since:
        return service.state
    return f"Gone since {parse_date(service.gone_since).astimezone():%Y-%m-%d %H:%M}"


@app.command("inspect")
def inspect_services(services: Services) -> None:
    """Print all fields of services, as JSON."""
    print_resources(find_each(Service, services))


@app.command("logs")
def print_logs(
    services: Services,
    tail: Annotated[
        int | None, typer.Option("--tail", min=1, metavar="LINES", help="Only the last lines of each container.")
    ] = None,
    since: Annotated[
        str | None, typer.Option("--since", metavar="SPAN", help="Only lines since a span ago (10m, 2h) or a date.")
    ] = None,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Continue until Ctrl-C. For one service.")] = False,
) -> None:
    """Print the last output of services."""
    since = None if since is None else moment_of(since, ago=True)
    found = find_each(Service, services)
    if follow and len(found) > 1:
        raise typer.BadParameter(f"--follow is for one service, got {len(found)}")
    for service in found:
        texts = (
            service.follow_logs(tail, since, on_failure=_tell_failure) if follow else [service.fetch_logs(tail, since)]
        )
        for text in filter(None, texts):
            print(printable(text, keep="\n\t").removesuffix("\n"), flush=True)


def _tell_failure(error: TutumApiError) -> None:
    print(printable(f"tutum: {error.message}; trying again"), file=sys.stderr)


def _fields_of(
    *,
    image: Annotated[str, typer.Argument(metavar="IMAGE", help="Image; any text for services that are processes.")],
    name: Annotated[
        str | None, typer.Option("--name", "-n", help="Name; default: the image without its namespace.")
    ] = None,
    target: Annotated[
        int, typer.Option("--target-num-containers", "-t", min=0, metavar="N", help="How many containers.")
    ] = 1,
    run_command: Annotated[
        str | None, typer.Option("--run-command", "-r", metavar="COMMAND", help="Command to run.")
    ] = None,
    variables: Annotated[
        list[str] | None, typer.Option("--env", "-e", metavar="NAME=VALUE", help="Environment variable; repeatable.")
    ] = None,
    working_dir: Annotated[
        str | None, typer.Option("--working-dir", metavar="PATH", help="Folder to run it in.")
    ] = None,
    autorestart: Annotated[
        Literal["OFF", "ON_FAILURE", "ALWAYS"],
        typer.Option("--autorestart", case_sensitive=False, help="When to restart a container that ended."),
    ] = "OFF",
) -> dict[str, Any]:
    """Return the fields of a new service that the options set, in the form of the API."""
    fields = {
        "image": image,
        "name": name,
        "target_num_containers": target,
        "run_command": run_command,
        "container_envvars": [{"key": key, "value": value} for key, value in parse_pairs("--env", variables or [])],
        "working_dir": working_dir,
        "autorestart": autorestart,
    }
    return {key: value for key, value in fields.items() if value is not None}


_takes_fields = partial(takes_fields, fields_of=_fields_of)


@app.command("create")
@_takes_fields
def create_service(
    quiet: Quiet = False,  # accepted, although only the UUID is printed
    as_json: AsJson = False,
    *,
    fields: dict[str, Any],
) -> None:
    """Create a service without starting it, and print its UUID."""
    service = Service.create(**fields)
    service.save()
    if as_json:
        print_resources([service])
    else:
        print(service.uuid)


@app.command("run")
@_takes_fields
def run_service(
    wait: Wait = False,
    timeout_s: Timeout = DEFAULT_TIMEOUT_S,
    quiet: Quiet = False,
    as_json: AsJson = False,
    *,
    fields: dict[str, Any],
) -> None:
    """Create and start a service, and print its UUID."""
    service = Service.create(**fields)
    service.save()
    accepted = service.start()
    if not as_json:
        print(service.uuid, flush=True)
    label, announce = f"START of {service.shown_name}", not (quiet or as_json)
    succeeded = not wait or follow(label, accepted, timeout_s=timeout_s, announce=announce).succeeded
    if as_json:
        service.refresh()
        print_resources([service])
    if not succeeded:
        raise typer.Exit(FAILED_EXIT_CODE)


@app.command("redeploy")
def redeploy_services(
    services: Services,
    dry_run: DryRun = False,
    override: Annotated[bool, typer.Option("--override", help="Start also while a service is held or frozen.")] = False,
    wait: Wait = False,
    timeout_s: Timeout = DEFAULT_TIMEOUT_S,
    quiet: Quiet = False,
    as_json: AsJson = False,
) -> None:
    """Replace containers by new ones of the newest image."""
    if dry_run:
        show_plans([(service.shown_name, service.plan()) for service in find_each(Service, services)], as_json=as_json)
        return
    started = start_each("REDEPLOY", find_each(Service, services), partial(Service.redeploy, override=override))
    if not (wait or quiet or as_json):
        for label, action in ((label, accepted.action) for label, accepted in started):
            if action.state == "Pending" and action.reason:
                print(printable(f"Note: {label} waits: {action.reason}"), file=sys.stderr)
    report(started, wait=wait, timeout_s=timeout_s, quiet=quiet, as_json=as_json)


@app.command("start")
def start_services(
    services: Services,
    wait: Wait = False,
    timeout_s: Timeout = DEFAULT_TIMEOUT_S,
    quiet: Quiet = False,
    as_json: AsJson = False,
) -> None:
    """Start services."""
    report(
        start_each("START", find_each(Service, services), Service.start),
        wait=wait,
        timeout_s=timeout_s,
        quiet=quiet,
        as_json=as_json,
    )


@app.command("stop")
def stop_services(
    services: Services,
    wait: Wait = False,
    timeout_s: Timeout = DEFAULT_TIMEOUT_S,
    quiet: Quiet = False,
    as_json: AsJson = False,
) -> None:
    """Stop services."""
    report(
        start_each("STOP", find_each(Service, services), Service.stop),
        wait=wait,
        timeout_s=timeout_s,
        quiet=quiet,
        as_json=as_json,
    )


@app.command("scale")
def scale_services(
    given: Annotated[
        list[str],
        typer.Argument(
            metavar="SERVICE... N",
            help="Services, then how many containers each should have.",
            autocompletion=complete_service,
        ),
    ],
    wait: Wait = False,
    timeout_s: Timeout = DEFAULT_TIMEOUT_S,
    quiet: Quiet = False,
    as_json: AsJson = False,
) -> None:
    """Set the number of containers of services."""
    services, target = _parse_scale(given)
    report(
        start_each("SCALE", find_each(Service, services), lambda service: service.scale(target)),
        wait=wait,
        timeout_s=timeout_s,
        quiet=quiet,
        as_json=as_json,
    )


def _parse_scale(given: Sequence[str]) -> tuple[Sequence[str], int]:
    *services, number = given
    is_number = number.isascii() and number.isdigit()
    if services and is_number:
        return services, int(number)
    missing, named = ("a service", ["SERVICE", number]) if is_number else ("the number of containers", [*given, "N"])
    raise typer.BadParameter(f"{missing} is missing: tutum service scale {' '.join(named)}")


@app.command("terminate")
def terminate_services(
    services: Services,
    force: Force = False,
    wait: Wait = False,
    timeout_s: Timeout = DEFAULT_TIMEOUT_S,
    quiet: Quiet = False,
    as_json: AsJson = False,
) -> None:
    """Remove the containers of services, and the services. Forget those that are gone."""
    found = find_each(Service, services)
    if gone := [service for service in found if service.gone_since]:
        _forget(gone, force=force, announce=not (quiet or as_json))
    there = [service for service in found if not service.gone_since]
    report(
        start_each("TERMINATE", there, Service.delete),
        wait=wait,
        timeout_s=timeout_s,
        quiet=quiet,
        as_json=as_json,
    )


@app.command("forget")
def forget_services(services: Services, force: Force = False, quiet: Quiet = False) -> None:
    """Forget services that are gone. Their webhook handlers are revoked: the URLs then answer 404."""
    found = find_each(Service, services)
    if there := [service.shown_name for service in found if not service.gone_since]:
        raise TutumApiError(f"not gone: {', '.join(there)}. Remove them with what created them; nothing was forgotten")
    _forget(found, force=force, announce=not quiet)


def _forget(gone: Sequence[Service], *, force: bool, announce: bool) -> None:
    """Remove services that are gone; with `force`, without asking."""
    counts = [len(WebhookHandler.fetch(service).list()) for service in gone]
    lines = [
        printable(f"{service.shown_name}: {_state(service)}, {count(number, 'webhook handler')}")
        for service, number in zip(gone, counts, strict=True)
    ]
    what = f"{count(len(gone), 'service')} and revoke {count(sum(counts), 'webhook handler')}"
    if not force and not sys.stdin.isatty():
        raise typer.BadParameter(f"this would forget {what}: repeat it with --force")
    if not force:
        typer.confirm("\n".join([*lines, f"Forget {what}?"]), abort=True, err=True)
    for service, line in zip(gone, lines, strict=True):
        service.forget()
        if announce:
            print(f"Forgotten: {line}")


app.add_typer(rollbacks.app)
