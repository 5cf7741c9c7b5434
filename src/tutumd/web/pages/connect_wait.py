"""The second half of connecting a sender: what to enter there, and the checks of its first call."""

import base64
import secrets
from typing import Annotated

from fastapi import APIRouter, Query
from fastapi.responses import Response

from tutumd.application import handlers
from tutumd.errors import InvalidInputError
from tutumd.model import Handler
from tutumd.web.messages.connection import MAX_DELIVERIES, judge_connection
from tutumd.web.messages.handlers import judge_handler
from tutumd.web.messages.sender_guide import WHAT_SENDERS_SEE, fill_entries, find_reach_problem, write_example
from tutumd.web.messages.senders import SENDERS, Sender, find_sender
from tutumd.web.pages.handler_routes import (
    BASE,
    CalledHandler,
    ChangedHandler,
    FoundHandler,
    ReadHandler,
)
from tutumd.web.pages.rendering import render
from tutumd.web.pages.visitors import SentForm, fingerprint

router = APIRouter()


@router.get(f"{BASE}connect/")
def wait_for_call(found: ReadHandler, sender: str = "", after: Annotated[int, Query(ge=0, le=2**62)] = 0) -> Response:
    """Show each check of the newest call after the delivery `after`, or that no call has arrived."""
    caller, state = _find_sender(found.handler, sender), judge_handler(found.handler, found.web.clock())
    connection = judge_connection(
        caller, found.handler, [each for each in found.deliveries(MAX_DELIVERIES) if each.number > after]
    )
    return render(
        found.request,
        "connect_wait.html",
        **found.values,
        sender=caller,
        connection=connection,
        is_help_open=connection.stage not in ("connected", "failed"),
        state=state,
        is_closed=state.word not in ("active", "unused"),
        problem=find_reach_problem(found.call_url, caller) if caller else None,
        senders_errors=WHAT_SENDERS_SEE,
        fingerprint=_identify_secrets(found.handler),
    )


@router.post(f"{BASE}connect/")
def show_url(found: CalledHandler, form: SentForm) -> Response:
    """Show the URL again, without the secret."""
    return show_entries(found, _find_sender(found.handler, form.get("sender", "")))


@router.post(f"{BASE}connect/secret/")
def replace_secret(found: ChangedHandler, form: SentForm) -> Response:
    """Replace the secrets of a handler by a new secret, and show it. If the same form is sent again, nothing is
    replaced.
    """
    sender, verify = (
        _find_sender(found.handler, form.get("sender", "")),
        handlers.public_options(found.handler)["verify"],
    )
    if verify is None:
        raise InvalidInputError("this handler checks no secret: edit who may call it first")
    if form.get("replaces", "") != _identify_secrets(found.handler):
        return show_entries(found, sender)
    secret = make_secret(verify["preset"])
    del verify["secrets_set"]
    found.change({"verify": verify | {"secrets": [secret]}})
    return show_entries(found, sender, secret)


def show_entries(found: FoundHandler, sender: Sender | None, secret: str = "") -> Response:
    """Return the page with the values to enter at a sender: the only page that shows the URL, and a new secret."""
    sender, handler, url = sender or SENDERS["curl"], found.handler, found.call_url
    return render(
        found.request,
        "connect_made.html",
        **found.values,
        sender=sender,
        secret=secret,
        lacks_secret="verify" in handler.options and not secret,
        entries=fill_entries(sender, handler, url, secret),
        example=write_example(sender, handler, url, secret),
        problem=find_reach_problem(url, sender),
        after=next((each.number for each in found.deliveries(1)), 0),
    )


def make_secret(preset: str) -> str:
    """Return a random secret of 32 bytes for a preset of `verify`."""
    if preset == "standard-webhooks":
        return "whsec_" + base64.b64encode(secrets.token_bytes(32)).decode()
    return secrets.token_urlsafe(32)


def _find_sender(handler: Handler, key: str) -> Sender | None:
    return find_sender(key, str(handler.options.get("verify", {}).get("preset", "")))


def _identify_secrets(handler: Handler) -> str:
    """Return a text that changes with the secrets of a handler; empty if it has none."""
    verify = handler.options.get("verify")
    return fingerprint(verify["secrets"]) if verify else ""
