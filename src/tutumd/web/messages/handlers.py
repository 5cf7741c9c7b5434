"""Handlers for people: a sentence for each field that is set, and whether a handler can be called."""

import json
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Literal

from tutumd.application.admission.encryption import PlaceholderCipher
from tutumd.application.admission.evaluate import read_stored
from tutumd.application.admission.fields import FIELDS, GROUPS
from tutumd.application.handlers import public_options
from tutumd.application.queries import parse_date
from tutumd.model import ActionState, Handler, Operation
from tutumd.model.groups import GroupCall, GroupLine, GroupSelector, OnFailure, Sequence

_SENDERS = {
    "github": "GitHub",
    "gitlab": "GitLab",
    "gitea": "Gitea",
    "forgejo": "Forgejo",
    "bitbucket": "Bitbucket",
    "standard-webhooks": "Standard Webhooks",
    "hmac": "Another sender that signs the body (HMAC)",
    "token": "A token in a header",
    "oidc": "The identity token of a CI job (OIDC)",
}
_OPERATIONS = {
    Operation.REDEPLOY: "Redeploys the service: pulls its image and replaces its containers.",
    Operation.SCALEUP: "Adds a container to the service, or the number of containers that the call requests.",
    Operation.ROLLBACK: "Rolls the service back to the image that it ran before the present one.",
}
_OF_GROUP = "Redeploys each service: pulls its image and replaces its containers."
OPERATION_VERBS = {
    Operation.REDEPLOY: "redeploys",
    Operation.SCALEUP: "scales up",
    Operation.ROLLBACK: "rolls back",
}
UNSET = {
    "What a call does": "An action starts immediately, with the tag of the service's image.",
    "Who may call": "Anyone who knows the URL can call.",
    "Which calls count": "Every call counts.",
    "Limits": "No limits are set.",
}
"""What applies while no field of a group is set."""


def describe(handler: Handler) -> tuple[tuple[str, tuple[str, ...]], ...]:
    """Return headings, each with sentences: the effect of a handler, its callers, the calls that count, its limits."""
    options = public_options(handler)
    sentences: dict[str, list[str]] = {title: [] for title in (*GROUPS, *(each.group for each in FIELDS.values()))}
    sentences[GROUPS[0]].append(_OPERATIONS[handler.operation] if handler.service_uuid else _OF_GROUP)
    for field in FIELDS.values():
        value = options[field.name]
        if value != field.json_default:
            write = _WRITERS.get(field.name, lambda each, title=field.title or field.name: _write_any(title, each))
            sentences[field.group] += write(value)
            if field.name == "max_uses":
                sentences[field.group].append(f"Has accepted {count_of(handler.uses, 'call')} so far.")
    return tuple(
        (title, tuple(lines or [UNSET[title]])) for title, lines in sentences.items() if lines or title in UNSET
    )


def name_choice(value: str) -> str:
    """Return the label of a value of a select."""
    return {"true": "Yes", "false": "No, always redeploy"}.get(value) or _SENDERS.get(value, value)


def _write_any(title: str, value: Any) -> list[str]:
    return [f"{title}: {value if isinstance(value, str | int) else json.dumps(value, ensure_ascii=False)}"]


def _write_verify(value: Mapping[str, Any]) -> list[str]:
    preset, header = value["preset"], value.get("header", "")
    if preset == "oidc":
        claims = " and ".join(f"{name} {_either(globs)}" for name, globs in value["claims"].items())
        audience = f" for {value['audience']}" if "audience" in value else ""
        return [f"A call must have an identity token of {value['issuer']}{audience} with {claims}."]
    secrets = count_of(value["secrets_set"], "secret")
    if preset == "token":
        place = f"the header {header}" if header else "the header Authorization: Bearer"
        return [f"A call must have a token in {place} ({secrets} set)."]
    if preset == "hmac":
        start = f" after {value['prefix']!r}" if "prefix" in value else ""
        how = f"{value['algorithm']} in {value['encoding']}{start}"
        return [f"A call must have a signature of its body in the header {header}: {how} ({secrets} set)."]
    return [f"A call must have the signature or token of {_SENDERS.get(preset, preset)} ({secrets} set)."]


def _write_condition(value: Any) -> str:
    if isinstance(value, str):
        return f"A call counts if this expression is true: {value}"
    match value["preset"]:
        case "branch":
            return f"Only pushes to the branch {_either(value['branch'])} count."
        case "tag":
            place = f" in the repository {value['repository']}" if "repository" in value else ""
            return f"Only pushes of the tag {_either(value['tag'])}{place} count."
        case "paths":
            return f"Only pushes that change {_either(value['paths'])} count."
    return f"A push does not count if its commit message has {value['marker']}."


def _write_tag(value: Mapping[str, Any]) -> list[str]:
    globs, source = _either(value["allow"]), value["from"]
    if source == "query":
        return [f"A call may choose the image tag with ?tag=…, if the tag is {globs}."]
    return [f"Deploys the image tag at {source} of the payload, if the tag is {globs}."]


