"""The environment of a service's process: clean, so that nothing of the server's own gets into it."""

from collections.abc import Mapping

CONTAINER_ID = "TUTUM_CONTAINER_ID"
CONTAINER_NAME = "TUTUM_CONTAINER_NAME"
SERVICE_UUID = "TUTUM_SERVICE_UUID"
SERVICE_NAME = "TUTUM_SERVICE_NAME"
MARKS = (CONTAINER_ID, CONTAINER_NAME, SERVICE_UUID, SERVICE_NAME)

DEFAULTS = {
    "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
    "HOME": "/",
    "LANG": "C.UTF-8",
}


def build_environment(
    server: Mapping[str, str],
    envvars: Mapping[str, str],
    *,
    container_id: str,
    container_name: str,
    service_uuid: str,
    service_name: str,
) -> dict[str, str]:
    """Make a process's environment: PATH, HOME and LANG of the server, the definition's, and our marks.

    The marks come last: a process is found again by them, so a definition cannot override them.
    """
    base = {name: server.get(name) or default for name, default in DEFAULTS.items()}
    marks = dict(zip(MARKS, (container_id, container_name, service_uuid, service_name), strict=True))
    return base | dict(envvars) | marks
