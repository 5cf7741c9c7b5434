"""`tutum webhook-handler`: lists, creates, removes and calls the handlers of a service."""

from __future__ import annotations

import sys
from enum import StrEnum
from itertools import islice
from typing import Annotated, Any

import typer

from tutum.cli.dates import age
from tutum.cli.options import DEFAULT_TIMEOUT_S, AsJson, OneService, Quiet, Services, Timeout, Wait
from tutum.cli.output import hint, print_json, printable
from tutum.cli.progress import Started, report
from tutum.cli.tables import Column, print_table
from tutum.handler import Handler
from tutum.identifiers import Utils, find_handler
from tutum.service import Service
from tutum.webhook_handler import WebhookHandler

app = typer.Typer(rich_markup_mode=None)


class Operation(StrEnum):
    """What a handler can do."""

    REDEPLOY = "REDEPLOY"
    SCALEUP = "SCALEUP"


HandlerName = Annotated[str, typer.Argument(metavar="HANDLER", help="UUID, start of the UUID, or name.")]


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


@app.command("create")
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
) -> None:
    """Create webhook handlers and print the UUID and the URL to POST to."""
    created: list[tuple[Service, Handler]] = []
    for service in [Utils.fetch_remote_service(identifier) for identifier in services]:
        webhook = WebhookHandler.fetch(service)
        webhook.add(names or [None], operation.value)
        created += [(service, handler) for handler in webhook.save()]
    if as_json:
        fields = [_fields(service, handler) for service, handler in created]
        print_json(fields if len(fields) != 1 else fields[0])
        return
    for service, handler in created:
        print(handler.uuid)
        if not quiet:
            print(service.client.absolute_url(handler.url))
    if not quiet:
        hint("Call it with: curl -X POST URL. The URL is a password: whoever has it can call it.")


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


@app.command("call")
def call_handler(
    service: OneService,
    handler: HandlerName,
    amount: Annotated[
        int | None, typer.Argument(min=1, max=100, metavar="[AMOUNT]", help="Containers that SCALEUP adds; default 1.")
    ] = None,
    wait: Wait = False,
    timeout_s: Timeout = DEFAULT_TIMEOUT_S,
    quiet: Quiet = False,
    as_json: AsJson = False,
) -> None:
    """Call a webhook handler."""
    owner = Utils.fetch_remote_service(service)
    webhook = WebhookHandler.fetch(owner)
    found = find_handler(webhook.list(), handler)
    started = Started(label=f"{found.operation} of {owner.name}", accepted=webhook.call(found.uuid, amount))
    report([started], wait=wait, timeout_s=timeout_s, quiet=quiet, as_json=as_json)


@app.command("deliveries")
def list_deliveries(
    service: OneService,
    handler: HandlerName,
    last: Annotated[int, typer.Option("--last", min=1, metavar="N", help="How many, the newest first.")] = 25,
    as_json: AsJson = False,
) -> None:
    """List the calls that a webhook handler received."""
    webhook = WebhookHandler.fetch(Utils.fetch_remote_service(service))
    found = find_handler(webhook.list(), handler)
    deliveries = list(islice(webhook.deliveries(found.uuid), last))
    if as_json:
        print_json(deliveries)
        return
    columns = [
        Column(heading="RECEIVED"),
        Column(heading="FROM"),
        Column(heading="USER AGENT", least=8),
        Column(heading="BYTES"),
        Column(heading="OUTCOME"),
        Column(heading="ACTION", short=8),
    ]
    rows = [
        [
            age(one["received_datetime"]),
            one["ip"],
            one["user_agent"],
            str(one["body_size"]),
            one["outcome"],
            one["action"].strip("/").rpartition("/")[2],
        ]
        for one in deliveries
    ]
    print_table(columns, rows)


def _fields(service: Service, handler: Handler) -> dict[str, Any]:
    return {**handler, "call_url": service.client.absolute_url(handler.url)}
