"""What the routes need, in one value that the app carries, and small facts about a request."""

import re
from dataclasses import dataclass

from starlette.requests import HTTPConnection, Request

from tutumd.errors import NotFoundError
from tutumd.model import Origin
from tutumd.ports import Intake, Store

NOT_FOUND = "there is no such object, or it is not yours"

_UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}", re.ASCII)


@dataclass(frozen=True, slots=True, kw_only=True)
class Edge:
    """What the routes work with."""

    store: Store
    intake: Intake
    max_containers: int


def edge(request: Request) -> Edge:
    """Get what the routes work with."""
    found: Edge = request.app.state.edge
    return found


def origin(connection: HTTPConnection) -> Origin:
    """Say who sends a request."""
    return Origin(
        address=connection.client.host if connection.client else "",
        user_agent=connection.headers.get("user-agent", ""),
    )


def parse_uuid(text: str) -> str:
    """Read a UUID in either letter case. Raises NotFoundError: what is no UUID names nothing."""
    uuid = text.lower()
    if not _UUID.fullmatch(uuid):
        raise NotFoundError(NOT_FOUND)
    return uuid
