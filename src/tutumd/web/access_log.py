"""The access log, and the IDs of requests in it. A line has the route but never the path, which may be a credential."""

import re
import secrets
import time
from collections.abc import Iterable, Mapping
from itertools import count
from types import SimpleNamespace

import structlog
from starlette.types import Scope

from tutumd.web.context import UUID, WebContext
from tutumd.web.uris import ACTION_HEADER, PREFIX

HEADER = b"x-request-id"
_SENT = re.compile(rb"[A-Za-z0-9._-]{1,128}")
_prefix = secrets.token_hex(6)
_numbers = count(1)


def make() -> bytes:
    """Return a new ID, unique across processes."""
    return b"%b-%x" % (_prefix.encode(), next(_numbers))


def parse(headers: Iterable[tuple[bytes, bytes]]) -> bytes | None:
    """Return the ID that a client or proxy sent; None if there is none, or if it must not be logged."""
    sent = [value for name, value in headers if name == HEADER]
    return sent[0] if len(sent) == 1 and _SENT.fullmatch(sent[0]) else None


def choose(sent: bytes | None, path: str) -> bytes:
    """Return the ID of a request: the received ID, unless it contains a part of the path, which may be a secret.

    Dashes are ignored: many clients write a UUID without them.
    """
    if sent is None:
        return make()
    given = sent.decode().lower().replace("-", "")
    # Shorter parts are no secrets.
    parts = (part for part in path.lower().replace("-", "").split("/") if len(part) >= 8)
    return make() if any(part in given for part in parts) else sent


CALL_ROUTE = f"{PREFIX}/service/{{service_uuid}}/webhook/handler/{{handler_uuid}}/call/"

_CALL = SimpleNamespace(path=CALL_ROUTE)
_GROUP_CALL = SimpleNamespace(path=f"{PREFIX}/webhook/group/{{handler_uuid}}/call/")
_SERVICE_PARAM = re.compile(rf"(?:{PREFIX})?/service/\{{(\w+)\}}/")
_CALLED = {200, 202, 502, 504}
"""Statuses of calls whose handler and service exist."""

_log = structlog.get_logger(__name__)


def mark_call(scope: Scope, service: str | None) -> None:
    """Mark a request as a call, as the framework does for its own routes. Calls of groups have no service."""
    scope["route"], scope["path_params"] = (_CALL, {"service_uuid": service}) if service else (_GROUP_CALL, {})


def log_request(
    context: WebContext, scope: Scope, *, status: int, headers: Mapping[bytes, bytes], began: float, request_id: bytes
) -> None:
    """Log a completed request.

    Args:
        scope: With the route and its parameters, if the path has a route.
        status: 0 if there was no response.
        headers: Headers of the response.
        began: Start time, from `time.monotonic`.
    """
    route = getattr(scope.get("route"), "path", None)
    fields: dict[str, object] = {
        "method": scope["method"],
        "route": route,
        "status": status,
        "duration_ms": round(1000 * (time.monotonic() - began), 1),
        "client": context.read_origin(scope).address,
        "service": _find_service(route, scope, status),
        "action": headers.get(ACTION_HEADER.lower().encode(), b"").decode().rstrip("/").rpartition("/")[2],
        "request_id": request_id.decode(),
    }
    _log.info("request", **{name: value for name, value in fields.items() if value not in (None, "")})


def _find_service(route: str | None, scope: Scope, status: int) -> str | None:
    """Return the UUID of the service of a request; None if it is not known to be the UUID of a service.

    Somebody may have put the UUID of a handler in its place.
    """
    found = _SERVICE_PARAM.match(route or "")
    is_known = status in _CALLED if route == CALL_ROUTE else 200 <= status < 300
    if found is None or not is_known:
        return None
    value = str(scope.get("path_params", {}).get(found[1], "")).lower()
    return value if UUID.fullmatch(value) else None
