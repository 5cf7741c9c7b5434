"""`tutum service rollback|images|hold|resume`: returns services to earlier images, and holds their redeploys."""

from dataclasses import asdict
from shlex import quote
from typing import Annotated

import typer

from tutum.cli.actions import report, show_plans, start_each
from tutum.cli.options import (
    DEFAULT_TIMEOUT_S,
    AsJson,
    DryRun,
    OneService,
    Quiet,
    Services,
    Timeout,
    Wait,
    find_services,
)
from tutum.cli.output import age, hint, parse_date, print_json, print_list, print_resources, printable
from tutum.lookup import Utils
from tutum.results import ServiceImage
from tutum.service import Service

IMAGE_HEADINGS = ("NUMBER", "IMAGE", "VERSION", "DIGEST", "AVAILABLE", "LAST RUN", "BY", "")
_DIGEST_LENGTH = len("sha256:") + 12

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
    wanted = int(image) if image is not None and image.isdecimal() else image
    found = find_services(services)
    if wanted is not None and len(found) > 1:
        raise typer.BadParameter(f"--image is for one service, got {len(found)}")
    if dry_run:
        plans = [(service.shown_name, service.plan_rollback(wanted)) for service in found]
        show_plans(plans, operation="ROLLBACK", as_json=as_json)
        return
    started = start_each("ROLLBACK", found, lambda service: service.rollback(wanted, hold=hold, reason=reason))
    if hold:
        hint(f"Redeploys are held until: tutum service resume {' '.join(quote(each.shown_name) for each in found)}")
    report(started, wait=wait, timeout_s=timeout_s, quiet=quiet, as_json=as_json)


@app.command("images")
def list_images(service: OneService, as_json: AsJson = False) -> None:
    """List the images that a service ran, newest first."""
    images = Utils.fetch_remote_service(service).images()
    if as_json:
        print_json([asdict(image) for image in images])
        return
    target = next((image.previous for image in images if image.is_running), None)

    def row(image: ServiceImage) -> list[str]:
        return [
            str(image.number),
            image.image_name,
            image.version,
            (image.image_digest or "")[:_DIGEST_LENGTH],
            image.available,
            "now" if image.is_running else age(image.last_success_datetime),
            image.requested_by,
            _remark(image, target),
        ]

    print_list(images, IMAGE_HEADINGS, row, none="No image of this service is known.")


def _remark(image: ServiceImage, target: int | None) -> str:
    if not image.is_verified:
        return "changed by hand"
    return "rollback" if image.number == target else ""


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
    found = find_services(services)
    for service in found:
        service.hold(until, reason)
    _print_holds(found, as_json=as_json)


@app.command("resume")
def resume_services(services: Services, as_json: AsJson = False) -> None:
    """End the hold of services. One redeploy starts for all that were held."""
    found = find_services(services)
    for service in found:
        service.resume()
    _print_holds(found, as_json=as_json)


def _print_holds(services: list[Service], *, as_json: bool) -> None:
    if as_json:
        print_resources(services)
        return
    for service in services:
        reason = f": {service.hold_reason}" if service.hold_reason else ""
        held = f"is held {hold_end(service.held_until)}{reason}" if service.is_held else "is not held"
        print(printable(f"{service.shown_name} {held}"))


def hold_end(until: str | None) -> str:
    """Return the end of a hold for people."""
    return f"until {parse_date(until).astimezone():%Y-%m-%d %H:%M}" if until else "until it is resumed"
