"""Values of the model as the JSON of the API."""

from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from email.utils import format_datetime
from typing import TypeVar
from urllib.parse import urlencode

from tutumd.application.handlers import HandlerPlan, public_options
from tutumd.application.queries import write_date
from tutumd.model import (
    Action,
    ApiKey,
    AuditEntry,
    AuditPage,
    Container,
    Delivery,
    Handler,
    LogLine,
    Page,
    Plan,
    Progress,
    Query,
    Service,
    Verb,
)
from tutumd.web.api import handler_schemas, key_schemas, schemas
from tutumd.web.messages.reasons import write_delivery_reason
from tutumd.web.uris import PREFIX, action_uri, call_uri, container_uri, handler_fields, service_uri

Value = TypeVar("Value")
Out = TypeVar("Out")

_ACTION_NAMES = {
    Verb.REDEPLOY: "Service Redeploy",
    Verb.SCALEUP: "Service Scale Up",
    Verb.SCALE: "Service Scale",
    Verb.START: "Service Start",
    Verb.STOP: "Service Stop",
    Verb.TERMINATE: "Service Terminate",
}


def date_of_2015(value: datetime | None) -> str | None:
    """Return a date in the form that clients of 2015 read: `Mon, 13 Oct 2014 11:01:43 +0000`."""
    return None if value is None else format_datetime(value.astimezone(UTC).replace(microsecond=0))


def handler(value: Handler, public_url: str = "") -> handler_schemas.HandlerOut:
    """Return a handler for its owner."""
    rotation = value.rotation
    return handler_schemas.HandlerOut.model_validate(
        {
            **handler_fields(value.service_uuid, value.uuid, value.name, value.operation),
            "call_url": public_url + call_uri(value.service_uuid, value.uuid) if public_url else None,
            **public_options(value),
            "created_datetime": write_date(value.created),
            "last_called_datetime": write_date(value.last_called),
            "calls": value.calls,
            "uses": value.uses,
            "rotation": rotation
            and {
                "old_until": write_date(rotation.old_until),
                "old_last_called_datetime": write_date(rotation.old_called),
                "old_last_address": rotation.old_address,
            },
        }
    )


def api_key(value: ApiKey) -> key_schemas.ApiKeyOut:
    """Return an API key, of which only a hash is stored."""
    return key_schemas.ApiKeyOut.model_validate(
        {
            "id": value.id,
            "resource_uri": f"{PREFIX}/apikey/{value.id}/",
            "user": value.user_name,
            "hint": value.hint,
            "scope": value.scope,
            "service": value.service_uuid and service_uri(value.service_uuid),
            "stack": value.stack,
            "created_datetime": write_date(value.created),
            "expires_datetime": write_date(value.expires),
            "last_used_datetime": write_date(value.last_used),
        }
    )


def audit(page: AuditPage, limit: int, query: Mapping[str, str]) -> key_schemas.AuditOut:
    """Return a page of the audit log, which was asked for with a query."""
    following = {**query, "limit": limit, "before": page.next}
    path = None if page.next is None else f"{PREFIX}/audit/?{urlencode(following)}"
    meta = key_schemas.AuditMetaOut(limit=limit, next=path)
    return key_schemas.AuditOut(meta=meta, objects=[_audit_entry(entry) for entry in page.entries])


def _audit_entry(value: AuditEntry) -> key_schemas.AuditEntryOut:
    return key_schemas.AuditEntryOut.model_validate(
        {
            "id": value.number,
            "datetime": write_date(value.at),
            "user": value.user_name,
            "via": value.via,
            "credential": value.credential,
            "address": value.address,
            "user_agent": value.user_agent,
            "what": value.what,
            "service": value.service_uuid and service_uri(value.service_uuid),
            "service_name": value.service_name,
            "handler_number": value.handler_number,
            "action": value.action_uuid and action_uri(value.action_uuid),
            "details": value.details,
            "count": value.count,
            "last_datetime": write_date(value.last_at),
        }
    )


def handler_plan(value: HandlerPlan) -> handler_schemas.HandlerPlanOut:
    """Return what a request would do to a handler."""
    return handler_schemas.HandlerPlanOut(
        name=value.after.name, operation=value.after.operation, changes=dict(value.changes)
    )


def progress(value: Progress, status_url: str) -> dict[str, object]:
    """Return what a caller may see of the action of its call."""
    action = value.action
    fields: dict[str, object] = {
        "state": action.state.value,
        "reason": action.reason,
        "operation": action.verb.value,
        "created_datetime": write_date(action.created),
        "started_datetime": write_date(action.started),
        "ended_datetime": write_date(action.ended),
        "image_before": action.image_before,
        "image_after": action.image_after,
        "image_tried": action.image_tried,
        "containers_before": len(action.containers_before),
        "containers_after": len(action.containers_after),
        "rolled_back": action.rolled_back,
        "status_url": status_url,
    }
    if value.options.get("show_log"):
        fields["log_tail"] = action.log_tail
    return fields


