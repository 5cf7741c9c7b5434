"""The listening socket, and the address that it is known by."""

import resource
import socket
from collections.abc import Iterator
from contextlib import contextmanager

from tutumd.errors import SettingsError
from tutumd.settings import Settings

BACKLOG = 2048


@contextmanager
def listen(settings: Settings) -> Iterator[socket.socket]:
    """Open the listening socket, with as many connections as the system allows."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    try:
        listener = socket.create_server((settings.host, settings.port), family=family, backlog=BACKLOG)
    except OSError as error:
        raise SettingsError(
            f"cannot listen on {settings.host} port {settings.port}: {error.strerror or error}; choose another --port"
        ) from error
    with listener:
        yield listener


def address(settings: Settings, listener: socket.socket) -> str:
    """Tell what printed URLs begin with."""
    if settings.public_url:
        return settings.public_url
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(settings.host, settings.host)  # noqa: S104 (only read)
    return f"http://{f'[{host}]' if ':' in host else host}:{listener.getsockname()[1]}"
