from ipaddress import ip_network

import pytest

from tutumd.notifier.addresses import judge


@pytest.mark.parametrize(
    ("address", "network"),
    [
        *(
            ("127.0.0.1", "127.0.0.0/8"),
            ("::1", "::1/128"),
            ("10.1.2.3", "10.0.0.0/8"),
            ("172.31.0.1", "172.16.0.0/12"),
        ),
        *(("192.168.1.1", "192.168.1.1/32"), ("100.64.0.1", "100.64.0.0/10"), ("fd12::1", "fd12::/16")),
        *(("224.0.0.1", "224.0.0.0/4"), ("ff02::1", "ff00::/8"), ("0.0.0.0", "0.0.0.0/32"), ("::", "::/128")),
        *(("255.255.255.255", "240.0.0.0/4"), ("192.0.2.1", "192.0.2.0/24"), ("2001:db8::1", "2001:db8::/32")),
        *(("::ffff:8.8.8.8", "::ffff:0:0/96"), ("64:ff9b::808:808", "64:ff9b::/96"), ("::8.8.8.8", "::/96")),
        *(("2002:808:808::", "2002::/16"), ("64:ff9b:1::808:808", "64:ff9b:1::/48"), ("fec0::1", "fec0::/10")),
        ("4000::1", "4000::/3"),
    ],
)
def test_an_address_that_is_not_public_needs_its_network(address: str, network: str) -> None:
    assert "--notify-allow" in judge(address, ())
    assert judge(address, [ip_network(network)]) == ""


@pytest.mark.parametrize(
    "address",
    [
        *("169.254.169.254", "fe80::1", "fe80::1%eth0", "fd00:ec2::254", "fd20:ce::254", "100.100.100.200"),
        *("168.63.129.16", "::ffff:169.254.169.254", "64:ff9b::a9fe:a9fe", "2002:a9fe:a9fe::", "::169.254.169.254"),
    ],
)
def test_link_local_and_metadata_addresses_are_always_refused(address: str) -> None:
    assert "nothing is ever sent" in judge(address, [ip_network("0.0.0.0/0"), ip_network("::/0")])


def test_the_ipv4_address_in_an_ipv6_address_is_judged_as_well() -> None:
    assert "private" in judge("64:ff9b::10.0.0.1", [ip_network("64:ff9b::/96")])


@pytest.mark.parametrize("address", ["8.8.8.8", "172.32.0.1", "2606:4700::1111"])
def test_a_public_address_needs_a_network_only_without_tls(address: str) -> None:
    assert judge(address, ()) == ""
    assert "a public address" in judge(address, (), needs_network=True)
    assert judge(address, [ip_network(address)], needs_network=True) == ""
