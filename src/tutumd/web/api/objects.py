"""The objects of the API: their fields with descriptions, and how the fields are read from a value of the model."""

from typing import Any

from tutumd.application.queries import write_date
from tutumd.model import Phase, Verb
from tutumd.web.api.schemas import DateOf2015, Moment, Shown, describe, plain_list
from tutumd.web.messages.actions import write_hold
from tutumd.web.messages.deliveries import write_reason
from tutumd.web.uris import PREFIX, uri

_ACTION_NAMES = {
    Verb.REDEPLOY: "Service Redeploy",
    Verb.ROLLBACK: "Service Rollback",
    Verb.SCALEUP: "Service Scale Up",
    Verb.SCALE: "Service Scale",
    Verb.START: "Service Start",
    Verb.STOP: "Service Stop",
    Verb.TERMINATE: "Service Terminate",
}
TRIED = "`sha256:…` of the image that a failed redeploy tried to run."


ENVVAR = describe(
    "EnvvarOut",
    "An environment variable of a service.",
    {
        "key": Shown(str),
        "value": Shown(str | None, "null unless tutumd runs the service itself: it may be a secret."),
    },
)


def _variables(service: Any) -> list[dict[str, str | None]]:
    known = service.definition.envvars if service.definition else dict.fromkeys(service.variables)
    return [{"key": key, "value": value} for key, value in known.items()]


SERVICE = describe(
    "ServiceOut",
    "A service.",
    {
        "uuid": Shown(str),
        "resource_uri": Shown(str, of=lambda service: uri("service", service.uuid)),
        "name": Shown(str),
        "full_name": Shown(str, "The name with its stack, such as `shop/web`."),
        "state": Shown(str),
        "gone_since": Shown(Moment | None, "Since when its engine has not shown it; null while it does."),
        "stack": Shown(str | None, "Compose project or Swarm stack.", of=lambda service: service.stack or None),
        "engine": Shown(str, "Engine instance that it runs on."),
        "owner": Shown(str),
        "synchronized": Shown(bool, "False while its engine does not list it.", of="bound"),
        "image_name": Shown(str),
        "image_digest": Shown(str | None),
        "run_command": Shown(str),
        "target_num_containers": Shown(int, of="target"),
        "current_num_containers": Shown(int, of=lambda service: len(service.containers)),
        "running_num_containers": Shown(int, of="running"),
        "stopped_num_containers": Shown(int, of="stopped"),
        "containers": Shown(
            list[str],
            "URIs; each new container has a new one.",
            of=lambda service: [uri("container", each) for each in service.containers],
        ),
        "deployed_datetime": Shown(DateOf2015 | None, of="deployed"),
        "container_envvars": Shown(plain_list(ENVVAR), of=_variables),
        "working_dir": Shown(str, of=lambda service: service.definition.working_dir if service.definition else ""),
        "autorestart": Shown(str, of=lambda service: (service.definition or service).autorestart),
        "warnings": Shown(list[str]),
        "is_held": Shown(
            bool, "Whether its redeploys wait for the end of a hold.", of=lambda service: bool(service.hold)
        ),
        "held_until": Shown(
            Moment | None,
            "End of the hold; null: until it is resumed, or there is none.",
            of=lambda service: service.hold and service.hold.until,
        ),
        "hold_reason": Shown(str | None, of=lambda service: service.hold and service.hold.reason),
        "held_by": Shown(str | None, "Who set the hold.", of=lambda service: service.hold and service.hold.by),
        "public_dns": Shown(str, of=lambda service: ""),
        "tags": Shown(list[str], of=lambda service: []),
    },
)

_PORT = describe(
    "PortOut",
    "A port of a container.",
    {
        "inner_port": Shown(int, of="inner"),
        "outer_port": Shown(int | None, of="outer"),
        "protocol": Shown(str),
    },
)
CONTAINER = describe(
    "ContainerOut",
    "A container; one that is gone is `Terminated` until it is forgotten.",
    {
        "uuid": Shown(str),
        "resource_uri": Shown(str, of=lambda container: uri("container", container.uuid)),
        "name": Shown(str),
        "service": Shown(str, of=lambda container: uri("service", container.service_uuid)),
        "state": Shown(str),
        "image_name": Shown(str),
        "image_digest": Shown(str | None),
        "run_command": Shown(str),
        "exit_code": Shown(int | None),
        "deployed_datetime": Shown(DateOf2015 | None, of="started"),
        "started_datetime": Shown(Moment | None, of="started"),
        "stopped_datetime": Shown(Moment | None, of="stopped"),
        "container_ports": Shown(plain_list(_PORT), of="ports"),
        "public_dns": Shown(str, of=lambda container: ""),
        "node": Shown(str | None, of=lambda container: None),
    },
)

