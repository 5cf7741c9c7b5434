"""What the routes need, in one value that the app carries, and small facts about a request."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address

from starlette.requests import Request
from starlette.types import Scope

from tutumd.application.admission.encryption import SecretCipher
from tutumd.application.calls import AdmissionCache, StatusTokens
from tutumd.errors import NOT_FOUND, NotFoundError
from tutumd.model import Origin
from tutumd.ports import Clock, Intake, Store

_PORT = re.compile(r"([0-9.]+|\[[^\]]*\]):[0-9]+", re.ASCII)
"""Some proxies name the port too: `192.0.2.1:4711`, `[2001:db8::1]:4711`."""
UUID = r"[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}"
_UUID = re.compile(UUID, re.ASCII)


@dataclass(frozen=True, slots=True, kw_only=True)
class WebContext:
    """What the routes work with."""

    store: Store
    intake: Intake
    clock: Clock
    server_cap: int
    cipher: SecretCipher
    options: AdmissionCache
    status_tokens: StatusTokens
    trusted_proxies: tuple[IPv4Network | IPv6Network, ...] = ()


def context(request: Request) -> WebContext:
    """Get what the routes work with."""
    found: WebContext = request.app.state.context
    return found


def origin(scope: Scope, trusted: Sequence[IPv4Network | IPv6Network]) -> Origin:
    """Say who sends a request: the peer or, where that is a proxy that is trusted, whom it says to have it from."""
    client = scope.get("client")
    address = client[0] if client else ""
    user_agent = ""
    forwarded = []
    for name, value in scope["headers"]:
        if name == b"user-agent":
            user_agent = value.decode("latin-1")
        elif trusted and name == b"x-forwarded-for":
            forwarded += [part for piece in value.decode("latin-1").split(",") if (part := piece.strip())]
    if trusted:
        address = client_address(address, forwarded, trusted)
    return Origin(address=address, user_agent=user_agent)


def client_address(peer: str, forwarded: Sequence[str], trusted: Sequence[IPv4Network | IPv6Network]) -> str:
    """Find the client: from the peer back along the proxies, the first that is not trusted.

    Args:
        forwarded: The addresses of X-Forwarded-For, the nearest last. Anybody may have written the ones before.
    """
    address = peer
    for claimed in reversed(forwarded):
        if not _is_trusted(address, trusted):
            return address
        parsed = _address(claimed)
        if parsed is None:
            return address
        address = str(parsed)
    return address


def _is_trusted(text: str, trusted: Sequence[IPv4Network | IPv6Network]) -> bool:
    address = _address(text)
    return address is not None and any(address in network for network in trusted)


def _address(text: str) -> IPv4Address | IPv6Address | None:
    with_port = _PORT.fullmatch(text)
    try:
        address = ip_address((with_port[1] if with_port else text).strip("[]"))
    except ValueError:
        return None
    mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    return mapped or address


def parse_uuid(text: str) -> str:
    """Read a UUID in either letter case. Raises NotFoundError: what is no UUID names nothing."""
    uuid = text.lower()
    if not _UUID.fullmatch(uuid):
        raise NotFoundError(NOT_FOUND)
    return uuid
