"""The listening socket, and the address that it is known by."""

import resource
import socket

from tutumd.errors import SettingsError
from tutumd.settings import Settings

BACKLOG = 2048


def listen(settings: Settings) -> socket.socket:
    """Open the listening socket, and raise the limit of open files to what the system allows.

    Raises:
        SettingsError: The address or port cannot be used.
    """
    _, hard_limit = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard_limit, hard_limit))
    try:
        return socket.create_server(
            (settings.host, settings.port),
            family=socket.AF_INET6 if ":" in settings.host else socket.AF_INET,
            backlog=BACKLOG,
        )
    except OSError as error:
        raise SettingsError(
            f"cannot listen on {settings.host} port {settings.port}: {error.strerror or error}; choose another --port"
        ) from error


def public_url(settings: Settings, listener: socket.socket) -> str:
    """Return what printed URLs begin with: the setting, or the address of the listening socket."""
    if settings.public_url:
        return settings.public_url
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(settings.host, settings.host)  # noqa: S104 (only read)
    return f"http://{f'[{host}]' if ':' in host else host}:{listener.getsockname()[1]}"
