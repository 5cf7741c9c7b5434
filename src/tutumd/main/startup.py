"""First steps of a server or a worker: memory, logs and settings, and the listening socket."""

import ctypes
import os
import resource
import socket
from ipaddress import ip_address
from typing import TYPE_CHECKING

import structlog

from tutumd import logs
from tutumd.errors import SettingsError
from tutumd.main import engines

if TYPE_CHECKING:
    from tutumd.settings import Options, Settings

BACKLOG = 2048
WIDEST_PUBLIC = {4: 24, 6: 48}
"""Prefix length by IP version of the widest public network whose machines may name the user of a request."""

_M_ARENA_MAX = -8
_MAX_ARENAS = 2
_log = structlog.get_logger(__name__)


def configure(options: "Options") -> "Settings":
    """Prepare the process and return the settings.

    Raises:
        SettingsError or InvalidInputError: A setting is invalid. The text gives the expected form.
    """
    # Slow to import, and the worker of a server does without them.
    from tutumd.application import accounts
    from tutumd.settings import environment_warnings, read_settings

    settings = read_settings(options)
    prepare(settings)
    # Checks that would otherwise fail only after something was created.
    engines.parse_specs(settings.engine)
    accounts.check_name(settings.admin_user or "admin")
    if settings.admin_apikey:
        accounts.check_key(settings.admin_apikey)
    for warning in environment_warnings(os.environ):
        _log.warning(warning)
    return settings


def prepare(settings: "Settings") -> None:
    """Prepare the memory and the logs of the process. Call this before threads start."""
    _limit_arenas()
    logs.configure(settings.log_level, settings.log_format)


def _limit_arenas() -> None:
    """Limit glibc to few memory arenas, unless its own variable sets another limit.

    By default, glibc creates up to eight arenas for each core. Each arena keeps the memory that its threads once used:
    with the pages that SQLite's connections read and free continuously, a server grew by 10 MB a minute. mallopt(3).
    """
    if "MALLOC_ARENA_MAX" not in os.environ and hasattr(libc := ctypes.CDLL(None), "mallopt"):
        libc.mallopt(_M_ARENA_MAX, _MAX_ARENAS)


def check_host(settings: "Settings") -> None:
    """Check that the server can listen on the address, and warn if others can reach it without encryption.

    Raises:
        SettingsError: It cannot.
    """
    with _open(settings.host, 0) as listener:
        address = ip_address(listener.getsockname()[0].partition("%")[0])
    is_behind_tls = bool(settings.trusted_proxies) or settings.public_url.startswith("https://")
    if not address.is_loopback and not is_behind_tls:
        _log.warning(
            f"the network can read API keys and handler URLs: this server listens on {settings.host} without TLS; put a"
            " proxy with TLS in front of it, and name that in --trusted-proxies (docs/how-to/proxy.md)"
        )


def check_user_header(settings: "Settings") -> None:
    """Check that only proxies can name the user of a request.

    Raises:
        SettingsError: Strangers could name a user, or nobody could.
    """
    if not settings.user_header:
        return
    if not settings.trusted_proxies:
        raise SettingsError(
            "--user-header needs --trusted-proxies: only a proxy may name the user of a request; give its address"
        )
    for network in settings.trusted_proxies:
        widest = WIDEST_PUBLIC[network.version]
        if network.prefixlen < widest and not network.is_private:
            raise SettingsError(
                f"--user-header needs the addresses of the proxies in --trusted-proxies, whose {network} is wider than"
                f" a private network or a public /{widest}: any machine there could name any user"
            )


def listen(settings: "Settings") -> socket.socket:
    """Open the listening socket, and raise the limit of open files to the system's maximum.

    Raises:
        SettingsError: The address or port cannot be used.
    """
    _, hard_limit = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard_limit, hard_limit))
    return _open(settings.host, settings.port)


def _open(host: str, port: int) -> socket.socket:
    try:
        return socket.create_server(
            (host, port), family=socket.AF_INET6 if ":" in host else socket.AF_INET, backlog=BACKLOG
        )
    except OSError as error:
        where, option = (f"{host} port {port}", "--port") if port else (host, "--host")
        raise SettingsError(f"cannot listen on {where}: {error.strerror or error}; choose another {option}") from error


def start_of_urls(settings: "Settings", port: int) -> str:
    """Return the prefix of printed URLs: the setting, or the address of the server."""
    if settings.public_url:
        return settings.public_url
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(settings.host, settings.host)  # noqa: S104 (only read)
    return f"http://{f'[{host}]' if ':' in host else host}:{port}"