def _write_rate(value: str) -> list[str]:
    count, _, unit = value.partition("/")
    return [f"Accepts at most {count_of(int(count), 'call')} a {unit}. Further calls get a 429."]


_WRITERS: Mapping[str, Callable[[Any], list[str]]] = {
    "enabled": lambda _: ["The handler is disabled and accepts no calls."],
    "expires_datetime": lambda value: [
        f"Accepts calls until {parse_date('expires_datetime', value):%Y-%m-%d %H:%M:%S} UTC. Later calls get a 404."
    ],
    "max_uses": lambda value: [f"Accepts {count_of(value, 'call')} in total. Later calls get a 404."],
    "max_containers": lambda value: [f"Scales the service to at most {count_of(value, 'container')}."],
    "verify": _write_verify,
    "filter": lambda value: [_write_condition(each) for each in (value if isinstance(value, list) else [value])],
    "tag": _write_tag,
    "pass_body": lambda value: [f"The new containers get the body of the call in the variable {value}."],
    "rate_limit": _write_rate,
    "allow_from": lambda value: [f"Accepts calls only from {_either(value)}. Other callers get a 404."],
    "debounce": lambda value: [f"An action starts when no call has arrived for {count_of(value, 'second')}."],
    "rollback_hold": lambda value: ["Redeploys may start again after the rollback."],
    "skip_unchanged": lambda value: [
        f"A redeploy {'does nothing' if value else 'replaces the containers also'} if the image has not changed."
    ],
    "show_log": lambda _: ["Callers see the last lines of the log if their action fails."],
}


def _either(value: str | list[str]) -> str:
    return value if isinstance(value, str) else " or ".join(value)


def count_of(number: int, noun: str) -> str:
    """Return a number with its noun, such as `1 call` or `2,000 calls`."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


UNUSED_AFTER = timedelta(days=30)


@dataclass(frozen=True, slots=True, kw_only=True)
class HandlerState:
    """The state of a handler, for people.

    Attributes:
        word: `unused`: the handler can be called, but nobody has called it for 30 days.
        why: A sentence; empty if there is nothing to say.
    """

    word: Literal["active", "disabled", "expired", "used up", "unused"]
    why: str = ""


def judge_handler(handler: Handler, now: datetime) -> HandlerState:
    """Return the state of a handler, or of a group, which is a handler without a service."""
    subject = "handler" if handler.service_uuid else "group"
    options = read_stored(handler.options, PlaceholderCipher())
    if not options.enabled:
        return HandlerState(word="disabled", why=f"Calls get a 404 until you enable the {subject}.")
    if options.expires_datetime is not None and options.expires_datetime <= now:
        return HandlerState(
            word="expired",
            why=f"Calls get a 404: the {subject} expired on {options.expires_datetime:%Y-%m-%d %H:%M} UTC.",
        )
    if options.max_uses is not None and handler.uses >= options.max_uses:
        return HandlerState(
            word="used up",
            why=f"Calls get a 404: the {subject} has accepted {handler.uses} of {options.max_uses} calls.",
        )
    idle = now - (handler.last_called or handler.created)
    if idle >= UNUSED_AFTER:
        ever = "since it was created" if handler.last_called is None else "since its last call"
        return HandlerState(word="unused", why=f"Nobody has called the {subject} for {idle.days} days, {ever}.")
    return HandlerState(word="active")


ORDERS = {
    Sequence.NONE: "all services at once",
    Sequence.LISTED: "the services one after the other, as listed",
    Sequence.DEPENDS_ON: "each service after the services that it depends on",
}
FAILURES = {
    OnFailure.CANCEL: "the services that wait for it are not redeployed",
    OnFailure.CONTINUE: "the services that wait for it are redeployed anyway",
}


def describe_selector(selector: GroupSelector) -> str:
    """Return which services a call redeploys, as a phrase."""
    if selector.image:
        return f"services that run the pushed image, if it matches {selector.image}"
    if selector.stack:
        return f"services of the stack {selector.stack} on {selector.engine}"
    return count_of(len(selector.services), "listed service")


def describe_order(group: Handler) -> str:
    """Return the order of the services, and the effect of a failure, as a sentence."""
    order = f"A call redeploys {ORDERS[group.sequence]}."
    return order if group.sequence is Sequence.NONE else f"{order} If one fails, {FAILURES[group.on_failure]}."


def summarize_call(call: GroupCall) -> str:
    """Return how many services are in which state, such as `2 succeeded, 1 failed, 1 left out`."""
    states = Counter(_word_of(each) for each in call.lines)
    return ", ".join(f"{number} {state}" for state, number in states.items())


def _word_of(line: GroupLine) -> str:
    if line.action is None:
        return "left out" if line.note else "unknown"
    return "succeeded" if line.action.state is ActionState.SUCCESS else line.action.state.lower()


def name_call(call: GroupCall) -> str:
    """Return the name of a call's group."""
    return call.group_name or f"group {call.group_number}"
