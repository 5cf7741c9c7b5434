"""`tutum webhook-handler`: lists, creates, changes, shows and revokes the handlers of a service."""

import sys
from collections.abc import Mapping, Sequence
from itertools import chain
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

import typer

from tutum import Handler, Service, Utils, WebhookHandler
from tutum.cli import handler_calls
from tutum.cli.field_options import changes_of, complete_verify, takes_fields
from tutum.cli.handler_text import call_advice, handler_pairs, state_of
from tutum.cli.options import (
    AnyServices,
    AsJson,
    Grace,
    HandlerName,
    HandlerNames,
    NewName,
    OneService,
    OnlyUrl,
    Quiet,
    Sender,
    Services,
    find,
    label_of,
    refuse_taken_names,
    seconds_of,
    words,
)
from tutum.cli.output import Columns, age, hint, print_json, print_list, print_table, printable
from tutum.lookup import find_handler
from tutum.redaction import shorten
from tutum.snippets import TARGETS, snippet
from tutum.webhook_handler import FIELDS, Webhooks

app = typer.Typer(rich_markup_mode=None)

LIST_HEADINGS = ("SERVICE", "NAME", "OPERATION", "UUID", "STATE")
UNUSED_HEADINGS = ("SERVICE", "NAME", "UUID", "OPERATION", "LAST CALLED", "CREATED")


@app.command("list")
@app.command("ls", hidden=True)
def list_handlers(services: AnyServices = None, quiet: Quiet = False, as_json: AsJson = False) -> None:
    """List the webhook handlers of services; without a service, of all."""
    owners = list(map(Utils.fetch_remote_service, services)) if services else Service.list()
    listed = [WebhookHandler.fetch(owner).list() for owner in owners] if services else [WebhookHandler.unused(0)]
    names = {owner.uuid: owner.shown_name for owner in owners}
    handlers = sorted(
        chain.from_iterable(listed), key=lambda each: "" if services else names.get(each.service_uuid, "")
    )
    # A value that is the same for all, as usual, needs no column.
    all_active = all(state_of(handler) == "active" for handler in handlers)
    headings = LIST_HEADINGS[len(services or ()) == 1 : -1 if all_active else None]
    none = f"no webhook handlers: tutum webhook-handler create {' '.join(names.values()) if services else 'SERVICE'}"
    print_list(handlers, _columns(names, headings), quiet=quiet, as_json=as_json, none=none)
    if as_json:
        warn_of_loopback(handlers)


def _columns(names: Mapping[str, str], headings: Sequence[str]) -> Columns:
    columns: Columns = {
        "SERVICE": lambda handler: names.get(handler.service_uuid, handler.service_uuid),
        "NAME": lambda handler: handler.name,
        "OPERATION": lambda handler: handler.operation,
        "UUID": lambda handler: handler.uuid,
        "STATE": state_of,
        "LAST CALLED": lambda handler: age(handler.last_called_datetime) or "never",
        "CREATED": lambda handler: age(handler.created_datetime),
    }
    return {heading: columns[heading] for heading in headings}


@app.command("create")
@takes_fields
def create_handlers(
    services: Services,
    names: Annotated[
        list[str] | None, typer.Option("--name", "-n", metavar="NAME", help="Name; repeat it for several handlers.")
    ] = None,
    operation: Annotated[
        Literal["REDEPLOY", "SCALEUP", "ROLLBACK"],
        typer.Option("--operation", "-o", case_sensitive=False, help="What a call does."),
    ] = "REDEPLOY",
    quiet: Quiet = False,
    as_json: AsJson = False,
    *,
    fields: dict[str, Any],
) -> None:
    """Create webhook handlers and print their UUIDs and URLs."""
    created: list[Handler] = []
    webhooks = [WebhookHandler.fetch(Utils.fetch_remote_service(identifier)) for identifier in services]
    for webhook in webhooks:
        refuse_taken_names(webhook, names or [])
    fields = complete_verify(fields, None)
    for webhook in webhooks:
        webhook.add(names or [None], operation, **fields)
        created += webhook.save()
    print_urls(created, call_advice(fields), quiet=quiet, as_json=as_json)


@app.command("set")
@takes_fields
def set_fields(
    service: OneService,
    identifier: HandlerName,
    name: NewName = None,
    reset: Annotated[
        list[str] | None,
        typer.Option(
            "--reset",
            metavar="FIELD",
            help="Field to set to its default; repeatable.",
            autocompletion=words(*FIELDS),
        ),
    ] = None,
    as_json: AsJson = False,
    *,
    fields: dict[str, Any],
) -> None:
    """Change the given fields of a webhook handler. A new filter or tag replaces the old one as a whole."""
    changes = changes_of(name, reset, fields)
    webhook, handler = find(service, identifier)
    refuse_taken_names(webhook, [name or ""], but=handler.uuid)
    changes = complete_verify(changes, handler)
    print_handler(label_of(webhook, handler), webhook.update(handler.uuid, **changes), as_json=as_json)


