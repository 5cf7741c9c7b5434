"""Who sees which buttons on the pages of a handler."""

import pytest

from tests.acceptance.accounts import add_limited_key
from tests.acceptance.handler_pages.made import Made
from tests.support.pages import Visitor, signed_in
from tests.support.server import USER, LiveServer
from tutumd.model import Scope

BUTTONS = ("Show the URL", "Disable", "Make a new URL", "Revoke it")


@pytest.mark.parametrize(("scope", "number"), [(Scope.READ, 0), (Scope.CALL, 1), (Scope.OPERATE, 4)])
def test_buttons_are_for_those_who_may_press_them(
    live_server: LiveServer, made: Made, scope: Scope, number: int
) -> None:
    guest = signed_in(live_server, USER, add_limited_key(live_server, USER, scope=scope).key)
    page = guest.get(made.path)
    assert [name for name in BUTTONS if page.find("button", name)] == list(BUTTONS[:number])


@pytest.mark.parametrize("number", ["0", "-1", "x", "9" * 30, "2147483648"])
def test_an_address_that_is_none_is_not_found(service: str, visitor: Visitor, number: str) -> None:
    assert visitor.get(f"/service/{service}/handler/{number}/").status == 404
