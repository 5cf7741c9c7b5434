"""Whether a sender is connected: each check of its newest call, and what to mend if one fails."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Literal

from tutumd.application.admission.fields import FIELDS
from tutumd.application.handler_words import describe
from tutumd.application.senders import Kind, Sender
from tutumd.errors import USED_UP
from tutumd.model import Delivery, DeliveryOutcome, Handler, Operation

MAX_DELIVERIES = 10
"""Newest deliveries that tell whether a sender is connected."""

_REFUSED_WITH = re.compile(r"(\d{3}): (.*)", re.DOTALL)
_PING = "it is a ping"
_RAN = (DeliveryOutcome.QUEUED, DeliveryOutcome.JOINED, DeliveryOutcome.SUPERSEDED, DeliveryOutcome.REPEATED)
_ACTION_STATES: Mapping[str, "CheckState"] = {"Success": "passed", "Failed": "failed", "Canceled": "failed"}
_UNKNOWN = "the sender"


class Stage(StrEnum):
    """How far a connection is."""

    WAITING = "waiting"
    CONNECTED = "connected"
    NOT_COUNTED = "skipped"
    REFUSED = "refused"
    FAILED = "failed"


CheckState = Literal["passed", "failed", "waiting", "skipped"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """One check of a call. `why` is empty if there is nothing to say."""

    text: str
    state: CheckState
    why: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Connection:
    """What is known of a sender's calls.

    Attributes:
        mend: What to do now; empty if nothing.
        delivery: The call that is shown; None if there is none.
        is_settled: Nothing changes any more unless another call arrives.
    """

    stage: Stage
    title: str
    mend: str
    checks: tuple[Check, ...]
    delivery: Delivery | None = None
    is_settled: bool = False


def judge_connection(sender: Sender | None, handler: Handler, deliveries: Sequence[Delivery]) -> Connection:
    """Return whether a sender is connected to a handler, by the handler's newest deliveries, newest first."""
    delivery, who = choose_delivery(deliveries), sender.name if sender else _UNKNOWN
    if delivery is None:
        return _waiting(sender, who, handler)
    refusal = _REFUSED_WITH.fullmatch(delivery.reason) if delivery.outcome is DeliveryOutcome.REFUSED else None
    if refusal:
        return _turned_away(delivery, refusal[1], refusal[2])
    if delivery.outcome is DeliveryOutcome.REFUSED:
        return _unsigned(sender, who, delivery)
    signature = _check_signature(sender, who, handler)
    if delivery.outcome is DeliveryOutcome.SKIPPED:
        return _skipped(sender, who, handler, delivery, signature)
    return _carried_out(who, handler, delivery, signature)


def choose_delivery(deliveries: Sequence[Delivery]) -> Delivery | None:
    """Return the delivery that tells most: the newest one, unless it was skipped and an earlier one ran.

    Registries call several times for one push, and all but one of these calls are skipped.
    """
    for delivery in deliveries:
        if delivery.outcome in _RAN:
            return delivery
        if delivery.outcome is DeliveryOutcome.REFUSED:
            break
    return deliveries[0] if deliveries else None


def describe_calls(handler: Handler) -> str:
    """Return which calls of a handler count, as one or several sentences."""
    return " ".join(dict(describe(handler))[FIELDS["filter"].group])


def _waiting(sender: Sender | None, who: str, handler: Handler) -> Connection:
    checks = [Check(text="A call arrives", state="waiting", why=sender.first_call if sender else "")]
    if "verify" in handler.options:
        checks.append(Check(text="Its secret is right", state="waiting"))
    checks += [
        Check(text="It counts", state="waiting", why=describe_calls(handler)),
        Check(text="An action is queued", state="waiting"),
        Check(text="The action succeeds", state="waiting"),
    ]
    title = f"Waiting for the first call from {who}"
    return Connection(stage=Stage.WAITING, title=title, mend="", checks=tuple(checks))


def _arrived(delivery: Delivery) -> Check:
    agent = f", {delivery.user_agent[:100]}" if delivery.user_agent else ""
    return Check(text="A call arrived", state="passed", why=f"from {delivery.address or 'an unknown address'}{agent}")


def _turned_away(delivery: Delivery, status: str, reason: str) -> Connection:
    """Return the connection of a handler that took no call, whatever the call contained."""
    mends = {
        "disabled": "Enable the handler on its page.",
        "expired": "The handler's date is over: set a later one on its page.",
        USED_UP: "The handler has accepted as many calls as it may: edit it, and raise Total calls.",
    }
    mend = mends.get(reason, "")
    if not mend and status == "404":
        mend = "Calls from this address are not allowed: edit the handler, and add the address to Networks."
    if not mend and status == "429":
        mend = "Wait, then send it again; or edit the handler, and raise Rate limit."
    failed = Check(text="The handler takes calls", state="failed", why=f"no: {reason}. The sender got a {status}.")
    return Connection(
        stage=Stage.REFUSED,
        title=f"A call was refused with {status}",
        mend=mend,
        checks=(_arrived(delivery), failed),
        delivery=delivery,
        is_settled=True,
    )


