"""Whether a sender is connected: each check of its newest call, and the remedy for a failed check."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from tutumd.application.admission.fields import FIELDS
from tutumd.errors import Reason
from tutumd.model import Delivery, DeliveryOutcome, Handler
from tutumd.web.messages.deliveries import STATUSES, write_reason, write_reasons
from tutumd.web.messages.handlers import OPERATION_VERBS, describe
from tutumd.web.messages.senders import Kind, Sender

MAX_DELIVERIES = 10
"""Number of newest deliveries that decide whether a sender is connected."""

_RAN = (DeliveryOutcome.QUEUED, DeliveryOutcome.JOINED, DeliveryOutcome.SUPERSEDED, DeliveryOutcome.REPEATED)
_ACTION_STATES: Mapping[str, "CheckState"] = {"Success": "passed", "Failed": "failed", "Canceled": "failed"}
_UNKNOWN = Sender(key="", name="the sender", group="", tells="", kinds=(Kind.ANY,), first_call="")

_HANDLER_FIXES = {
    "disabled": "Enable the handler on its page.",
    "expired": "The handler has expired. Set a later date on its page.",
    "used-up": "The handler has accepted all calls that it may accept. Edit the handler and raise Total calls.",
    "address-not-allowed": "The handler does not allow this address. Edit the handler and add the address to Networks.",
    "too-many-calls": "Wait and send the call again, or edit the handler and raise Rate limit.",
}
_SIGNATURE_FIXES = {
    "header-repeated": "A proxy in front of this server adds the header a second time. Check the proxies.",
    "header-missing": "{start} sent no secret. Enter the secret of this handler in {place}, then send the call again.",
    "scheme-wrong": "{start} must send the header Authorization with the word Bearer, a space, and the secret.",
    "timestamp-malformed": "{start} must send webhook-timestamp as seconds since 1970.",
    "timestamp-off": "Compare the clock of the sender with the clock of this server.",
}
_DEFAULT_FIX = (
    "{start} uses another secret. Enter the secret of this handler in {place}."
    " If the secret is lost, make a new secret below."
)
_IDENTITY_FIXES = {
    "header-missing": "{start} sent no identity token. Paste the job of this handler again.",
    "header-repeated": _SIGNATURE_FIXES["header-repeated"],
    "token-no-audience": "Set the public URL of the server, or edit the handler and add an audience.",
    "token-audience": "The job must request a token with the audience of this handler. Paste the job again.",
    "token-issuer": "If this issuer may call, edit the handler and change the issuer.",
    "token-claim": "If this job may call, edit the handler and change the claims.",
    "token-event": "If pull requests may call, edit the handler and add the claim event_name.",
    "token-expired": "The job must request the token shortly before the call.",
}
_DEFAULT_IDENTITY_FIX = (
    "Only tokens that the issuer signed for this handler may call. Paste the job of this handler again."
)
_WRONG_EVENTS = ("no-pushed-ref", "no-pushed-ref-of-event", "no-tag-at-source")
_COUNTS, _QUEUED = "The call counts", "An action is queued"


CheckState = Literal["passed", "failed", "waiting", "skipped"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """One check of a call. `why` is empty if there is nothing to say."""

    text: str
    state: CheckState
    why: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Connection:
    """The state of a connection.

    Attributes:
        stage: Stage of the connection.
        fix: Remedy; empty if none is needed.
        delivery: The shown call; None if there is none.
        is_settled: Whether the state is final unless another call arrives.
    """

    stage: Literal["waiting", "connected", "skipped", "refused", "failed"]
    title: str
    fix: str = ""
    checks: tuple[Check, ...]
    delivery: Delivery | None = None
    is_settled: bool = False


def judge_connection(sender: Sender | None, handler: Handler, deliveries: Sequence[Delivery]) -> Connection:
    """Return whether a sender is connected to a handler, from the handler's newest deliveries, newest first."""
    delivery, sender = choose_delivery(deliveries), sender or _UNKNOWN
    if delivery is None:
        return _waiting(sender, handler)
    if delivery.outcome is DeliveryOutcome.REFUSED:
        return _refused(sender, handler, delivery)
    judge = _skipped if delivery.outcome is DeliveryOutcome.SKIPPED else _carried_out
    return judge(sender, handler, delivery, _check_signature(sender, handler))


def choose_delivery(deliveries: Sequence[Delivery]) -> Delivery | None:
    """Return the delivery to show: the newest, unless it was skipped and an earlier delivery ran.

    Registries call several times for one push, and all but one of these calls are skipped.
    """
    for delivery in deliveries:
        if delivery.outcome in _RAN:
            return delivery
        if delivery.outcome is DeliveryOutcome.REFUSED:
            break
    return deliveries[0] if deliveries else None


def describe_calls(handler: Handler) -> str:
    """Return one or several sentences about the calls of a handler that count."""
    return " ".join(dict(describe(handler))[FIELDS["filter"].group])


def _waiting(sender: Sender, handler: Handler) -> Connection:
    checks = (
        Check(text="A call arrives", state="waiting", why=sender.first_call),
        *(
            [Check(text=f"The {_name_proof(handler)} is correct", state="waiting")]
            if "verify" in handler.options
            else []
        ),
        Check(text=_COUNTS, state="waiting", why=describe_calls(handler)),
        Check(text=_QUEUED, state="waiting"),
        Check(text="The action succeeds", state="waiting"),
    )
    return Connection(stage="waiting", title=f"Waiting for the first call from {sender.name}", checks=checks)


