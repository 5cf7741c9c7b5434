"""The objects of the API about groups: their fields, and how the fields are read from a value of the model."""

from functools import partial
from typing import Any

from pydantic import ConfigDict, Field, create_model

from tutumd.application.groups import GROUP_FIELDS
from tutumd.model.groups import GroupCall
from tutumd.web.api.objects import HOLD, write_why
from tutumd.web.api.schemas import (
    Moment,
    RequestBody,
    Shown,
    add_fields_in,
    describe,
    plain_list,
    show,
)
from tutumd.web.messages.deliveries import write_reason
from tutumd.web.uris import action_uri, uri

SEQUENCE = (
    "`none` (default), `listed`: in the order of `services`, or `depends_on`: as the services depend on each other."
)
ON_FAILURE = "With a sequence, what happens to those that follow a failed one: `cancel` (default) or `continue`."
IMAGE = (
    'Object with a glob of repositories, such as `{"image": "ghcr.io/me/*"}`: the services whose image the call names.'
)


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
        of=_of_action(lambda action: action_uri(action.uuid)),
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


def show_group_progress(call: GroupCall, status_url: str) -> dict[str, Any]:
    """Return the JSON of a group call's progress."""
    return GROUP_PROGRESS.model_validate(show(GROUP_PROGRESS, call, status_url=status_url)).model_dump()
