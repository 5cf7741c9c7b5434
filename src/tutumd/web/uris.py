"""Paths of objects in the API, and a handler's public fields. It imports no framework, because the start needs it
early.
"""

PREFIX = "/api/v1"
ACTION_HEADER = "X-Tutum-Action-URI"


def uri(kind: str, uuid: str) -> str:
    """Return the path of an object: a `service`, `container`, `action`, `freeze`, `notification`,
    `notification/target` or `webhook/groupcall`; or the `status` of a call by its token.
    """
    return f"{PREFIX}/{kind}/{uuid}/"


def handlers_uri(service_uuid: str) -> str:
    """Return the path of the list of a service's handlers; without a service, of the groups."""
    return f"{PREFIX}/service/{service_uuid}/webhook/handler/" if service_uuid else f"{PREFIX}/webhook/group/"


def handler_uri(service_uuid: str, handler_uuid: str) -> str:
    """Return the path of a handler; without a service, of a group."""
    return f"{handlers_uri(service_uuid)}{handler_uuid}/"


def call_uri(service_uuid: str, handler_uuid: str) -> str:
    """Return the path to call a handler or a group: a credential."""
    return f"{handler_uri(service_uuid, handler_uuid)}call/"
