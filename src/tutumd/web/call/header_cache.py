"""What the headers of a call say. Senders repeat most of them, so they are read once."""

from collections.abc import Sequence
from dataclasses import dataclass
from ipaddress import IPv4Network, IPv6Network
from json.encoder import encode_basestring

from starlette.types import Scope

from tutumd.application.admission import headers
from tutumd.model import Origin
from tutumd.web.context import origin

MOST_KNOWN = 1_000
MAX_KNOWN_BYTES = 1024
"""Of the headers of one call, so that all that are remembered take few megabytes."""

RawHeaders = Sequence[tuple[bytes, bytes]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Head:
    """What the headers of one call say.

    Attributes:
        kept: What is kept of them for looking at it later, as a JSON array; None where there are too many.
        key: What stays the same when the sender repeats the delivery; None where nothing does.
        prefers: Whether there is a header `Prefer`, which may ask to wait.
    """

    origin: Origin
    kept: str | None
    key: str | None
    prefers: bool


class Heads:
    """Reads headers, and remembers what was read. For one event loop."""

    def __init__(self, trusted_proxies: Sequence[IPv4Network | IPv6Network]) -> None:
        """Take whom to believe where a call comes from."""
        self._trusted = trusted_proxies
        self._known: dict[tuple[object, ...], Head] = {}

    def read(self, scope: Scope) -> Head:
        """Read the headers of a request."""
        client = scope.get("client")
        asked = (client and client[0], *scope["headers"])
        head = self._known.get(asked)
        if head is None:
            head = self._read(scope)
            if _is_worth_remembering(scope["headers"], head):
                if len(self._known) >= MOST_KNOWN:
                    self._known.clear()
                self._known[asked] = head
        return head

    def _read(self, scope: Scope) -> Head:
        decoded = decode(scope["headers"])
        kept = headers.keep(decoded)
        is_whole = len(kept) == sum(not headers.is_secret(name) for name, _ in decoded)
        return Head(
            origin=origin(scope, self._trusted),
            kept=_as_json(kept) if is_whole else None,
            key=headers.delivery_key(decoded),
            prefers=any(name == b"prefer" for name, _ in scope["headers"]),
        )


def decode(raw: RawHeaders) -> list[tuple[str, str]]:
    """Read headers as text (RFC 9110: what is not ASCII may be anything)."""
    return [(name.decode("latin-1"), value.decode("latin-1")) for name, value in raw]


def _as_json(kept: Sequence[tuple[str, str]]) -> str:
    """Write headers as a JSON array of pairs."""
    pairs = [f"[{encode_basestring(name)},{encode_basestring(value)}]" for name, value in kept]
    return f"[{','.join(pairs)}]"


def _is_worth_remembering(raw: RawHeaders, head: Head) -> bool:
    """Leave out what comes once, such as a delivery's ID, and what is secret: it is not to stay in memory."""
    return (
        head.key is None
        and sum(len(name) + len(value) for name, value in raw) <= MAX_KNOWN_BYTES
        and not any(headers.is_secret(name.decode("latin-1")) for name, _ in raw)
    )
