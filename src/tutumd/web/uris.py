"""The names of objects in the API, and what is public of a handler. Imports no framework: the start needs it early."""

from tutumd.model import Operation

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


def status_uri(token: str) -> str:
    """Name where a caller asks how the action of the call stands."""
    return f"{PREFIX}/status/{token}/"


def handler_uri(service_uuid: str, handler_uuid: str) -> str:
    """Name a handler."""
    return f"{service_uri(service_uuid)}webhook/handler/{handler_uuid}/"


def call_uri(service_uuid: str, handler_uuid: str) -> str:
    """Name what is called: a credential."""
    return f"{handler_uri(service_uuid, handler_uuid)}call/"


def handler_fields(
    service_uuid: str, handler_uuid: str, name: str | None, operation: Operation
) -> dict[str, str | None]:
    """Write a handler's public fields."""
    return {
        "url": call_uri(service_uuid, handler_uuid),
        "name": name,
        "operation": operation.value,
        "resource_uri": handler_uri(service_uuid, handler_uuid),
        "uuid": handler_uuid,
    }
