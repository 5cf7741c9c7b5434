"""The objects of the API about handlers and groups: their fields, and how these are read from a value of the model."""

from functools import partial
from typing import Any

from pydantic import ConfigDict, Field, create_model

from tutumd.application.groups import GROUP_FIELDS, show_fields
from tutumd.application.handlers import public_options
from tutumd.model import Delivery, Handler, Progress
from tutumd.model.groups import GroupCall
from tutumd.web.api.objects import HOLD, TRIED, write_why
from tutumd.web.api.schemas import (
    GroupFieldsOut,
    HandlerFieldsOut,
    Moment,
    ObjectOut,
    RequestBody,
    Shown,
    add_fields_in,
    describe,
    plain_list,
    show,
)
from tutumd.web.messages.deliveries import VERDICT_STATUSES, write_delivery_reason, write_reason, write_reasons
from tutumd.web.uris import call_uri, handler_uri, uri

SEQUENCE = (
    "`none` (default), `listed`: in the order of `services`, or `depends_on`: as the services depend on each other."
)
ON_FAILURE = "With a sequence, what happens to those that follow a failed one: `cancel` (default) or `continue`."
IMAGE = (
    'Object with a glob of repositories, such as `{"image": "ghcr.io/me/*"}`: the services whose image the call names.'
)

_NAME = {
    "url": Shown(str, of=lambda handler: call_uri(handler.service_uuid, handler.uuid)),
    "name": Shown(str | None),
    "operation": Shown(str),
    "resource_uri": Shown(str, of=lambda handler: handler_uri(handler.service_uuid, handler.uuid)),
    "uuid": Shown(str),
}

ROTATION = describe(
    "RotationOut",
    "The URL that a handler had before.",
    {
        "old_until": Shown(Moment, "Its calls are accepted until then."),
        "old_last_called_datetime": Shown(Moment | None, of="old_called"),
        "old_last_address": Shown(str | None, of="old_address"),
    },
)

_HANDLER = {
    **_NAME,
    "call_url": Shown(str | None, "The complete URL; null if the server has no `--public-url`."),
    "created_datetime": Shown(Moment, of="created"),
    "last_called_datetime": Shown(Moment | None, of="last_called"),
    "calls": Shown(int, "How many calls it received, also skipped and refused ones."),
    "uses": Shown(int, "How many of them count towards `max_uses`."),
    "rotation": Shown(ROTATION | None),
}
HANDLER = describe(
    "HandlerOut",
    "A webhook handler with all its fields, also those of the table (`admission/fields.py`).",
    _HANDLER,
    HandlerFieldsOut,
)
GROUP = describe(
    "GroupOut",
    "A group: one URL that redeploys several services.",
    {
        **{name: field for name, field in _HANDLER.items() if name != "operation"},
        "number": Shown(int, "Its number in calls of groups, in pages and in the audit log."),
        "owner": Shown(str, "User whose services it redeploys."),
        "services": Shown(list[str] | None, "UUIDs."),
        "stack": Shown(str | None),
        "engine": Shown(str | None, "Engine of `stack`."),
        "match": Shown(dict[str, Any] | None, IMAGE),
        "sequence": Shown(str, SEQUENCE),
        "on_failure": Shown(str, ON_FAILURE),
    },
    GroupFieldsOut,
)
UNUSED_HANDLER = describe(
    "UnusedHandlerOut",
    "A webhook handler with its service.",
    {"service": Shown(str, of=lambda handler: uri("service", handler.service_uuid))},
    HANDLER,
)


def show_handler(handler: Handler, public_url: str, schema: type[ObjectOut] = HANDLER) -> dict[str, Any]:
    """Return the JSON of a handler or group for its owner."""
    call_url = public_url + call_uri(handler.service_uuid, handler.uuid) if public_url else None
    fields = public_options(handler)
    if handler.is_group:
        schema, fields = GROUP, show_fields(handler) | {name: fields[name] for name in GROUP_FIELDS}
    return show(schema, handler, call_url=call_url, **fields)


HANDLER_PLAN = describe(
    "HandlerPlanOut",
    "What a request would create or change.",
    {
        "name": Shown(str | None, of="after.name"),
        "operation": Shown(str, of="after.operation"),
        "changes": Shown(
            dict[str, Any],
            "Fields that would differ from before (of a new handler: from the defaults), with their new values "
            "as the API shows them. `verify` is there too if only its secrets would change.",
        ),
    },
)

GROUP_PLAN = describe(
    "GroupPlanOut",
    "What a request would create or change.",
    {
        "name": Shown(str | None, of="after.name"),
        "changes": Shown(
            dict[str, Any],
            "Fields that would differ from before (of a new group: from the defaults), with their new values as the API"
            " shows them. `verify` is there too if only its secrets would change.",
        ),
    },
)

