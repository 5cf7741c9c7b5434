"""`tutum webhook-handler call|test|deliveries|redeliver`: calls a handler, and shows the calls that it received."""

from dataclasses import asdict
from itertools import islice
from typing import Annotated

import typer

from tutum.call_result import Accepted
from tutum.cli.field_options import read_text
from tutum.cli.handler_text import action_uuid, closed_reason, delivery_pairs, print_pairs, trial_pairs, trial_verdict
from tutum.cli.lookup import HandlerMatch, match_handler
from tutum.cli.options import DEFAULT_TIMEOUT_S, AsJson, HandlerName, OneService, Quiet, Timeout, Wait, parse_pairs
from tutum.cli.output import print_json, printable
from tutum.cli.progress import FAILED_EXIT_CODE, Started, report
from tutum.cli.tables import Column, print_table
from tutum.cli.times import age
from tutum.errors import ObjectNotFound, TutumApiError, TutumAuthError
from tutum.redaction import redact

app = typer.Typer(rich_markup_mode=None)

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
    match = match_handler(service, handler)
    try:
        accepted = match.webhook.call(match.uuid, amount, tag=tag)
    except TutumAuthError as error:
        # Not about the user's credentials: none were sent.
        raise TutumApiError(
            f"the handler accepts only calls that its sender signed: {error.message}. "
            "tutum webhook-handler show SERVICE HANDLER --for curl prints how to sign one",
            status=error.status,
        ) from error
    except ObjectNotFound as error:
        raise ObjectNotFound(
            f"the handler accepts no call now: {closed_reason(match.handler)}; "
            "see tutum webhook-handler show SERVICE HANDLER",
            status=error.status,
        ) from error
    if not _print_skipped(accepted, as_json=as_json):
        started = Started(label=match.label, accepted=accepted)
        report([started], wait=wait, timeout_s=timeout_s, quiet=quiet, as_json=as_json)


@app.command("test")
def test_handler(
    service: OneService,
    handler: HandlerName,
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
    match = match_handler(service, handler)
    trial = match.webhook.test(match.uuid, given_headers or None, parameters or None, body, address)
    if as_json:
        print_json(asdict(trial))
    else:
        print_pairs(trial_pairs(trial))
        blank = [""] if trial.steps else []
        for line in (*blank, trial_verdict(trial, match.label), *(f"Note: {note}" for note in trial.notes)):
            print(printable(line))
    if not trial.goes:
        raise typer.Exit(FAILED_EXIT_CODE)


@app.command("deliveries")
def list_deliveries(
    service: OneService,
    handler: HandlerName,
    last: Annotated[int, typer.Option("--last", min=1, metavar="N", help="How many, the newest first.")] = 25,
    number: Annotated[
        int | None, typer.Option("--show", min=1, metavar="ID", help="Print one with its headers, query and body.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """List the calls that a webhook handler received."""
    match = match_handler(service, handler)
    if number is not None:
        _show_delivery(match, number, as_json=as_json)
        return
    deliveries = list(islice(match.webhook.deliveries(match.uuid), last))
    if as_json:
        print_json(deliveries)
        return
    rows = [
        [
            str(delivery.get("id", "")),
            age(delivery["received_datetime"]),
            delivery["ip"] or "",
            delivery["outcome"],
            action_uuid(delivery),
            " ".join(str(delivery.get("reason") or "").split()),
        ]
        for delivery in deliveries
    ]
    print_table(DELIVERY_COLUMNS, rows)


@app.command("redeliver")
def redeliver(
    service: OneService,
    handler: HandlerName,
    delivery: Annotated[int, typer.Argument(min=1, metavar="ID", help="Number of a delivery.")],
    wait: Wait = False,
    timeout_s: Timeout = DEFAULT_TIMEOUT_S,
    quiet: Quiet = False,
    as_json: AsJson = False,
) -> None:
    """Do again what a received call requested."""
    match = match_handler(service, handler)
    accepted = match.webhook.redeliver(match.uuid, delivery)
    if not _print_skipped(accepted, as_json=as_json):
        started = Started(label=f"{match.label}, delivery {delivery} again", accepted=accepted)
        report([started], wait=wait, timeout_s=timeout_s, quiet=quiet, as_json=as_json)


def _print_skipped(accepted: Accepted, *, as_json: bool) -> bool:
    """Print that a call was skipped, and return whether it was."""
    if accepted.outcome is None or not accepted.outcome.skipped:
        return False
    if as_json:
        print_json(accepted.body)
    else:
        print(f"Skipped: {printable(accepted.outcome.reason or 'there was nothing to do')}")
    return True


def _show_delivery(match: HandlerMatch, number: int, *, as_json: bool) -> None:
    delivery = match.webhook.delivery(match.uuid, number)
    if as_json:
        print_json(delivery)
        return
    print_pairs(delivery_pairs(delivery))
    if delivery.get("left_out"):  # absent on older servers
        print(f"\nnot kept: {printable(', '.join(delivery['left_out']))}")
    remarks = [f"{delivery['body_size']} bytes"]
    if delivery["body_is_base64"]:
        remarks.append("in base64")
    if delivery["body_is_cut"]:
        remarks.append("only the beginning was kept")
    print(f"\nbody ({', '.join(remarks)}):")
    print(printable(redact(delivery["body"]), keep="\n\t"))  # some senders put the URL into the body