def _unsigned(sender: Sender | None, who: str, delivery: Delivery) -> Connection:
    failed = Check(text="Its secret is right", state="failed", why=f"no: {delivery.reason}. The sender got a 401.")
    lacks_it = "is missing" in delivery.reason
    return Connection(
        stage=Stage.REFUSED,
        title="A call arrived without the secret" if lacks_it else "A call arrived with a wrong secret",
        mend=_mend_signature(sender, who, delivery.reason),
        checks=(_arrived(delivery), failed, Check(text="It counts", state="skipped")),
        delivery=delivery,
        is_settled=True,
    )


def _mend_signature(sender: Sender | None, who: str, reason: str) -> str:
    place = f"its field {sender.proof_field}" if sender and sender.proof_field else "its settings"
    if "occurs" in reason:
        return "Something between the sender and this server adds the header again: look at the proxies."
    if "timestamp" in reason:
        return "Compare the clocks of the sender and of this server."
    if "is missing" in reason:
        return f"{_start(who)} sent no secret: enter this handler's in {place}, then send the call again."
    if "not of the form" in reason:
        return f"Let {who} send Authorization: Bearer, a space, and the secret."
    mend = f"{_start(who)} has another secret: enter this handler's in {place}. If it is lost, make a new one below."
    if sender and sender.key == "gitea":
        # Gitea and Forgejo sign the JSON also if they send a form around it.
        mend += " With the content type of a form this fails as well: choose application/json."
    return mend


def _check_signature(sender: Sender | None, who: str, handler: Handler) -> Check:
    if "verify" in handler.options:
        return Check(text="Its secret is right", state="passed")
    signs_nothing = sender is not None and sender.verify is None and Kind.ANY not in sender.kinds
    start = f"{who} signs nothing" if signs_nothing else "the handler checks none"
    return Check(text="No secret is asked for", state="skipped", why=f"{start}: the URL alone is the password")


def _skipped(sender: Sender | None, who: str, handler: Handler, delivery: Delivery, signature: Check) -> Connection:
    if delivery.reason == _PING:
        ping = Check(text="It is a ping", state="passed", why=f"It runs nothing. {describe_calls(handler)}")
        title = f"{_own(_start(who))} ping arrived: connected"
        checks = (_arrived(delivery), signature, ping)
        return Connection(
            stage=Stage.CONNECTED, title=title, mend="", checks=checks, delivery=delivery, is_settled=True
        )
    counts = Check(text="It counts", state="failed", why=f"no: {delivery.reason}")
    return Connection(
        stage=Stage.NOT_COUNTED,
        title="Connected, but this call did not count",
        mend=_mend_filter(sender, who, handler, delivery.reason),
        checks=(_arrived(delivery), signature, counts, Check(text="An action is queued", state="skipped")),
        delivery=delivery,
        is_settled=True,
    )


def _mend_filter(sender: Sender | None, who: str, handler: Handler, reason: str) -> str:
    if "names no pushed" in reason or "where tag.from looks" in reason:
        events = next(iter(sender.events.values()), "") if sender else ""
        chosen = f" ({events.rstrip('.')})" if events else ""
        json_needed = " and application/json" if sender and sender.sends_content_type else ""
        return f"{describe_calls(handler)} Let {who} send such events{chosen}{json_needed}."
    return f"{describe_calls(handler)} Send such a call, or change that on the handler's page."


def _carried_out(who: str, handler: Handler, delivery: Delivery, signature: Check) -> Connection:
    state = delivery.action_state or ""
    result = _ACTION_STATES.get(state, "waiting")
    verb = "redeploys" if handler.operation is Operation.REDEPLOY else "scales up"
    queued = {
        DeliveryOutcome.JOINED: "it joined an action that was waiting",
        DeliveryOutcome.SUPERSEDED: f"it joined an action; {delivery.reason}",
        DeliveryOutcome.REPEATED: "it repeats an earlier call, and nothing runs twice",
    }
    is_first = delivery.outcome in (DeliveryOutcome.QUEUED, DeliveryOutcome.JOINED)
    notes = [f"it names the tag {delivery.tag}" if delivery.tag else "", delivery.reason if is_first else ""]
    checks = [
        _arrived(delivery),
        signature,
        Check(text="It counts", state="passed", why="; ".join(filter(None, notes))),
        Check(text="An action is queued", state="passed", why=queued.get(delivery.outcome, "")),
    ]
    if delivery.action_uuid is not None:
        why = delivery.action_reason or ("" if result == "passed" else state)
        checks.append(Check(text=f"The action {verb} the service", state=result, why=why))
    is_bad = result == "failed"
    return Connection(
        stage=Stage.FAILED if is_bad else Stage.CONNECTED,
        title=f"{_start(who)} is connected"
        + (f", and the action {'failed' if state == 'Failed' else 'was canceled'}" if is_bad else ""),
        mend="",
        checks=tuple(checks),
        delivery=delivery,
        is_settled=delivery.action_uuid is None or result != "waiting",
    )


def _start(who: str) -> str:
    """Return a sender as the first word of a sentence. Names are written as their makers write them."""
    return "The sender" if who == _UNKNOWN else who


def _own(who: str) -> str:
    return f"{who}'" if who.endswith("s") else f"{who}'s"
