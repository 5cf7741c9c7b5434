"""`tutum service rollback|images|hold|resume`: returns services to earlier images, and holds their redeploys."""

from dataclasses import asdict
from shlex import quote
from typing import Annotated

import typer

from tutum import Service, Utils
from tutum.cli.actions import DIGEST_LENGTH, report, show_plans, start_each
from tutum.cli.options import (
    DEFAULT_TIMEOUT_S,
    AsJson,
    DryRun,
    OneService,
    Quiet,
    Services,
    Timeout,
    Wait,
    find_each,
)
from tutum.cli.output import Columns, age, hint, parse_date, print_list, print_resources, printable

app = typer.Typer(rich_markup_mode=None)
Reason = Annotated[str, typer.Option("--reason", metavar="TEXT", help="Reason, for people.")]


@app.command("rollback")
def roll_back_services(
    services: Services,
    image: Annotated[
        str | None,
        typer.Option("--image", "-i", metavar="IMAGE", help="Number or digest from images; default: the one before."),
    ] = None,
    hold: Annotated[
        bool, typer.Option("--hold/--no-hold", help="Hold the redeploys of the services afterwards.")
    ] = True,
    reason: Reason = "",
    dry_run: DryRun = False,
    wait: Wait = False,
    timeout_s: Timeout = DEFAULT_TIMEOUT_S,
    quiet: Quiet = False,
    as_json: AsJson = False,
) -> None:
    """Replace containers by new ones of an earlier image, and hold the service."""
    found = find_each(Service, services)
    if image is not None and len(found) > 1:
        raise typer.BadParameter(f"--image is for one service, got {len(found)}")
    if dry_run:
        plans = [(service.shown_name, service.plan_rollback(image)) for service in found]
        show_plans(plans, operation="ROLLBACK", as_json=as_json)
        return
    started = start_each("ROLLBACK", found, lambda service: service.rollback(image, hold=hold, reason=reason))
    if hold:
        hint(f"Redeploys are held until: tutum service resume {' '.join(quote(each.shown_name) for each in found)}")
    report(started, wait=wait, timeout_s=timeout_s, quiet=quiet, as_json=as_json)


@app.command("images")
def list_images(service: OneService, as_json: AsJson = False) -> None:
    """List the images that a service ran, newest first."""
    images = Utils.fetch_remote_service(service).images()
    target = next((image.previous for image in images if image.is_running), None)
    remarks = {target: "rollback"} | {image.number: "changed by hand" for image in images if not image.is_verified}
    columns: Columns = {
        "NUMBER": lambda image: str(image["number"]),
        "IMAGE": lambda image: image["image_name"],
        "VERSION": lambda image: image["version"],
        "DIGEST": lambda image: (image["image_digest"] or "")[:DIGEST_LENGTH],
        "AVAILABLE": lambda image: image["available"],
        "LAST RUN": lambda image: "now" if image["is_running"] else age(image["last_success_datetime"]),
        "BY": lambda image: image["requested_by"],
        "": lambda image: remarks.get(image["number"], ""),
    }
    print_list(list(map(asdict, images)), columns, as_json=as_json, none="No image of this service is known.")


@app.command("hold")
def hold_services(
    services: Services,
    until: Annotated[
        str | None,
        typer.Option("--until", metavar="WHEN", help="A date (UTC), or a span: 4h, 2d. Default: until resume."),
    ] = None,
    reason: Reason = "",
    as_json: AsJson = False,
) -> None:
    """Hold the redeploys of services: they are accepted, and wait."""
    found = find_each(Service, services)
    for service in found:
        service.hold(until, reason)
    _print_each(found, [_describe_hold(service) for service in found], as_json=as_json)


@app.command("resume")
def resume_services(services: Services, as_json: AsJson = False) -> None:
    """End the hold of services. One redeploy starts for all that were held."""
    found = find_each(Service, services)
    states = ["resumed" if service.is_held else "is not held" for service in found]
    for service in found:
        service.resume()
    _print_each(found, states, as_json=as_json)


def _describe_hold(service: Service) -> str:
    until = f"{parse_date(service.held_until).astimezone():%Y-%m-%d %H:%M}" if service.held_until else "it is resumed"
    return f"is held until {until}" + (f": {service.hold_reason}" if service.hold_reason else "")


def _print_each(services: list[Service], states: list[str], *, as_json: bool) -> None:
    if as_json:
        print_resources(services)
        return
    for service, state in zip(services, states, strict=True):
        print(printable(f"{service.shown_name} {state}"))
