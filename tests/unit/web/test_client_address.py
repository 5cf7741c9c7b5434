"""The address of a client, behind trusted and other proxies."""

import pytest
from starlette.types import Scope

from tests.unit.web.contexts import web_context

TRUSTED = ("10.0.0.0/8", "fd00::/8")


@pytest.mark.parametrize(
    ("peer", "forwarded", "expected"),
    [
        ("203.0.113.1", [], "203.0.113.1"),
        ("203.0.113.1", ["198.51.100.1"], "203.0.113.1"),  # anybody may write the header
        ("10.0.0.1", [], "10.0.0.1"),
        ("10.0.0.1", ["203.0.113.1"], "203.0.113.1"),
        ("10.0.0.1", ["1.2.3.4", "203.0.113.1"], "203.0.113.1"),  # what the client wrote itself does not count
        ("10.0.0.1", ["203.0.113.1", "10.0.0.2"], "203.0.113.1"),
        ("10.0.0.1", ["203.0.113.1,10.0.0.3", "10.0.0.2"], "203.0.113.1"),
        ("10.0.0.1", ["10.0.0.3", "10.0.0.2"], "10.0.0.3"),
        ("10.0.0.1", ["nonsense"], "10.0.0.1"),
        ("fd00::1", ["2001:db8::1"], "2001:db8::1"),
        ("10.0.0.1", ["[2001:db8::1]"], "2001:db8::1"),
        ("10.0.0.1", ["::ffff:203.0.113.1"], "203.0.113.1"),  # from a proxy with one socket for IPv4 and IPv6
        ("10.0.0.1", ["203.0.113.1, ::ffff:10.0.0.2"], "203.0.113.1"),
        ("10.0.0.1", ["203.0.113.1, [::FFFF:10.0.0.2]:80"], "203.0.113.1"),
        ("10.0.0.1", ["2001:db8::ffff:10.0.0.2"], "2001:db8::ffff:a00:2"),
        ("10.0.0.1", ["203.0.113.1", ""], "203.0.113.1"),
        ("10.0.0.1", ["203.0.113.1:4711"], "203.0.113.1"),
        ("10.0.0.1", ["203.0.113.1:4711", "10.0.0.2:80"], "203.0.113.1"),
        ("10.0.0.1", ["[2001:db8::1]:4711"], "2001:db8::1"),
        ("10.0.0.1", ["2001:db8:0:0:0:0:5:1"], "2001:db8::5:1"),
        ("10.0.0.1", ["203.0.113.1:", "203.0.113.2:x"], "10.0.0.1"),
        ("", ["203.0.113.1"], ""),
        ("10.0.0.1", ["198.51.100.7", *["10.0.0.5"] * 5000, "203.0.113.9"], "203.0.113.9"),
    ],
)
def test_the_client_is_the_nearest_address_that_is_no_trusted_proxy(
    peer: str, forwarded: list[str], expected: str
) -> None:
    headers = [(b"x-forwarded-for", value.encode()) for value in forwarded]
    scope: Scope = {"client": (peer, 1), "headers": [(b"user-agent", b"curl"), *headers]}
    origin = web_context(trusted_proxies=TRUSTED).read_origin(scope)
    assert (origin.address, origin.user_agent) == (expected, "curl")


@pytest.mark.parametrize(
    ("peer", "forwarded", "client"),
    [
        ("203.0.113.1", "198.51.100.1", "203.0.113.1"),
        ("10.0.0.1", "203.0.113.1", "203.0.113.1"),
        ("10.0.0.1", "2001:db8:1:2:3:4:5:6", "2001:db8:1:2::"),  # who has one address of a /64 has all of them
        ("::ffff:203.0.113.1", "", "203.0.113.1"),
        ("fe80::1%eth0", "", "fe80::"),
        ("", "", ""),
    ],
)
def test_limits_count_an_ipv4_address_or_an_ipv6_network(peer: str, forwarded: str, client: str) -> None:
    scope: Scope = {"client": (peer, 1), "headers": [(b"x-forwarded-for", forwarded.encode())]}
    assert web_context(trusted_proxies=TRUSTED).read_client(scope) == client
