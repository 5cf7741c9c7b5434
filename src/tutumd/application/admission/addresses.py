"""Networks that a handler may be called from."""

from collections.abc import Sequence
from functools import lru_cache
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

from tutumd.application.admission.json_checks import check_texts
from tutumd.errors import InvalidInputError

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
