"""The addresses that messages may be sent to."""

from collections.abc import Sequence
from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address, ip_network

from tutumd.application.admission.headers import Network

Address = IPv4Address | IPv6Address

# Link-local addresses, and the other addresses at which clouds give a machine its credentials.
_NEVER = tuple(
    map(
        ip_network,
        (
            *("169.254.0.0/16", "fe80::/10"),
            *("fd00:ec2::/32", "fd20:ce::254", "100.100.100.200", "168.63.129.16", "192.0.0.192"),
        ),
    )
)
_PUBLIC_IPV6 = IPv6Network("2000::/3")
_NAT64, _COMPATIBLE = IPv6Network("64:ff9b::/32"), IPv6Network("::/96")
# The special-purpose registries of IANA (RFC 6890): networks that the internet does not route, or that contain another
# address.
_KINDS: dict[Network, str] = {
    ip_network(network): kind
    for kind, networks in {
        "a loopback address": ("127.0.0.0/8", "::1"),
        "a private address": ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "fc00::/7", "fec0::/10"),
        "a carrier-grade NAT address": ("100.64.0.0/10",),
        "a multicast address": ("224.0.0.0/4", "ff00::/8"),
        "an unspecified address": ("0.0.0.0/8", "::"),
        "an IPv4 address in an IPv6 address": (
            *("::ffff:0:0/96", "::/96", "64:ff9b::/96", "64:ff9b:1::/48", "2001::/32", "2002::/16"),
        ),
        "a reserved address": (
            *("192.0.0.0/24", "192.0.2.0/24", "192.88.99.0/24", "198.18.0.0/15", "198.51.100.0/24", "203.0.113.0/24"),
            *("240.0.0.0/4", "2001::/23", "2001:db8::/32", "3fff::/20"),
        ),
    }.items()
    for network in networks
}


def judge(address: str, allowed: Sequence[Network], *, needs_network: bool = False) -> str:
    """Return why nothing may be sent to an address; empty: it is permitted.

    Args:
        address: As `socket.getaddrinfo` returns it.
        allowed: Networks of the setting `notify_allow`.
        needs_network: Also refuse a public address that is in none of these networks.
    """
    parsed = ip_address(address.partition("%")[0])
    forms = [parsed, *_embedded(parsed)]
    if any(form in network for form in forms for network in _NEVER):
        return "a link-local or metadata address, to which nothing is ever sent"
    for form in forms:
        is_named = any(form in network for network in allowed)
        kind = _kind(form) or ("a public address" if needs_network else "")
        if kind and not is_named:
            return f"{kind}, which --notify-allow (TUTUMD_NOTIFY_ALLOW) of the server does not name"
    return ""


def _kind(address: Address) -> str:
    for network, kind in _KINDS.items():
        if address in network:
            return kind
    return "" if address.version == 4 or address in _PUBLIC_IPV6 else "a reserved address"


def _embedded(address: Address) -> list[IPv4Address]:
    """Return the IPv4 addresses that a translator may derive from an IPv6 address."""
    if isinstance(address, IPv4Address):
        return []
    if address.sixtofour:
        return [address.sixtofour]
    if address.teredo:
        return list(address.teredo)
    is_translated = address in _NAT64 or (address in _COMPATIBLE and int(address) > 0xFFFF)  # not ::1
    return [IPv4Address(int(address) & 0xFFFF_FFFF)] if is_translated or address.ipv4_mapped else []
