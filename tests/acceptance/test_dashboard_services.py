"""Services on the dashboard of a real server, without scripts: look at them, and do everything to them."""

import pytest

from tests.acceptance.accounts import add_member, give
from tests.support.pages import Page, Visitor, signed_in
from tests.support.server import LiveServer


def _wait_for(page: Page, server: LiveServer) -> None:
    """Wait for the action whose page a button led to."""
    assert page.path.startswith("/action/"), page.text
    server.wait_for_action(f"/api/v1{page.path}")


@pytest.mark.slow
def test_a_service_is_scaled_stopped_started_and_terminated(live_server: LiveServer, visitor: Visitor) -> None:
    uuid = live_server.run_service("page-steps")
    address = f"/service/{uuid}/"
    _wait_for(visitor.get(address).submit("Scale", target="2"), live_server)
    assert "2 of 2 containers run" in visitor.get(address).text
    _wait_for(visitor.get(address).submit("Stop"), live_server)
    page = visitor.get(address)
    assert "Stopped" in page.text and not page.find("button", "Stop")
    page = page.submit("Scale", target="1")
    assert page.path.startswith(f"{address}?")
    assert page.alert == "The number of containers is set: as many start with the service."
    _wait_for(visitor.get(address).submit("Start"), live_server)
    assert "1 of 1 containers run" in visitor.get(address).text
    action = visitor.get(address).submit("Terminate")
    _wait_for(action, live_server)
    for path in (address, action.path):
        gone = visitor.get(path)
        assert gone.status == 404 and "terminated" in gone.alert, "it was done, and that is why it is not there"


@pytest.mark.slow
def test_a_member_may_do_less_than_an_admin(live_server: LiveServer) -> None:
    member = add_member(live_server, "page-member")
    uuid = live_server.run_service("page-owned")
    give(live_server, uuid, member.name)
    visitor = signed_in(live_server, member.name, member.key)
    page = visitor.get("/services/")
    assert [cell.find("a")[0].text for cell in page.find("td", data_label="Service")] == ["page-owned"]
    page = page.follow("page-owned")
    assert page.find("button", "Stop") and not page.find("button", "Terminate")
    csrf = page.form("Scale").csrf
    assert visitor.post(f"/service/{uuid}/terminate/", {"csrf": csrf}).status == 403
    _wait_for(page.submit("Scale", target="2"), live_server)