HOLD = describe(
    "HoldOut",
    "Why a pending action may not start yet.",
    {
        "kind": Shown(str, "`debounce`, `hold` or `freeze`."),
        "until": Shown(Moment | None, "null: until somebody removes it."),
        "reason": Shown(str, "Sentence for people.", of=lambda hold: write_reason(hold.reason)),
        "by": Shown(str, "Who set it; empty for a debounce."),
    },
)
_WANTED = describe(
    "WantedImageOut",
    "The image that a rollback restores.",
    {
        "number": Shown(int, "Its number in the list of images."),
        "digest": Shown(str | None, of=lambda image: image.digest or None),
    },
)


def write_why(action: Any) -> str:
    """Return why an action failed, waits for its engine, or is held."""
    return action.reason or "; ".join(map(write_hold, action.holds))


ACTION = describe(
    "ActionOut",
    "One run of an operation on a service.",
    {
        "uuid": Shown(str),
        "resource_uri": Shown(str, of=lambda action: uri("action", action.uuid)),
        "action": Shown(str, of=lambda action: _ACTION_NAMES[action.verb]),
        "operation": Shown(str, of="verb"),
        "state": Shown(str),
        "object": Shown(str, of=lambda action: uri("service", action.service_uuid)),
        "start_date": Shown(DateOf2015, "When it was created.", of="created"),
        "end_date": Shown(DateOf2015 | None, of="ended"),
        "reason": Shown(str, "Why it failed or waits; after a success often empty.", of=write_why),
        "reason_code": Shown(str, "Equal failures have the same code; empty unless it failed or was canceled."),
        "log_tail": Shown(str, "On failure the last output lines of what failed."),
        "rolled_back": Shown(bool),
        "image_before": Shown(str | None),
        "image_after": Shown(str | None),
        "image_tried": Shown(str | None, TRIED),
        "containers_before": Shown(
            int, "How many containers the service had.", of=lambda action: len(action.containers_before)
        ),
        "containers_after": Shown(int, of=lambda action: len(action.containers_after)),
        "container_uris_before": Shown(
            list[str],
            "URIs of these containers.",
            of=lambda action: [uri("container", each) for each in action.containers_before],
        ),
        "container_uris_after": Shown(
            list[str], of=lambda action: [uri("container", each) for each in action.containers_after]
        ),
        "target_num_containers": Shown(int | None, of="target"),
        "deliveries": Shown(int, "How many calls it performs."),
        "holds": Shown(plain_list(HOLD), "Why it may not start yet, while it is pending."),
        "held_until": Shown(Moment | None, "Earliest time at which it could start; null: now, or a hold has no end."),
        "image": Shown(_WANTED | None, "Only of a ROLLBACK."),
        "ip": Shown(str, of="address"),
        "location": Shown(str, of=lambda action: ""),
        "user_agent": Shown(str),
        "caller": Shown(
            str | None, "Who called, by the newest identity token of its calls: `me/shop@main, run 123, by ada`."
        ),
        "can_be_canceled": Shown(bool),
        "can_be_retried": Shown(bool),
    },
)

IMAGE = describe(
    "ImageOut",
    "An image that a service runs or ran.",
    {
        "number": Shown(int, "Its number within the service, which increases."),
        "image_name": Shown(str, "Name under which the containers used it.", of="reference"),
        "image_digest": Shown(
            str | None,
            "`sha256:…` of its manifest in the registry; null if it comes from none.",
            of=lambda image: image.digest or None,
        ),
        "image_id": Shown(str | None, "`sha256:…` on the engine's host.", of=lambda image: image.image_id or None),
        "platform": Shown(str, "Such as `linux/amd64`; empty if unknown."),
        "version": Shown(str, "Its label `org.opencontainers.image.version`."),
        "revision": Shown(str, "Its label `org.opencontainers.image.revision`."),
        "available": Shown(str, "`local`, `registry`, `no` or `unknown`: where a rollback would get it."),
        "is_running": Shown(bool),
        "is_verified": Shown(bool, "False: it was changed without tutumd, and a rollback does not restore it."),
        "previous": Shown(int | None, "Number of the image to which a rollback returns while this one runs."),
        "first_success_datetime": Shown(Moment, "When it was first known to run.", of="first_success"),
        "last_success_datetime": Shown(Moment, "When it was last known to run.", of="last_success"),
        "action": Shown(
            str | None,
            "URI of the action that deployed it, which may be deleted.",
            of=lambda image: image.action_uuid and uri("action", image.action_uuid),
        ),
        "requested_by": Shown(str, "Who requested this action."),
    },
)

_LINE = describe(
    "LineOut",
    "One step of a run.",
    {
        "number": Shown(int),
        "time": Shown(Moment, "To the millisecond.", of=lambda line: write_date(line.at, "milliseconds")),
        "text": Shown(str),
        "phase": Shown(Phase | None, "What the run does from this step on; null: as before."),
    },
)

ACTION_LOGS = describe(
    "ActionLogsOut",
    "The steps of a run, as text and as lines.",
    {
        "logs": Shown(str),
        "lines": Shown(plain_list(_LINE)),
    },
)

