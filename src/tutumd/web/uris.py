"""The names of objects in the API, and what is public of a handler. Imports no framework: the start needs it early."""

from tutumd.model import Handler

PREFIX = "/api/v1"
ACTION_HEADER = "X-Tutum-Action-URI"


def service_uri(uuid: str) -> str:
    """Name a service."""
    return f"{PREFIX}/service/{uuid}/"


def container_uri(uuid: str) -> str:
    """Name a container."""
    return f"{PREFIX}/container/{uuid}/"


def action_uri(uuid: str) -> str:
    """Name an action."""
    return f"{PREFIX}/action/{uuid}/"


def handler_fields(handler: Handler) -> dict[str, str | None]:
    """Write a handler's public fields."""
    uri = f"{service_uri(handler.service_uuid)}webhook/handler/{handler.uuid}/"
    return {
        "url": f"{uri}call/",
        "name": handler.name,
        "operation": handler.operation.value,
        "resource_uri": uri,
        "uuid": handler.uuid,
    }