def service(value: Service) -> schemas.ServiceOut:
    """Return a service."""
    definition = value.definition
    variables: Mapping[str, str | None] = definition.envvars if definition else dict.fromkeys(value.variables)
    return schemas.ServiceOut(
        uuid=value.uuid,
        resource_uri=service_uri(value.uuid),
        name=value.name,
        full_name=value.full_name,
        state=value.state.value,
        gone_since=write_date(value.gone_since),
        stack=value.stack or None,
        engine=value.engine,
        owner=value.owner,
        synchronized=value.bound,
        image_name=value.image_name,
        image_digest=value.image_digest,
        run_command=value.run_command,
        target_num_containers=value.target,
        current_num_containers=len(value.containers),
        running_num_containers=value.running,
        stopped_num_containers=value.stopped,
        containers=[container_uri(uuid) for uuid in value.containers],
        deployed_datetime=date_of_2015(value.deployed),
        container_envvars=[schemas.EnvvarOut(key=key, value=variables[key]) for key in variables],
        working_dir=definition.working_dir if definition else "",
        autorestart=(definition or value).autorestart.value,
        warnings=list(value.warnings),
        public_dns="",
        tags=[],
    )


def container(value: Container) -> schemas.ContainerOut:
    """Return a container."""
    return schemas.ContainerOut(
        uuid=value.uuid,
        resource_uri=container_uri(value.uuid),
        name=value.name,
        service=service_uri(value.service_uuid),
        state=value.state.value,
        image_name=value.image_name,
        image_digest=value.image_digest,
        run_command=value.run_command,
        exit_code=value.exit_code,
        deployed_datetime=date_of_2015(value.started),
        started_datetime=write_date(value.started),
        stopped_datetime=write_date(value.stopped),
        container_ports=[
            schemas.PortOut(inner_port=port.inner, outer_port=port.outer, protocol=port.protocol)
            for port in value.ports
        ],
        public_dns="",
        node=None,
    )


def action(value: Action) -> schemas.ActionOut:
    """Return an action."""
    return schemas.ActionOut(
        uuid=value.uuid,
        resource_uri=action_uri(value.uuid),
        action=_ACTION_NAMES[value.verb],
        operation=value.verb.value,
        state=value.state.value,
        object=service_uri(value.service_uuid),
        start_date=date_of_2015(value.created) or "",
        end_date=date_of_2015(value.ended),
        reason=value.reason,
        log_tail=value.log_tail,
        rolled_back=value.rolled_back,
        image_before=value.image_before,
        image_after=value.image_after,
        image_tried=value.image_tried,
        containers_before=len(value.containers_before),
        containers_after=len(value.containers_after),
        container_uris_before=[container_uri(uuid) for uuid in value.containers_before],
        container_uris_after=[container_uri(uuid) for uuid in value.containers_after],
        target_num_containers=value.target,
        deliveries=value.deliveries,
        ip=value.address,
        location="",
        user_agent=value.user_agent,
        can_be_canceled=value.can_be_canceled,
        can_be_retried=value.can_be_retried,
    )


def delivery(value: Delivery, path: str) -> handler_schemas.DeliveryOut:
    """Return a delivery; `path` is that of its list."""
    return handler_schemas.DeliveryOut(
        id=value.number,
        resource_uri=f"{path}{value.number}/",
        received_datetime=write_date(value.received) or "",
        ip=value.address,
        user_agent=value.user_agent,
        body_size=value.body_size,
        amount=value.amount,
        tag=value.tag,
        outcome=value.outcome.value,
        reason=write_delivery_reason(value),
        action=value.action_uuid and action_uri(value.action_uuid),
        action_state=value.action_state,
        action_reason=value.action_reason,
    )


def whole_delivery(value: Delivery, path: str) -> handler_schemas.WholeDeliveryOut:
    """Return a delivery with its stored content."""
    content = value.content
    return handler_schemas.WholeDeliveryOut(
        **delivery(value, path).model_dump(),
        headers=content.get("headers", []),
        query=content.get("query", ""),
        body=content.get("body", ""),
        body_is_base64=bool(content.get("is_base64")),
        body_is_cut=bool(content.get("is_cut")),
        left_out=content.get("left_out", []),
    )


def action_logs(lines: Sequence[LogLine]) -> schemas.ActionLogsOut:
    """Return the steps of a run."""
    written = [
        schemas.LineOut(
            number=line.number,
            time=write_date(line.at, "milliseconds") or "",
            text=line.text,
            phase=line.phase,
        )
        for line in lines
    ]
    return schemas.ActionLogsOut(logs="\n".join(f"{line.time} {line.text}" for line in written), lines=written)


def plan(value: Plan) -> schemas.PlanOut:
    """Return a plan."""
    return schemas.PlanOut(
        possible=not value.refused,
        reason=value.refused,
        order=value.order,
        order_reason=value.order_reason,
        image_name=value.image_name,
        image_before=value.image_before,
        image_after=value.image_after,
        steps=list(value.steps),
        notes=list(value.notes),
    )


def page(path: str, query: Query, value: Page[Value], render: Callable[[Value], Out]) -> schemas.ListOut[Out]:
    """Return a page of a list."""

    def link(offset: int) -> str:
        return f"{path}?{urlencode({**query.filters, 'limit': query.limit, 'offset': offset})}"

    next_offset = query.offset + query.limit
    meta = schemas.MetaOut(
        limit=query.limit,
        next=link(next_offset) if next_offset < value.total else None,
        offset=query.offset,
        previous=link(max(0, query.offset - query.limit)) if query.offset else None,
        total_count=value.total,
    )
    return schemas.ListOut(meta=meta, objects=[render(each) for each in value.objects])


def whole_list(objects: Sequence[Out]) -> schemas.ListOut[Out]:
    """Return a short list, which is always complete."""
    meta = schemas.MetaOut(limit=25, next=None, offset=0, previous=None, total_count=len(objects))
    return schemas.ListOut(meta=meta, objects=list(objects))
