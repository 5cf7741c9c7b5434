"""Headers of calls: lookup, the delivery key, and the names of secret headers. And networks of callers."""

import hashlib
import re
from collections.abc import Iterable, Sequence
from functools import lru_cache
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

from tutumd.application.admission.json_checks import check_texts
from tutumd.errors import InvalidInputError

Headers = Sequence[tuple[str, str]]
"""Names in lower case; a name may occur more than once."""

MAX_KEY_LENGTH = 200

_SECRET_NAME = re.compile(
    r"auth|cookie|token|secret|signature|passw|passphrase|credential|session|jwt|csrf|bearer|key"
    r"|(?:^|[-_.])(?:sig|hmac|pwd|pass|pin|otp)(?:[-_.]|$)"
)
_NOT_SECRET = {"idempotency-key", "x-event-key"}
# Each of these headers stays the same when the sender retries, and differs between events. GitLab sends Idempotency-Key
# (since 17.4), and webhook-id if it signs. X-Gitlab-Webhook-UUID names the webhook. X-Gitlab-Event-UUID names a chain
# of events, of which the second must not be lost. Bitbucket documents no such header, and Docker Hub, Quay and Harbor
# send none.
_SENDERS_IDS = ("x-github-delivery", "x-forgejo-delivery", "x-gitea-delivery", "x-gogs-delivery")
# The first header is the only header that a signature can cover (Standard Webhooks, GitLab): a replay of a signed
# delivery can change any other header. The other presets sign the body alone, and two events may have the same body.
DELIVERY_IDS = ("webhook-id", "idempotency-key", *_SENDERS_IDS)


def find_all(headers: Headers, name: str) -> list[str]:
    """Return the values of a header. The case of `name` does not matter."""
    lower = name.lower()
    return [value for key, value in headers if key == lower]


@lru_cache(1024)  # with this check: for calls with a query, 0.88 of the calls per second without it
def is_secret(name: str) -> bool:
    """Return whether a header's name says that its value grants access."""
    return bool(_SECRET_NAME.search(name.lower())) and name.lower() not in _NOT_SECRET


def delivery_key(headers: Headers) -> str | None:
    """Return the value that stays the same when a sender repeats a delivery: `header:value`, at most 200 characters.

    A longer value is replaced by its SHA-256. None if there is no such header, or if it is empty or ambiguous.
    """
    names = {name for name, _ in headers}
    for name in DELIVERY_IDS:
        if name not in names:
            continue
        values = {value.strip() for value in find_all(headers, name)} - {""}
        if len(values) == 1:
            return limit_key(f"{name}:{values.pop()}")
    return None


def limit_key(key: str) -> str:
    """Return a delivery key, hashed if it is longer than 200 characters or not printable ASCII."""
    return key if len(key) <= MAX_KEY_LENGTH and key.isascii() and key.isprintable() else hash_key(key)


def hash_key(key: str) -> str:
    """Return a delivery key whose value is replaced by its SHA-256."""
    return f"{key.partition(':')[0]}:sha256:{hashlib.sha256(key.encode('utf-8', 'backslashreplace')).hexdigest()}"


def as_document(headers: Iterable[tuple[str, str]], signature_header: str) -> dict[str, str]:
    """Return the `headers` of expressions: names in lower case, repeated values joined by `, `, no secrets.

    Args:
        signature_header: The header that the handler's `verify` reads, whatever its name; empty if it names none.
    """
    document: dict[str, str] = {}
    for name, value in headers:
        lower = name.lower()
        if not is_secret(lower) and lower != signature_header.lower():
            document[lower] = f"{document[lower]}, {value}" if lower in document else value
    return document


Network = IPv4Network | IPv6Network
_IPV4_MAPPED = IPv6Network("::ffff:0:0/96")


def parse_networks(value: object) -> tuple[Network, ...]:
    """Return the networks of `allow_from`, such as `192.0.2.7`, `10.0.0.0/8`, `2001:db8::/32`.

    Raises:
        InvalidInputError: The value is not a list of networks, or is empty, or a network has bits to the right of its
            prefix.
    """
    return tuple(dict.fromkeys(_parse_network(text.strip()) for text in check_texts("allow_from", value, 100)))


def allows(networks: Sequence[Network], address: str) -> bool:
    """Return whether an address is in one of the networks. A text that is not an address is in no network."""
    client = _parse_client(address)
    return client is not None and any(client in network for network in networks)


@lru_cache(1024)
def _parse_client(address: str) -> IPv4Address | IPv6Address | None:
    try:
        parsed = ip_address(address.partition("%")[0].strip("[]"))
    except ValueError:
        return None
    return (isinstance(parsed, IPv6Address) and parsed.ipv4_mapped) or parsed


@lru_cache(1024)
def client_network(address: str) -> str:
    """Return the network of one client: an IPv4 address alone, or the /64 of an IPv6 address."""
    parsed = _parse_client(address)
    if isinstance(parsed, IPv6Address):
        return str(IPv6Network((parsed, 64), strict=False).network_address)
    return str(parsed or address)


def _parse_network(text: str) -> Network:
    try:
        network = ip_network(text, strict=False)
    except ValueError:
        raise InvalidInputError(
            f"allow_from must hold networks such as 10.0.0.0/8 or 2001:db8::/32, got {text[:50]!r}"
        ) from None
    address, _, prefix = text.partition("/")
    if prefix and ip_address(address) != network.network_address:
        raise InvalidInputError(f"allow_from: {text[:50]!r} is an address within a network: did you mean {network}?")
    if isinstance(network, IPv6Network) and network.subnet_of(_IPV4_MAPPED):
        # IPv4 clients on an IPv6 socket are compared as IPv4, as in `allows`.
        return IPv4Network((network.network_address.ipv4_mapped or 0, network.prefixlen - 96))
    return network