CALL = describe(
    "CallOut",
    "The handler that was called, and the action that performs its operation.",
    {
        **_NAME,
        "action": Shown(str),
        "status_url": Shown(str, "Path of the action's progress, for the caller, without credentials."),
        "notes": Shown(list[str], "Sentences for the caller; absent if there are none.", default=[]),
        "holds": Shown(plain_list(HOLD), "Why the action may not start yet; absent if nothing holds it.", default=[]),
        "held_until": Shown(
            Moment | None, "Only with `holds`: earliest time at which the action could start.", default=None
        ),
    },
)

_CHECK = describe(
    "CheckOut",
    "One check of a call.",
    {"check": Shown(str), "passes": Shown(bool), "why": Shown(str, of=lambda result: write_reasons(result.why))},
)

TRIAL = describe(
    "TestOut",
    "What a call would do.",
    {
        "verdict": Shown(str, "`go`, `skipped`, `unauthorized`, `not_found` or `invalid`.", of="verdict.kind"),
        "status": Shown(int, "Status of the response.", of=lambda trial: VERDICT_STATUSES[trial.verdict.kind]),
        "reason": Shown(str, of=lambda trial: write_reason(trial.verdict.reason) if trial.verdict.reason else ""),
        "tag": Shown(str | None, of="verdict.tag"),
        "variable": Shown(
            str | None,
            of=lambda trial: trial.verdict.variable[0] if trial.verdict.variable and not trial.verdict.notes else None,
        ),
        "notes": Shown(list[str], of=lambda trial: list(map(write_reason, trial.verdict.notes))),
        "steps": Shown(plain_list(_CHECK), of="checks"),
    },
)

PROGRESS = describe(
    "ProgressOut",
    "What a caller may see of the action of its call.",
    {
        "state": Shown(str),
        "reason": Shown(str, of=write_why),
        "operation": Shown(str, of="verb"),
        "created_datetime": Shown(Moment, of="created"),
        "started_datetime": Shown(Moment | None, of="started"),
        "ended_datetime": Shown(Moment | None, of="ended"),
        "image_before": Shown(str | None),
        "image_after": Shown(str | None),
        "image_tried": Shown(str | None, TRIED),
        "containers_before": Shown(int, of=lambda action: len(action.containers_before)),
        "containers_after": Shown(int, of=lambda action: len(action.containers_after)),
        "rolled_back": Shown(bool),
        "holds": Shown(plain_list(HOLD), "Why it may not start yet, while it is pending."),
        "held_until": Shown(Moment | None, "Earliest time at which it could start; null: now, or a hold has no end."),
        "status_url": Shown(str),
        "log_tail": Shown(str, "Only if the handler has `show_log`.", default=""),
    },
)


def show_progress(progress: Progress | GroupCall, status_url: str) -> dict[str, Any]:
    """Return the JSON of the progress of a call, as far as the caller may see it."""
    if isinstance(progress, GroupCall):
        return GROUP_PROGRESS.model_validate(show(GROUP_PROGRESS, progress, status_url=status_url)).model_dump()
    shown = show(PROGRESS, progress.action, status_url=status_url)
    if not progress.options.get("show_log"):
        del shown["log_tail"]
    return PROGRESS.model_validate(shown).model_dump(exclude_unset=True)


_CALLER = describe(
    "CallerOut",
    "Who called, by the claims of an identity token; texts are empty if the token does not say.",
    {name: Shown(str) for name in ("repository", "ref", "sha", "actor", "run", "workflow")},
)

_DELIVERY = {
    "id": Shown(int, of="number"),
    "resource_uri": Shown(str),
    "received_datetime": Shown(Moment, of="received"),
    "ip": Shown(str, of="address"),
    "user_agent": Shown(str),
    "caller": Shown(_CALLER | None, "null unless an identity token was verified."),
    "body_size": Shown(int),
    "amount": Shown(int),
    "tag": Shown(str | None),
    "outcome": Shown(
        str,
        "`queued`: it created an action; `joined`: it joined a pending one; `superseded`: it joined, "
        "and a later call replaced its tag or body; `skipped`, `refused`, `repeated`: it caused nothing.",
    ),
    "reason": Shown(str, of=write_delivery_reason),
    "action": Shown(
        str | None,
        "URI of the action; null if it caused nothing.",
        of=lambda delivery: delivery.action_uuid and uri("action", delivery.action_uuid),
    ),
    "action_state": Shown(str | None, "State of the action now."),
    "action_reason": Shown(str | None),
}
DELIVERY = describe("DeliveryOut", "One call that a handler received.", _DELIVERY)
WHOLE_DELIVERY = describe(
    "WholeDeliveryOut",
    "One call with its stored content.",
    {
        **_DELIVERY,
        "headers": Shown(
            list[tuple[str, str]],
            "Without those that contain secrets.",
            of=lambda delivery: delivery.content.get("headers", []),
        ),
        "query": Shown(str, of=lambda delivery: delivery.content.get("query", "")),
        "body": Shown(str, of=lambda delivery: delivery.content.get("body", "")),
        "body_is_base64": Shown(bool, of=lambda delivery: bool(delivery.content.get("is_base64"))),
        "body_is_cut": Shown(bool, of=lambda delivery: bool(delivery.content.get("is_cut"))),
        "left_out": Shown(
            list[str],
            "What else was not stored, because it is secret or too long.",
            of=lambda delivery: delivery.content.get("left_out", []),
        ),
    },
)


