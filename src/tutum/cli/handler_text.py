"""Handlers, trials and deliveries as text for people."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from tutum import Handler, Trial
from tutum.cli.output import age, parse_date
from tutum.webhook_group import OWN_FIELDS
from tutum.webhook_handler import FIELDS

NOT_SET = "-"


def handler_pairs(handler: Handler) -> list[tuple[str, str]]:
    """Return labels and values of a handler, without its URL and UUID."""
    calls = f"{handler.calls}, the last {_when(handler.last_called_datetime)}" if handler.calls else "none"
    pairs = [("created", _when(handler.created_datetime) or "unknown"), ("calls", calls)]
    if handler.rotation:
        pairs.append(("old URL", _old_url(handler.rotation)))
    for name in (*(each for each in OWN_FIELDS if handler.get(each)), *FIELDS):
        if name in handler:
            value = handler[name]
            pairs += _listed(name, [describe(each) for each in value] if isinstance(value, list) else [describe(value)])
    return pairs


def describe(value: Any) -> str:
    """Return a description of a handler's field; for an object first its preset, then its settings."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list):
        return ", ".join(map(describe, value))
    if not isinstance(value, dict):
        return str(value or NOT_SET)
    preset = value.get("preset")
    shown = {name: each for name, each in value.items() if (name, each) != ("secrets_set", 0)}
    settings = [f"{name} {describe(each)}" for name, each in shown.items() if name not in ("preset", preset)]
    head = f"{preset} {describe(value[preset])}" if preset in value else preset
    return "; ".join([head, *settings] if head else settings)


def call_advice(fields: Mapping[str, Any]) -> str:
    """Return how to call a new handler or group with these fields."""
    if (fields.get("verify") or {}).get("preset") == "oidc":
        return (
            "Jobs with a matching identity token can call it. To print a job: show … --for github, gitlab or forgejo."
        )
    return "Call it with: curl -X POST URL. The URL is a password: anyone who knows it can call it."


def trial_verdict(trial: Trial, label: str) -> str:
    """Return a sentence about the predicted effect of a call.

    Args:
        label: Such as "REDEPLOY of web".
    """
    if trial.goes:
        tag = f" with the tag {trial.tag}" if trial.tag else ""
        body = f", the body in {trial.variable}" if trial.variable else ""
        return f"The call would be accepted: {label}{tag}{body}."
    verb = "skipped" if trial.verdict == "skipped" else "refused"
    return f"The call would be {verb} with status {trial.status}: {trial.reason}"


def delivery_pairs(delivery: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Return labels and values of a delivery, up to its body."""
    values = {
        "received": _when(delivery["received_datetime"]),
        "from": delivery["ip"],
        "user agent": delivery["user_agent"],
        "identity": ", ".join(filter(None, (delivery.get("caller") or {}).values())),
        "outcome": delivery["outcome"],
        "reason": delivery.get("reason"),
        "action": action_uuid(delivery),
        "result": ": ".join(filter(None, (delivery.get("action_state"), delivery.get("action_reason")))),
        "tag": delivery.get("tag"),
        "query": delivery["query"],
    }
    pairs = [(label, value or NOT_SET) for label, value in values.items()]
    return pairs + _listed("headers", [f"{name}: {value}" for name, value in delivery["headers"]])


def action_uuid(delivery: Mapping[str, Any]) -> str:
    """Return the UUID of the action that a delivery caused or joined; empty for none."""
    return str(delivery.get("action") or "").strip("/").rpartition("/")[2]


def closed_reason(handler: Handler) -> str:
    """Return why a handler responds with 404, as far as its fields show."""
    state = state_of(handler)
    return "it does not accept calls from here, or it was just revoked" if state == "active" else f"it is {state}"


def state_of(handler: Handler) -> str:
    """Return `active`, or why a handler accepts no calls: `disabled`, `expired` or `used up`."""
    if handler.get("enabled") is False:
        return "disabled"
    expires = handler.get("expires_datetime")
    if expires and parse_date(expires) <= datetime.now(UTC):
        return "expired"
    max_uses = handler.get("max_uses")
    return "used up" if max_uses and handler.get("uses", 0) >= max_uses else "active"


def _listed(label: str, values: Sequence[str]) -> list[tuple[str, str]]:
    """Return a pair for each value; only the first pair has the label."""
    return [("" if number else label, value) for number, value in enumerate(values or [NOT_SET])]


def _when(date: str | None) -> str:
    return f"{age(date)} ({date})" if date else ""


def _old_url(rotation: Mapping[str, Any]) -> str:
    last_call = _when(rotation.get("old_last_called_datetime"))
    used = (
        f"last called {last_call} from {rotation.get('old_last_address')}"
        if last_call
        else "not called since the rotation"
    )
    return f"works until {rotation.get('old_until')}; {used}"
