"""The page of freeze windows: windows are added and removed; limited visitors see no button that is refused."""

import uuid
from typing import Any

from tests.acceptance.accounts import Member, add_limited_key
from tests.acceptance.test_freeze_windows import create, listed
from tests.support.pages import signed_in
from tests.support.server import LiveServer
from tutumd.model import Scope


def test_a_window_is_added_from_the_page_of_a_service_and_removed(live_server: LiveServer, ann: Member) -> None:
    visitor = signed_in(live_server, ann.name, ann.key)
    service = ann.send("GET", "/api/v1/service/").json["objects"][0]["uuid"]
    page = visitor.get(f"/service/{service}/").follow("All windows")
    assert page.path == f"/freeze/?service={service}"
    assert not page.find("input", name="server")
    fields: dict[str, Any] = {"from": "0 16 * * 5", "to": "Mon 06:00", "reason": "<b>weekend"}
    bad = page.submit("Add the window", **fields)
    assert (bad.status, "such as 'Fri 16:00'" in bad.alert) == (400, True)
    fields["from"] = "Fri 16:00"
    added = bad.submit("Add the window", **fields)
    assert added.alert == "The freeze window is added."
    assert all(text in added.text for text in (ann.name, "Fri 16:00", "Mon 06:00", "<b>weekend"))
    again = bad.submit("Add the window", **fields)
    assert (again.alert, len(listed(ann))) == ("The freeze window is added.", 1)
    assert "Fri 16:00 to Mon 06:00" in visitor.get(f"/service/{service}/").text
    removed = again.submit("Remove")
    assert removed.alert.startswith("The freeze window is removed.")
    assert listed(ann) == []


def test_only_who_may_remove_a_window_sees_the_button(live_server: LiveServer, ann: Member) -> None:
    admin = add_limited_key(live_server, "username")
    of_server = create(admin, server=True, reason=str(uuid.uuid4()), **{"from": "2090-12-24", "to": "2090-12-27"})
    own = create(ann, service=ann.name)
    service = own["service"].split("/")[-2]
    keys = {
        "all": add_limited_key(live_server, ann.name, scope=Scope.OPERATE),
        "narrow": add_limited_key(live_server, ann.name, service_uuid=service, scope=Scope.OPERATE),
        "call": add_limited_key(live_server, ann.name, scope=Scope.CALL),
        "admin": admin,
    }
    for name, buttons in (("all", 1), ("narrow", 1), ("call", 0), ("admin", 2)):
        page = signed_in(live_server, keys[name].name, keys[name].key).get(f"/freeze/?service={service}")
        assert of_server["reason"] in page.text
        shown = [each for each in page.find("form") if "/remove/" in each.attributes["action"]]
        assert len(shown) == buttons, name
        assert bool(page.find("section", id="add")) is (name != "call")
        assert bool(page.find("input", name="server")) is (name == "admin")
    assert admin.send("DELETE", of_server["resource_uri"]).status == 204