def _arrived(delivery: Delivery) -> Check:
    agent = f", {delivery.user_agent[:100]}" if delivery.user_agent else ""
    return Check(text="A call arrived", state="passed", why=f"from {delivery.address or 'an unknown address'}{agent}")


def _name_proof(handler: Handler) -> str:
    return "identity token" if handler.options.get("verify", {}).get("preset") == "oidc" else "secret"


def _refused(sender: Sender, handler: Handler, delivery: Delivery) -> Connection:
    """Return the connection of a handler that refused a call: all calls at this time, or a call without its secret."""
    reason = delivery.reasons[0]
    status = STATUSES.get(reason.code, 401)
    why = f"{write_reason(reason)}. The sender got a {status}."
    checks: tuple[Check, ...] = (Check(text="The handler accepts calls", state="failed", why=why),)
    title, fix = f"A call was refused with {status}", _HANDLER_FIXES.get(reason.code, "")
    if status == 401:
        proof = _name_proof(handler)
        checks = (Check(text=f"The {proof} is correct", state="failed", why=why), Check(text=_COUNTS, state="skipped"))
        title = f"A call arrived {'without the' if reason.code == 'header-missing' else 'with a wrong'} {proof}"
        fix = _fix_signature(sender, reason)
        if proof != "secret":
            fix = _IDENTITY_FIXES.get(reason.code, _DEFAULT_IDENTITY_FIX).format(start=_start(sender))
    return Connection(
        stage="refused",
        title=title,
        fix=fix,
        checks=(_arrived(delivery), *checks),
        delivery=delivery,
        is_settled=True,
    )


def _fix_signature(sender: Sender, reason: Reason) -> str:
    place = f"its field {sender.proof_field}" if sender.proof_field else "its settings"
    fix = _SIGNATURE_FIXES.get(reason.code, _DEFAULT_FIX).format(start=_start(sender), place=place)
    if sender.key == "gitea" and reason.code not in _SIGNATURE_FIXES:
        # Gitea and Forgejo sign the JSON even if they send it in a form.
        fix += " A wrong content type fails in the same way. Choose application/json."
    return fix


def _check_signature(sender: Sender, handler: Handler) -> Check:
    if "verify" in handler.options:
        return Check(text=f"The {_name_proof(handler)} is correct", state="passed")
    signs_nothing = sender.verify is None and Kind.ANY not in sender.kinds
    start = f"{sender.name} signs nothing" if signs_nothing else "the handler checks none"
    return Check(text="No secret is required", state="skipped", why=f"{start}: the URL alone is the password")


def _skipped(sender: Sender, handler: Handler, delivery: Delivery, signature: Check) -> Connection:
    reason, calls = delivery.reasons[0], describe_calls(handler)
    if reason.code == "ping":
        ping = Check(text="The call is a ping", state="passed", why=f"A ping runs nothing. {calls}")
        return Connection(
            stage="connected",
            title=f"{_start(sender)}'s ping arrived: connected",
            checks=(_arrived(delivery), signature, ping),
            delivery=delivery,
            is_settled=True,
        )
    is_wrong_event = reason.code in _WRONG_EVENTS
    fix = _fix_events(sender) if is_wrong_event else "Send such a call, or change the filter on the handler's page."
    return Connection(
        stage="skipped",
        title="Connected, but this call did not count",
        fix=f"{calls} {fix}",
        checks=(
            _arrived(delivery),
            signature,
            Check(text=_COUNTS, state="failed", why=write_reasons(delivery.reasons)),
            Check(text=_QUEUED, state="skipped"),
        ),
        delivery=delivery,
        is_settled=True,
    )


def _fix_events(sender: Sender) -> str:
    events = next(iter(sender.events.values()), "")
    chosen = f" ({events.rstrip('.')})" if events else ""
    json_needed = " as application/json" if "application/json" in dict(sender.entries).values() else ""
    return f"Configure {sender.name} to send these events{chosen}{json_needed}."


def _carried_out(sender: Sender, handler: Handler, delivery: Delivery, signature: Check) -> Connection:
    state, reasons = delivery.action_state or "", write_reasons(delivery.reasons)
    result = _ACTION_STATES.get(state, "waiting")
    verb = OPERATION_VERBS[handler.operation]
    queued = {
        DeliveryOutcome.JOINED: "it joined an action that was waiting",
        DeliveryOutcome.SUPERSEDED: f"it joined an action; {reasons}",
        DeliveryOutcome.REPEATED: "it repeats an earlier call: nothing runs twice",
    }
    is_first = delivery.outcome in (DeliveryOutcome.QUEUED, DeliveryOutcome.JOINED)
    notes = [f"it names the tag {delivery.tag}" if delivery.tag else "", reasons if is_first else ""]
    checks = [
        _arrived(delivery),
        signature,
        Check(text=_COUNTS, state="passed", why="; ".join(filter(None, notes))),
        Check(text=_QUEUED, state="passed", why=queued.get(delivery.outcome, "")),
    ]
    if delivery.action_uuid is not None:
        why = delivery.action_reason or ("" if result == "passed" else state)
        checks.append(Check(text=f"The action {verb} the service", state=result, why=why))
    is_bad = result == "failed"
    return Connection(
        stage="failed" if is_bad else "connected",
        title=f"{_start(sender)} is connected"
        + (f", and the action {'failed' if state == 'Failed' else 'was canceled'}" if is_bad else ""),
        checks=tuple(checks),
        delivery=delivery,
        is_settled=delivery.action_uuid is None or result != "waiting",
    )


def _start(sender: Sender) -> str:
    """Return the name of a sender at the beginning of a sentence. Names are written as their makers write them."""
    return "The sender" if sender is _UNKNOWN else sender.name
