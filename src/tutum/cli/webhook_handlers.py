"""`tutum webhook-handler`: lists, creates, changes, shows and removes the handlers of a service."""

import sys
from enum import StrEnum
from typing import Annotated, Any
from urllib.parse import urlsplit

import typer

from tutum.cli import handler_calls
from tutum.cli.dates import age
from tutum.cli.handler_fields import GroupedCommand, complete, takes_fields
from tutum.cli.handler_text import FIELDS, handler_pairs, print_pairs
from tutum.cli.lookup import find
from tutum.cli.options import AsJson, HandlerName, OneService, Quiet, Services
from tutum.cli.output import hint, print_json, printable
from tutum.cli.spans import seconds_of
from tutum.cli.tables import Column, print_table
from tutum.handler import Handler
from tutum.lookup import Utils, find_handler
from tutum.redaction import shorten
from tutum.service import Service
from tutum.snippets import TARGETS, snippet
from tutum.webhook_handler import WebhookHandler

app = typer.Typer(rich_markup_mode=None)


_LOOPBACK = {"127.0.0.1", "::1", "localhost"}


class Operation(StrEnum):
    """What a handler can do."""

    REDEPLOY = "REDEPLOY"
    SCALEUP = "SCALEUP"


@app.command("list")
def list_handlers(services: Services, quiet: Quiet = False, as_json: AsJson = False) -> None:
    """List the webhook handlers of services."""
    found = [(service, WebhookHandler.fetch(service).list()) for service in map(Utils.fetch_remote_service, services)]
    handlers = [(service, handler) for service, of_service in found for handler in of_service]
    if as_json:
        print_json([_fields(service, handler) for service, handler in handlers])
    elif quiet:
        for _, handler in handlers:
            print(handler.uuid)
    elif handlers:
        several = len(services) > 1
        columns = [
            *([Column(heading="SERVICE", least=10)] if several else []),
            Column(heading="NAME", least=10),
            Column(heading="OPERATION"),
            Column(heading="UUID"),
        ]
        rows = [
            [*([service.name] if several else []), handler.name, handler.operation, handler.uuid]
            for service, handler in handlers
        ]
        print_table(columns, rows)
    else:
        names = ", ".join(service.name for service, _ in found)
        print(f"no webhook handlers: tutum webhook-handler create {printable(names)}", file=sys.stderr)


@app.command("create", cls=GroupedCommand)
@takes_fields
def create_handlers(
    services: Services,
    names: Annotated[
        list[str] | None, typer.Option("--name", "-n", metavar="NAME", help="Name; repeat it for several handlers.")
    ] = None,
    operation: Annotated[
        Operation, typer.Option("--operation", "-o", case_sensitive=False, help="What a call does.")
    ] = Operation.REDEPLOY,
    quiet: Quiet = False,
    as_json: AsJson = False,
    *,
    fields: dict[str, Any],
) -> None:
    """Create webhook handlers and print their UUIDs and URLs."""
    fields = complete(fields, None)
    created: list[tuple[Service, Handler]] = []
    for service in [Utils.fetch_remote_service(identifier) for identifier in services]:
        webhook = WebhookHandler.fetch(service)
        webhook.add(names or [None], operation.value, **fields)
        created += [(service, handler) for handler in webhook.save()]
    if as_json:
        printed = [_fields(service, handler) for service, handler in created]
        print_json(printed if len(printed) != 1 else printed[0])
        return
    for service, handler in created:
        print(handler.uuid)
        if not quiet:
            print(service.client.absolute_url(handler.url))
    if not quiet:
        hint("Call it with: curl -X POST URL. The URL is a password: whoever has it can call it.")


@app.command("set", cls=GroupedCommand)
@takes_fields
def set_fields(
    service: OneService,
    handler: HandlerName,
    name: Annotated[str | None, typer.Option("--name", "-n", metavar="NAME", help="Give it another name.")] = None,
    reset: Annotated[
        list[str] | None, typer.Option("--reset", metavar="FIELD", help="Back to the default: verify; repeatable.")
    ] = None,
    as_json: AsJson = False,
    *,
    fields: dict[str, Any],
) -> None:
    """Change a webhook handler; what is not named stays. A new filter or tag replaces the old one as a whole."""
    unknown = [field for field in reset or [] if field not in FIELDS]
    if unknown:
        raise typer.BadParameter(f"--reset must be one of {', '.join(FIELDS)}; got {unknown[0]!r}")
    changes = {**dict.fromkeys(reset or []), **({} if name is None else {"name": name}), **fields}
    if not changes:
        raise typer.BadParameter("nothing to change: name an option, such as --disable")
    found = find(service, handler)
    changed = found.webhook.update(found.uuid, **complete(changes, found.handler))
    _print_handler(found.service, changed, as_json=as_json)