def show_delivery(delivery: Delivery, path: str) -> dict[str, Any]:
    """Return the JSON of a delivery with its content, for `DELIVERY` or `WHOLE_DELIVERY`. `path` is the path of the
    list of deliveries.
    """
    return show(WHOLE_DELIVERY, delivery, resource_uri=f"{path}{delivery.number}/")


class _GroupFieldsIn(RequestBody):
    """The fields of the table (`admission/fields.py`) that groups have, checked by the application."""

    model_config = ConfigDict(extra="allow", json_schema_extra=partial(add_fields_in, GROUP_FIELDS))


GroupIn = create_model(
    "GroupIn",
    __base__=_GroupFieldsIn,
    __doc__="A group to create or to change. One of `services`, `stack` and `match` selects its services.",
    name=(str | None, Field(None, description="At most 255 characters, no control characters.")),
    services=(list[str] | None, Field(None, description="1 to 50 services: UUIDs or names.")),
    stack=(str | None, Field(None, description="Compose project, Swarm stack, or label `tutum.stack`.")),
    engine=(str | None, Field(None, description="Engine of the stack; needed if several engines have the stack.")),
    match=(dict[str, Any] | None, Field(None, description=IMAGE)),
    sequence=(str | None, Field(None, description=SEQUENCE)),
    on_failure=(str | None, Field(None, description=ON_FAILURE)),
)


def _of_action(read: Any) -> Any:
    return lambda line: None if line.action is None else read(line.action)


_LINE = {
    "service": Shown(str, "URI.", of=lambda line: uri("service", line.service_uuid)),
    "service_name": Shown(str, "As it was at the call."),
    "action": Shown(
        str | None,
        "URI of the action; null if the call left the service out, or if the action was deleted.",
        of=_of_action(lambda action: uri("action", action.uuid)),
    ),
    "state": Shown(str | None, "State of the action.", of=_of_action(lambda action: action.state)),
    "joined": Shown(bool, "Whether the call joined an earlier action."),
    "note": Shown(
        str | None,
        "Why the call left the service out, or whose order applies to a joined action.",
        of=lambda line: line.note and write_reason(line.note),
        default=None,
    ),
}
_ACCEPTED_LINE = describe("AcceptedLineOut", "What a call of a group has just caused for one service.", _LINE)
ACCEPTED = describe(
    "GroupAcceptedOut",
    "The group that was called, and what the call has caused.",
    {
        "name": Shown(str | None),
        "uuid": Shown(str),
        "resource_uri": Shown(str),
        "actions": Shown(plain_list(_ACCEPTED_LINE)),
        "status_url": Shown(str, "Path of the progress, for the caller, without credentials."),
        "group_call": Shown(str, "URI of the call for the owner."),
        "notes": Shown(list[str], "Sentences for the caller; absent if there are none.", default=[]),
    },
)
GROUP_LINE = describe(
    "GroupLineOut",
    "What a call of a group has caused for one service.",
    {
        **_LINE,
        "reason": Shown(
            str | None, "Why the action failed, waits for its engine, or is held.", of=_of_action(write_why)
        ),
        "holds": Shown(
            plain_list(HOLD),
            "Why the action may not start yet, while it is pending.",
            of=lambda line: line.action.holds if line.action else [],
        ),
    },
)

GROUP_CALL = describe(
    "GroupCallOut",
    "A call of a group.",
    {
        "id": Shown(int, of="number"),
        "resource_uri": Shown(str, of=lambda call: uri("webhook/groupcall", str(call.number))),
        "group_number": Shown(int, "Number of the group, which may be revoked. Its URL would be a credential."),
        "group_name": Shown(str | None, "As it was at the call."),
        "state": Shown(
            str,
            "`Failed` (any, or deleted before the call ended), `Canceled` (any, and none failed), `Success` (all),"
            " otherwise `In progress` or `Pending`.",
        ),
        "received_datetime": Shown(Moment, of="received"),
        "ended_datetime": Shown(Moment | None, "When the last action ended.", of="ended"),
        "actions": Shown(plain_list(GROUP_LINE), of="lines"),
    },
)


GROUP_PROGRESS = describe(
    "GroupProgressOut",
    "The progress of a group's call, as its caller may see it.",
    {
        "state": Shown(str, "As of a group call."),
        "group_call": Shown(str, "URI.", of=lambda call: uri("webhook/groupcall", str(call.number))),
        "status_url": Shown(str),
        "actions": Shown(plain_list(GROUP_LINE), of="lines"),
    },
)
