"""`tutum webhook-handler call|test|deliveries|redeliver`: calls of a handler, made, tried and looked at."""

import sys
from dataclasses import asdict
from itertools import islice
from pathlib import Path
from typing import Annotated

import typer

from tutum.call_result import Accepted
from tutum.cli.dates import age
from tutum.cli.handler_text import action_uuid, closed, delivery_pairs, print_pairs, trial_pairs, trial_verdict
from tutum.cli.lookup import Found, find
from tutum.cli.options import DEFAULT_TIMEOUT_S, AsJson, HandlerName, OneService, Quiet, Timeout, Wait, parse_pairs
from tutum.cli.output import print_json, printable
from tutum.cli.progress import FAILED_EXIT_CODE, Started, report
from tutum.cli.tables import Column, print_table
from tutum.errors import ObjectNotFound, TutumApiError, TutumAuthError
from tutum.redaction import redact

app = typer.Typer(rich_markup_mode=None)

DeliveryId = Annotated[int, typer.Argument(min=1, metavar="ID", help="Number of a delivery.")]

DELIVERY_COLUMNS = (
    Column(heading="ID"),
    Column(heading="RECEIVED"),
    Column(heading="FROM", least=9),
    Column(heading="OUTCOME"),
    Column(heading="ACTION", short=8),
    Column(heading="REASON", least=8),
)


@app.command("call")
def call_handler(
    service: OneService,
    handler: HandlerName,
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
    found = find(service, handler)
    started = Started(label=found.label, accepted=_call(found, amount, tag))
    if not _skipped(started, as_json=as_json):
        report([started], wait=wait, timeout_s=timeout_s, quiet=quiet, as_json=as_json)


@app.command("test")
def test_handler(
    service: OneService,
    handler: HandlerName,
    payload: Annotated[
        str | None, typer.Option("--payload", metavar="FILE", help="Body of the call; - reads it from stdin.")
    ] = None,
    headers: Annotated[
        list[str] | None, typer.Option("--header", "-H", metavar="'NAME: VALUE'", help="Header; repeatable.")
    ] = None,
    query: Annotated[
        list[str] | None, typer.Option("--query", metavar="NAME=VALUE", help="Such as tag=v2; repeatable.")
    ] = None,
    address: Annotated[
        str | None, typer.Option("--address", metavar="IP", help="Where the call would come from.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Tell what a call would do, and why. Nothing is done. Exits with 1 if the operation would not be performed."""
    given = dict(parse_pairs("--header", headers or [], separator=":"))
    parameters = dict(parse_pairs("--query", query or []))
    body = _read(payload) if payload is not None else None
    found = find(service, handler)
    trial = found.webhook.test(found.uuid, given or None, parameters or None, body, address)
    if as_json:
        print_json(asdict(trial))
    else:
        print_pairs(trial_pairs(trial))
        if trial.steps:
            print()
        for line in (trial_verdict(trial, found.label), *(f"Note: {note}" for note in trial.notes)):
            print(printable(line))
    if not trial.goes:
        raise typer.Exit(FAILED_EXIT_CODE)


@app.command("deliveries")
def list_deliveries(
    service: OneService,
    handler: HandlerName,
    last: Annotated[int, typer.Option("--last", min=1, metavar="N", help="How many, the newest first.")] = 25,
    shown: Annotated[
        int | None, typer.Option("--show", min=1, metavar="ID", help="Print all of one: headers, query and body.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """List the calls that a webhook handler received."""
    found = find(service, handler)
    if shown is not None:
        _show_delivery(found, shown, as_json=as_json)
        return
    deliveries = list(islice(found.webhook.deliveries(found.uuid), last))
    if as_json:
        print_json(deliveries)
        return
    rows = [
        [
            str(one.get("id", "")),
            age(one["received_datetime"]),
            one["ip"] or "",
            one["outcome"],
            action_uuid(one),
            " ".join(str(one.get("reason") or "").split()),
        ]
        for one in deliveries
    ]
    print_table(DELIVERY_COLUMNS, rows)


@app.command("redeliver")
def redeliver(
    service: OneService,
    handler: HandlerName,
    delivery: DeliveryId,
    wait: Wait = False,
    timeout_s: Timeout = DEFAULT_TIMEOUT_S,
    quiet: Quiet = False,
    as_json: AsJson = False,
) -> None:
    """Do once more what a received call asks for."""
    found = find(service, handler)
    accepted = found.webhook.redeliver(found.uuid, delivery)
    started = Started(label=f"{found.label}, delivery {delivery} again", accepted=accepted)
    if not _skipped(started, as_json=as_json):
        report([started], wait=wait, timeout_s=timeout_s, quiet=quiet, as_json=as_json)


def _call(found: Found, amount: int | None, tag: str | None) -> Accepted:
    try:
        return found.webhook.call(found.uuid, amount, tag=tag)
    except TutumAuthError as error:
        # Not the user's credentials: none were sent.
        raise TutumApiError(
            f"the handler only takes calls that its sender signed: {error.message}. "
            "tutum webhook-handler show SERVICE HANDLER --for curl prints how to sign one",
            status=error.status,
        ) from error
    except ObjectNotFound as error:
        raise ObjectNotFound(
            f"the handler takes no call now: {closed(found.handler)}; see tutum webhook-handler show SERVICE HANDLER",
            status=error.status,
        ) from error


def _skipped(started: Started, *, as_json: bool) -> bool:
    """Tell that a call did nothing, if so."""
    outcome = started.accepted.outcome
    if outcome is None or not outcome.skipped:
        return False
    if as_json:
        print_json(started.accepted.body)
    else:
        print(f"Skipped: {printable(outcome.reason or 'there was nothing to do')}")
    return True


def _read(file: str) -> str:
    try:
        content = sys.stdin.buffer.read() if file == "-" else Path(file).read_bytes()
        return content.decode()
    except OSError as error:
        raise typer.BadParameter(f"--payload: cannot read {file}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise typer.BadParameter(f"--payload: {file} is not UTF-8 text") from error


def _show_delivery(found: Found, number: int, *, as_json: bool) -> None:
    delivery = found.webhook.delivery(found.uuid, number)
    if as_json:
        print_json(delivery)
        return
    print_pairs(delivery_pairs(delivery))
    remarks = [f"{delivery['body_size']} bytes"]
    if delivery["body_is_base64"]:
        remarks.append("in base64")
    if delivery["body_is_cut"]:
        remarks.append("only the beginning was kept")
    left_out = delivery.get("left_out")  # servers before this one do not tell
    if left_out:
        print(f"\nnot kept: {printable(', '.join(left_out))}")
    print(f"\nbody ({', '.join(remarks)}):")
    print(printable(redact(delivery["body"]), keep="\n\t"))  # some senders tell the URL that they call
