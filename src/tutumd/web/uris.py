"""Paths of objects in the API, and a handler's public fields. It imports no framework, because the start needs it
early.
"""

PREFIX = "/api/v1"
ACTION_HEADER = "X-Tutum-Action-URI"


def service_uri(uuid: str) -> str:
    """Return the path of a service."""
    return f"{PREFIX}/service/{uuid}/"


def container_uri(uuid: str) -> str:
    """Return the path of a container."""
    return f"{PREFIX}/container/{uuid}/"


def action_uri(uuid: str) -> str:
    """Return the path of an action."""
    return f"{PREFIX}/action/{uuid}/"


def notification_uri(uuid: str) -> str:
    """Return the path of a notification."""
    return f"{PREFIX}/notification/{uuid}/"


def target_uri(uuid: str) -> str:
    """Return the path of a notification target."""
    return f"{PREFIX}/notification/target/{uuid}/"


def status_uri(token: str) -> str:
    """Return the path where a caller reads the progress of its call."""
    return f"{PREFIX}/status/{token}/"


def handler_uri(service_uuid: str, handler_uuid: str) -> str:
    """Return the path of a handler."""
    return f"{PREFIX}/service/{service_uuid}/webhook/handler/{handler_uuid}/"


def call_uri(service_uuid: str, handler_uuid: str) -> str:
    """Return the path to call: a credential."""
    return f"{handler_uri(service_uuid, handler_uuid)}call/"
