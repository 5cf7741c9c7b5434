"""The networks that a handler may be called from."""

from collections.abc import Sequence
from ipaddress import IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

from tutumd.application.admission.json_checks import check_texts
from tutumd.errors import InvalidInputError

Network = IPv4Network | IPv6Network
_MAPPED = ip_network("::ffff:0:0/96")


def parse_networks(value: object) -> tuple[Network, ...]:
    """Read `allow_from`: addresses and networks, such as `192.0.2.7`, `10.0.0.0/8`, `2001:db8::/32`.

    Raises:
        InvalidInputError: No list of networks, an empty one, or one with bits to the right of its prefix.
    """
    return tuple(dict.fromkeys(_parse_network(text) for text in check_texts("allow_from", value, 100)))


def allows(networks: Sequence[Network], address: str) -> bool:
    """Tell whether an address is in one of the networks. Something that is no address is in none."""
    try:
        parsed = ip_address(address.partition("%")[0].strip("[]"))
    except ValueError:
        return False
    client = (isinstance(parsed, IPv6Address) and parsed.ipv4_mapped) or parsed
    return any(client in network for network in networks)


def _parse_network(text: str) -> Network:
    try:
        network = ip_network(text.strip(), strict=False)
    except ValueError:
        raise InvalidInputError(
            f"allow_from must hold networks such as 10.0.0.0/8 or 2001:db8::/32, got {text[:50]!r}"
        ) from None
    address, _, prefix = text.strip().partition("/")
    if prefix and ip_address(address) != network.network_address:
        raise InvalidInputError(f"allow_from: {text[:50]!r} is an address within a network: did you mean {network}?")
    if isinstance(network, IPv6Network) and isinstance(_MAPPED, IPv6Network) and network.subnet_of(_MAPPED):
        # A client that came by IPv4 over an IPv6 socket: compared as IPv4, as `allows` does.
        start = network.network_address.ipv4_mapped
        return IPv4Network((start or 0, network.prefixlen - 96))
    return network