@app.command("show")
def show_handler(
    service: OneService,
    handler: HandlerName,
    target: Annotated[
        str | None,
        typer.Option("--for", metavar="SENDER", help=f"Print what to paste there, with the URL: {', '.join(TARGETS)}."),
    ] = None,
    url: Annotated[bool, typer.Option("--url", help="Print only the URL to POST to.")] = False,
    as_json: AsJson = False,
) -> None:
    """Show a webhook handler. Its URL is a password, and only printed if asked for."""
    if target is not None and target not in TARGETS:
        raise typer.BadParameter(f"--for must be one of {', '.join(TARGETS)}; got {target!r}")
    found = find(service, handler)
    call_url = found.service.client.absolute_url(found.handler.url)
    if target is not None:
        print(snippet(target, call_url, found.handler), end="")
        if target != "curl" and urlsplit(call_url).hostname in _LOOPBACK:
            hint("The URL names this machine: put the server's public name in its place.")
    elif url:
        print(call_url)
    else:
        _print_handler(found.service, found.handler, as_json=as_json)


@app.command("rotate")
def rotate_handler(
    service: OneService,
    handler: HandlerName,
    grace: Annotated[
        str, typer.Option("--grace", metavar="SPAN", help="How long the old URL still works: 0, 1h, 7d.")
    ] = "1d",
    quiet: Quiet = False,
    as_json: AsJson = False,
) -> None:
    """Give a webhook handler a new UUID and URL, and print them."""
    grace_s = seconds_of("--grace", grace)
    found = find(service, handler)
    rotated = found.webhook.rotate(found.uuid, grace_s)
    if as_json:
        print_json(_fields(found.service, rotated))
        return
    print(rotated.uuid)
    if not quiet:
        print(found.service.client.absolute_url(rotated.url))
        if rotated.rotation:
            hint(f"The old URL works until {rotated.rotation['old_until']}; show tells when it was last called.")


@app.command("unused")
def list_unused(
    days: Annotated[int, typer.Option("--days", min=0, metavar="N", help="Not called for so long.")] = 90,
    as_json: AsJson = False,
) -> None:
    """List webhook handlers of all services that nobody calls."""
    handlers = WebhookHandler.unused(days)
    if as_json:
        print_json(handlers)
        return
    if not handlers:
        print(f"every webhook handler was called or created in the last {days} days", file=sys.stderr)
        return
    names = {one.uuid: one.name for one in Service.list()}
    columns = [
        Column(heading="SERVICE", least=8),
        Column(heading="NAME", least=8),
        Column(heading="UUID"),
        Column(heading="OPERATION"),
        Column(heading="LAST CALLED"),
        Column(heading="CREATED"),
    ]
    rows = [
        [
            names.get(one.service_uuid, one.service_uuid),
            one.name,
            shorten(one.uuid).rstrip("…"),
            one.operation,
            age(one.last_called_datetime) or "never",
            age(one.created_datetime),
        ]
        for one in handlers
    ]
    print_table(columns, rows)
    hint("Revoke one with: tutum webhook-handler rm SERVICE UUID")


@app.command("rm")
def remove_handlers(
    service: OneService,
    identifiers: Annotated[list[str], typer.Argument(metavar="HANDLER", help="UUID, start of the UUID, or name.")],
) -> None:
    """Revoke webhook handlers: their URLs answer 404 from then on. One unknown name, and none is revoked."""
    webhook = WebhookHandler.fetch(Utils.fetch_remote_service(service))
    handlers = webhook.list()
    # Found all before the first is deleted.
    uuids = dict.fromkeys(find_handler(handlers, identifier).uuid for identifier in identifiers)
    for uuid in uuids:
        webhook.delete(uuid)
        print(uuid)


def _fields(service: Service, handler: Handler) -> dict[str, Any]:
    return {**handler, "call_url": service.client.absolute_url(handler.url)}


def _print_handler(service: Service, handler: Handler, *, as_json: bool) -> None:
    if as_json:
        print_json(_fields(service, handler))
        return
    print(printable(f"{handler.name or 'a handler without name'}: {handler.operation} of {service.name}"))
    print_pairs([("uuid", shorten(handler.uuid)), *handler_pairs(handler)])


app.add_typer(handler_calls.app)