PLAN = describe(
    "PlanOut",
    "What a redeploy or rollback would do now. Nothing was changed.",
    {
        "possible": Shown(bool, "False: it would fail without any change.", of=lambda plan: not plan.refused),
        "reason": Shown(str, "Why it is not possible; empty if it is.", of="refused"),
        "order": Shown(str, "`start-first`, `stop-first`, or the engine's own word."),
        "order_reason": Shown(str),
        "image_name": Shown(str),
        "image_before": Shown(str | None, "`sha256:…` of what runs; null if unknown."),
        "image_after": Shown(str | None, "`sha256:…` of what would run; null if only a pull can tell."),
        "steps": Shown(list[str]),
        "notes": Shown(list[str], "Remarks on the plan."),
    },
)

ENGINE = describe(
    "EngineOut",
    "An engine: where services run.",
    {
        "name": Shown(str, of="info.name"),
        "kind": Shown(str, "`docker`, `swarm`, `kubernetes` or `local`.", of="info.kind"),
        "state": Shown(str, "`healthy`, `warning`, or with actions that wait: `away`, `no worker`."),
        "reason": Shown(str, "What happened; empty if it is healthy.", of="why"),
        "remedy": Shown(str, "What to do; empty if unknown.", of="fix"),
    },
)

LOGS = describe(
    "LogsOut",
    "Output lines.",
    {"logs": Shown(str), "next": Shown(str, "Value of `after` for a read that continues here.")},
)
ACCOUNT = describe("AccountOut", "The credentials that were sent.", {"username": Shown(str), "key": Shown(str)})
ERROR = describe("ErrorOut", "Why a request failed, and what to do.", {"error": Shown(str)})

WHOAMI = describe(
    "WhoAmIOut",
    "Who sent the request, and with which rights.",
    {
        "user": Shown(str, of="name"),
        "role": Shown(str, "`admin` or `member`."),
        "credential": Shown(str, "First characters and name of the API key.", of="access.credential"),
        "scope": Shown(str, of="access.scope"),
        "service": Shown(
            str | None,
            "URI of the only service that the key is for; null: all.",
            of=lambda user: user.access.service_uuid and uri("service", user.access.service_uuid),
        ),
        "stack": Shown(str | None, "The only stack that the key is for; null: all.", of="access.stack"),
        "expires_datetime": Shown(Moment | None, of="access.expires"),
    },
)

KEY = describe(
    "ApiKeyOut",
    "An API key, without the key itself.",
    {
        "id": Shown(str),
        "resource_uri": Shown(str, of=lambda key: f"{PREFIX}/apikey/{key.id}/"),
        "user": Shown(str, of="user_name"),
        "hint": Shown(str, "Its first characters."),
        "name": Shown(str, "Name that a person chose; empty: none."),
        "scope": Shown(str),
        "service": Shown(
            str | None,
            "URI of the only service that it is for; null: all.",
            of=lambda key: key.service_uuid and uri("service", key.service_uuid),
        ),
        "stack": Shown(str | None, "The only stack that it is for; null: all."),
        "created_datetime": Shown(Moment, of="created"),
        "expires_datetime": Shown(Moment | None, of="expires"),
        "last_used_datetime": Shown(Moment | None, "Up to 5 minutes late.", of="last_used"),
    },
)
NEW_KEY = describe(
    "NewApiKeyOut", "An API key that was made.", {"key": Shown(str, "The key. It is shown only now.")}, KEY
)

AUDIT_ENTRY = describe(
    "AuditEntryOut",
    "Something that a user did.",
    {
        "id": Shown(int, of="number"),
        "datetime": Shown(Moment, of="at"),
        "user": Shown(str, of="user_name"),
        "via": Shown(str, "`api`, `page` or `command`."),
        "credential": Shown(str, "First characters and name of the API key, `login link`, `proxy`, or a command."),
        "address": Shown(str),
        "user_agent": Shown(str),
        "what": Shown(str, "Object and event, such as `handler created`."),
        "service": Shown(
            str | None,
            "URI of the service, which may be gone.",
            of=lambda entry: entry.service_uuid and uri("service", entry.service_uuid),
        ),
        "service_name": Shown(str, "As it was then."),
        "handler_number": Shown(int | None, "Its URL would be a credential."),
        "action": Shown(
            str | None,
            "URI of the action, which may be deleted.",
            of=lambda entry: entry.action_uuid and uri("action", entry.action_uuid),
        ),
        "details": Shown(str),
        "count": Shown(int, "How often it happened; entries of an hour that are equal are combined."),
        "last_datetime": Shown(
            str | None, "When it happened last, if more than once.", of=lambda entry: write_date(entry.last_at)
        ),
    },
)
_AUDIT_META = describe(
    "AuditMetaOut",
    "The place of a page in the audit log. `next` is a path, null at the end.",
    {"limit": Shown(int), "next": Shown(str | None)},
)
AUDIT = describe(
    "AuditOut", "A page of the audit log.", {"meta": Shown(_AUDIT_META), "objects": Shown(plain_list(AUDIT_ENTRY))}
)
