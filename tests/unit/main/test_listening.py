"""Whom the server believes about users."""

import pytest

from tutumd.errors import SettingsError
from tutumd.main.listening import check_user_header
from tutumd.settings import Settings, read_settings


def make_settings(*trusted: str) -> Settings:
    return read_settings({"user_header": "X-Forwarded-User", "trusted_proxies": trusted})


@pytest.mark.parametrize(
    "trusted",
    [
        ("127.0.0.1", "::1"),
        ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "fd00::/8"),
        ("198.18.0.7", "8.8.8.0/24", "2606:4700::1", "2606:4700:1::/48"),
    ],
)
def test_proxies_may_name_the_user(trusted: tuple[str, ...]) -> None:
    check_user_header(make_settings(*trusted))


@pytest.mark.parametrize(
    ("trusted", "refused"),
    [
        (("0.0.0.0/0",), "0.0.0.0/0"),
        (("127.0.0.1", "::/0"), "::/0"),
        (("0.0.0.0/1", "128.0.0.0/1"), "0.0.0.0/1"),
        (("10.0.0.0/7",), "10.0.0.0/7"),
        (("104.16.0.0/13",), "104.16.0.0/13"),
        (("100.64.0.0/10",), "100.64.0.0/10"),
        (("127.0.0.1", "8.8.0.0/23"), "8.8.0.0/23"),
        (("2000::/3",), "2000::/3"),
        (("2606:4700::/32",), "2606:4700::/32"),
    ],
)
def test_networks_of_strangers_may_not(trusted: tuple[str, ...], refused: str) -> None:
    with pytest.raises(SettingsError, match=f"whose {refused} is wider than"):
        check_user_header(make_settings(*trusted))


def test_without_a_proxy_nobody_may() -> None:
    with pytest.raises(SettingsError, match="give its address"):
        check_user_header(make_settings())