@app.command("show")
def show_handler(
    service: OneService,
    identifier: HandlerName,
    target: Sender = None,
    url: OnlyUrl = False,
    as_json: AsJson = False,
) -> None:
    """Show a webhook handler. Its URL is a password, and printed only with --url, --for or --json."""
    webhook, handler = find(service, identifier)
    show(label_of(webhook, handler), handler, target, url=url, as_json=as_json)


def show(label: str, handler: Handler, target: str | None, *, url: bool, as_json: bool) -> None:
    """Print a handler or group; with `url` or a sender as the `target`, its URL or what to paste."""
    if target is not None and target not in TARGETS:
        raise typer.BadParameter(f"--for must be one of {', '.join(TARGETS)}; got {target!r}")
    if target is None and not url:
        print_handler(label, handler, as_json=as_json)
        return
    print(handler.call_url if target is None else snippet(target, handler.call_url, handler).rstrip())
    warn_of_loopback([handler])


@app.command("rotate")
def rotate_handler(
    service: OneService,
    identifier: HandlerName,
    grace: Grace = "1d",
    quiet: Quiet = False,
    as_json: AsJson = False,
) -> None:
    """Give a webhook handler a new UUID and URL, and print them."""
    rotate(*find(service, identifier), grace, quiet=quiet, as_json=as_json)


def rotate(webhooks: Webhooks, handler: Handler, grace: str, *, quiet: bool, as_json: bool) -> None:
    """Give a handler or group a new UUID and URL, and print them."""
    rotated = webhooks.rotate(handler.uuid, seconds_of("--grace", grace))
    until = rotated.rotation["old_until"] if rotated.rotation else "now"
    advice = f"The old URL works until {until}; show prints when it was last called."
    print_urls([rotated], advice, quiet=quiet, as_json=as_json)


@app.command("unused")
def list_unused(
    days: Annotated[
        int, typer.Option("--days", min=0, metavar="N", help="Days without a call; new handlers do not count.")
    ] = 90,
    as_json: AsJson = False,
) -> None:
    """List webhook handlers of all services that nobody calls."""
    handlers = WebhookHandler.unused(days)
    names = {} if as_json else {service.uuid: service.shown_name for service in Service.list()}
    listed = handlers if as_json else [Handler(each, uuid=each.uuid[:8]) for each in handlers]
    none = f"every webhook handler was called or created in the last {days} days"
    print_list(listed, _columns(names, UNUSED_HEADINGS), as_json=as_json, none=none)
    if handlers and not as_json:
        hint("Revoke one with: tutum webhook-handler rm SERVICE UUID")


@app.command("rm")
def remove_handlers(
    service: OneService,
    identifiers: HandlerNames,
) -> None:
    """Revoke webhook handlers: their URLs answer 404. If a name is unknown, none is revoked."""
    remove(WebhookHandler.fetch(Utils.fetch_remote_service(service)), identifiers, "webhook handler")


def remove(webhooks: Webhooks, identifiers: Sequence[str], noun: str) -> None:
    """Revoke handlers or groups; if a name is unknown, none."""
    handlers = webhooks.list()
    uuids = dict.fromkeys(find_handler(handlers, identifier, noun).uuid for identifier in identifiers)
    for uuid in uuids:
        webhooks.delete(uuid)
        print(uuid)


def print_urls(handlers: list[Handler], advice: str, *, quiet: bool, as_json: bool) -> None:
    """Print UUIDs and URLs; with `quiet` only the UUIDs, with `as_json` all fields."""
    if as_json:
        print_json(handlers if len(handlers) != 1 else handlers[0])
        warn_of_loopback(handlers)
        return
    for handler in handlers:
        print(handler.uuid if quiet else f"{handler.uuid}\n{handler.call_url}")
    if not quiet:
        warn_of_loopback(handlers)
        hint(advice)


def warn_of_loopback(handlers: list[Handler]) -> None:
    """Print advice if printed URLs direct other machines to themselves."""
    hosts = {urlsplit(handler.call_url).hostname or "" for handler in handlers}
    if any(host in ("localhost", "::1") or host.startswith("127.") for host in hosts):
        print(
            "This URL works on the server's machine only: start the server with --public-url https://NAME",
            file=sys.stderr,
        )


def print_handler(label: str, handler: Handler, *, as_json: bool) -> None:
    """Print all fields of a handler or group, without its URL and UUID. `label` is such as "REDEPLOY of web"."""
    if as_json:
        print_urls([handler], "", quiet=False, as_json=True)
        return
    noun = "handler" if "operation" in handler else "group"
    print(printable(f"{handler.name or f'{noun} without a name'}: {label}"))
    print_table(handler_calls.PAIRS, [("uuid", shorten(handler.uuid)), *handler_pairs(handler)])


app.add_typer(handler_calls.app)
