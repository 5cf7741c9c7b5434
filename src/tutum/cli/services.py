"""`tutum service`: shows and creates services."""

from enum import StrEnum
from typing import Annotated, Any

import typer

from tutum.cli import operations
from tutum.cli.dates import age
from tutum.cli.options import DEFAULT_TIMEOUT_S, AsJson, Quiet, Services, Timeout, Wait
from tutum.cli.output import print_resources, printable
from tutum.cli.progress import FAILED_EXIT_CODE, Started, follow
from tutum.cli.tables import Column, print_table
from tutum.lookup import Utils
from tutum.service import Service

app = typer.Typer(rich_markup_mode=None)


class Autorestart(StrEnum):
    """When a container that ended is started again."""

    OFF = "OFF"
    ON_FAILURE = "ON_FAILURE"
    ALWAYS = "ALWAYS"


Image = Annotated[str, typer.Argument(metavar="IMAGE", help="Image; any text where services are processes.")]
Name = Annotated[str | None, typer.Option("--name", "-n", help="Name; default: the image without its namespace.")]
Target = Annotated[int, typer.Option("--target-num-containers", "-t", min=0, metavar="N", help="How many containers.")]
RunCommand = Annotated[str | None, typer.Option("--run-command", "-r", metavar="COMMAND", help="What they run.")]
Variables = Annotated[
    list[str] | None, typer.Option("--env", "-e", metavar="NAME=VALUE", help="Environment variable; repeatable.")
]
WorkingDirectory = Annotated[str | None, typer.Option("--working-dir", metavar="PATH", help="Where they run it.")]
Restart = Annotated[
    Autorestart, typer.Option("--autorestart", case_sensitive=False, help="When to start one again that ended.")
]


PS_COLUMNS = (
    Column(heading="NAME", least=8),
    Column(heading="UUID", short=8),
    Column(heading="STATE"),
    Column(heading="RUNNING"),
    Column(heading="IMAGE", least=8),
    Column(heading="DEPLOYED"),
    Column(heading="ENGINE", least=6),
)


@app.command("ps")
def list_services(
    state: Annotated[str | None, typer.Option("--status", "-s", metavar="STATE", help="Such as Running.")] = None,
    quiet: Quiet = False,
    as_json: AsJson = False,
) -> None:
    """List services."""
    services = Service.list(state=state)
    if as_json:
        print_resources(services, as_array=True)
        return
    if quiet:
        for service in services:
            print(service.uuid)
        return
    rows = [
        [
            service.name,
            service.uuid,
            service.state,
            f"{service.running_num_containers}/{service.target_num_containers}",
            service.image_name or "",
            age(service.deployed_datetime),
            service.engine or "",
        ]
        for service in services
    ]
    print_table(PS_COLUMNS, rows)


@app.command("inspect")
def inspect_services(services: Services) -> None:
    """Print all that is known about services, as JSON."""
    print_resources([Utils.fetch_remote_service(identifier) for identifier in services], as_array=False)


@app.command("logs")
def show_logs(
    services: Services,
    tail: Annotated[
        int | None, typer.Option("--tail", min=1, metavar="LINES", help="Last lines of each container.")
    ] = None,
) -> None:
    """Print the last output of services."""
    for service in [Utils.fetch_remote_service(identifier) for identifier in services]:
        text = printable(service.fetch_logs(tail), keep="\n\t")
        print(text, end="" if text.endswith("\n") or not text else "\n")


@app.command("create")
def create_service(
    image: Image,
    name: Name = None,
    target: Target = 1,
    run_command: RunCommand = None,
    variables: Variables = None,
    working_dir: WorkingDirectory = None,
    autorestart: Restart = Autorestart.OFF,
    quiet: Quiet = False,  # the UUID is all there is to print
    as_json: AsJson = False,
) -> None:
    """Create a service without starting it, and print its UUID."""
    service = _create(image, name, target, run_command, variables, working_dir, autorestart)
    if as_json:
        print_resources([service], as_array=False)
    else:
        print(service.uuid)


@app.command("run")
def run_service(
    image: Image,
    name: Name = None,
    target: Target = 1,
    run_command: RunCommand = None,
    variables: Variables = None,
    working_dir: WorkingDirectory = None,
    autorestart: Restart = Autorestart.OFF,
    wait: Wait = False,
    timeout_s: Timeout = DEFAULT_TIMEOUT_S,
    quiet: Quiet = False,
    as_json: AsJson = False,
) -> None:
    """Create and start a service, and print its UUID."""
    service = _create(image, name, target, run_command, variables, working_dir, autorestart)
    started = Started(label=f"START of {service.name}", accepted=service.start())
    if not as_json:
        print(service.uuid, flush=True)
    succeeded = True
    if wait:
        succeeded = follow(started, timeout_s=timeout_s, announce=not (quiet or as_json)).succeeded
    if as_json:
        service.refresh()
        print_resources([service], as_array=False)
    if not succeeded:
        raise typer.Exit(FAILED_EXIT_CODE)


def _create(
    image: str,
    name: str | None,
    target: int,
    run_command: str | None,
    variables: list[str] | None,
    working_dir: str | None,
    autorestart: Autorestart,
) -> Service:
    fields: dict[str, Any] = {
        "image": image,
        "name": name,
        "target_num_containers": target,
        "run_command": run_command,
        "container_envvars": parse_variables(variables or []),
        "working_dir": working_dir,
        "autorestart": autorestart.value,
    }
    service = Service.create(**{key: value for key, value in fields.items() if value is not None})
    service.save()
    return service


def parse_variables(texts: list[str]) -> list[dict[str, str]]:
    """Return NAME=VALUE texts in the API's form.

    Raises:
        typer.BadParameter: One has no name or no equals sign.
    """
    variables = []
    for text in texts:
        name, equals, value = text.partition("=")
        if not name or not equals:
            raise typer.BadParameter(f"--env must be NAME=VALUE, got {text.partition('=')[0]!r}")
        variables.append({"key": name, "value": value})
    return variables


app.add_typer(operations.app)
