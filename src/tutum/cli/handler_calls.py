"""`tutum webhook-handler call|test|deliveries|redeliver`: calls a handler, and shows the calls that it received."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict
from itertools import islice
from typing import Annotated, Any

import typer

from tutum import Accepted, Handler, ObjectNotFound, TutumApiError, TutumAuthError
from tutum.cli.actions import FAILED_EXIT_CODE, report
from tutum.cli.handler_text import action_uuid, closed_reason, delivery_pairs, trial_verdict
from tutum.cli.options import (
    DEFAULT_TIMEOUT_S,
    AsJson,
    HandlerName,
    OneService,
    Quiet,
    Timeout,
    Wait,
    find,
    label_of,
    parse_pairs,
    read_text,
)
from tutum.cli.output import Columns, age, print_json, print_list, print_table, printable
from tutum.redaction import redact

PAIRS = ("", "")
app = typer.Typer(rich_markup_mode=None)

DELIVERY_COLUMNS: Columns = {
    "ID": lambda delivery: str(delivery.get("id", "")),
    "RECEIVED": lambda delivery: age(delivery["received_datetime"]),
    "FROM": lambda delivery: delivery["ip"] or "",
    "OUTCOME": lambda delivery: delivery["outcome"],
    "RESULT": lambda delivery: delivery.get("action_state") or "",
    "ACTION": action_uuid,
    "REASON": lambda delivery: " ".join(str(delivery.get("reason") or delivery.get("action_reason") or "").split()),
}


@contextmanager
def explained(noun: str, handler: Handler, command: str) -> Iterator[None]:
    """Explain why a handler or group refuses a call. `command` shows it."""
    try:
        yield
    except TutumAuthError as error:
        # Not about the user's credentials: none were sent.
        raise TutumApiError(
            f"the {noun} accepts only calls that its sender signed: {error.message}. "
            f"{command} --for curl prints how to sign one",
            status=error.status,
        ) from error
    except ObjectNotFound as error:
        raise ObjectNotFound(
            f"the {noun} accepts no call now: {closed_reason(handler)}; see {command}", status=error.status
        ) from error


@app.command("call")
def call_handler(
    service: OneService,
    identifier: HandlerName,
    amount: Annotated[
        int | None, typer.Argument(min=1, max=100, metavar="[AMOUNT]", help="Containers that SCALEUP adds; default 1.")
    ] = None,
    tag: Annotated[str | None, typer.Option("--tag", metavar="TAG", help="Image tag that REDEPLOY deploys.")] = None,
    wait: Wait = False,
    timeout_s: Timeout = DEFAULT_TIMEOUT_S,
    quiet: Quiet = False,
    as_json: AsJson = False,
) -> None:
    """Call a webhook handler."""
    webhook, handler = find(service, identifier)
    with explained("handler", handler, "tutum webhook-handler show SERVICE HANDLER"):
        accepted = webhook.call(handler.uuid, amount, tag=tag)
    _report(label_of(webhook, handler), accepted, wait=wait, timeout_s=timeout_s, quiet=quiet, as_json=as_json)


@app.command("test")
def test_handler(
    service: OneService,
    identifier: HandlerName,
    payload: Annotated[
        str | None, typer.Option("--payload", metavar="FILE", help="Body of the call; - reads stdin.")
    ] = None,
    headers: Annotated[
        list[str] | None, typer.Option("--header", "-H", metavar="'NAME: VALUE'", help="Header; repeatable.")
    ] = None,
    query: Annotated[
        list[str] | None, typer.Option("--query", metavar="NAME=VALUE", help="Such as tag=v2; repeatable.")
    ] = None,
    address: Annotated[str | None, typer.Option("--address", metavar="IP", help="Address of the caller.")] = None,
    as_json: AsJson = False,
) -> None:
    """Show what a call would do, and why; do nothing. Exits with 1 if the operation would not be performed."""
    given_headers = dict(parse_pairs("--header", headers or [], separator=":"))
    parameters = dict(parse_pairs("--query", query or []))
    body = read_text("--payload", payload) if payload is not None else None
    webhook, handler = find(service, identifier)
    trial = webhook.test(handler.uuid, given_headers or None, parameters or None, body, address)
    if as_json:
        print_json(asdict(trial))
    else:
        print_table(PAIRS, [(f"{'ok' if step.passes else 'NO'}  {step.check}", step.why) for step in trial.steps])
        lines = [trial_verdict(trial, label_of(webhook, handler)), *(f"Note: {note}" for note in trial.notes)]
        print(printable("\n".join(["", *lines] if trial.steps else lines), keep="\n"))
    if not trial.goes:
        raise typer.Exit(FAILED_EXIT_CODE)


@app.command("deliveries")
def list_deliveries(
    service: OneService,
    identifier: HandlerName,
    last: Annotated[int, typer.Option("--last", min=1, metavar="N", help="How many, the newest first.")] = 25,
    number: Annotated[
        int | None, typer.Option("--show", min=1, metavar="ID", help="Print one with its headers, query and body.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """List the calls that a webhook handler received."""
    webhook, handler = find(service, identifier)
    if number is not None:
        _show_delivery(webhook.delivery(handler.uuid, number), as_json=as_json)
        return
    print_list(list(islice(webhook.deliveries(handler.uuid), last)), DELIVERY_COLUMNS, as_json=as_json)


@app.command("redeliver")
def redeliver(
    service: OneService,
    identifier: HandlerName,
    delivery: Annotated[int, typer.Argument(min=1, metavar="ID", help="Number of a delivery.")],
    wait: Wait = False,
    timeout_s: Timeout = DEFAULT_TIMEOUT_S,
    quiet: Quiet = False,
    as_json: AsJson = False,
) -> None:
    """Do again what a received call requested."""
    webhook, handler = find(service, identifier)
    _report(
        f"{label_of(webhook, handler)}, delivery {delivery} again",
        webhook.redeliver(handler.uuid, delivery),
        wait=wait,
        timeout_s=timeout_s,
        quiet=quiet,
        as_json=as_json,
    )


def _report(label: str, accepted: Accepted, *, wait: bool, timeout_s: float, quiet: bool, as_json: bool) -> None:
    if accepted.outcome is None or not accepted.outcome.skipped:
        report([(label, accepted)], wait=wait, timeout_s=timeout_s, quiet=quiet, as_json=as_json)
    elif as_json:
        print_json(accepted.body)
    else:
        print(f"Skipped: {printable(accepted.outcome.reason or 'there was nothing to do')}")


def _show_delivery(delivery: Mapping[str, Any], *, as_json: bool) -> None:
    if as_json:
        print_json(delivery)
        return
    print_table(PAIRS, delivery_pairs(delivery))
    if delivery.get("left_out"):
        print(f"\nnot kept: {printable(', '.join(delivery['left_out']))}")
    remarks = [
        f"{delivery['body_size']} bytes",
        *(["in base64"] if delivery["body_is_base64"] else []),
        *(["only the beginning was kept"] if delivery["body_is_cut"] else []),
    ]
    print(f"\nbody ({', '.join(remarks)}):")
    print(printable(redact(delivery["body"]), keep="\n\t"))  # some senders include the URL in the body
