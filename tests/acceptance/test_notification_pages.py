"""The pages of notifications: targets are created, tested, changed and deleted; limited keys change nothing."""

from typing import Any

import pytest

from tests.acceptance.accounts import Member, add_limited_key, give
from tests.acceptance.notified import REFUSED, create, objects
from tests.support.pages import Visitor, signed_in
from tests.support.server import LiveServer
from tutumd.model import Scope


def test_pages_create_test_change_retry_and_delete(live_server: LiveServer, ann: Member) -> None:
    visitor = signed_in(live_server, ann.name, ann.key)
    page = visitor.get("/").follow("Add a target")
    assert not page.find("a", "Chat, phone or mail")
    form = page.follow("Webhook")
    fields: dict[str, Any] = {"name": "oncall", "settings.url": "https://u:s3cret@example.com/"}
    bad = form.submit("Create the target", **fields)
    assert (bad.status, "no user and password" in bad.alert) == (400, True)
    fields |= {"settings.url": REFUSED, "service": ann.name}
    made = bad.submit("Create the target", **fields)
    assert made.status == 201
    assert made.copies["Copy secret"].startswith("whsec_")
    twice = form.submit("Create the target", **fields)
    assert (twice.status, "already" in twice.alert) == (409, True)
    page = visitor.get(f"/notifications/target/{objects(ann)[0]['uuid']}/")
    assert not page.copies
    tested = page.submit("Send a test")
    assert "--notify-allow" in tested.alert
    assert "s3cret-path" not in tested.html
    assert tested.submit("Retry").alert == "The messages are queued again."
    wrong: dict[str, Any] = {"name": "ci", "settings.repository": "nothing", "settings.token": "t0ken"}
    refused = visitor.get("/notifications/new/?kind=forge").submit("Create the target", **wrong)
    assert ("like owner/name" in refused.alert, "t0ken" in refused.html) == (True, False)
    wrong |= {"settings.repository": "a/b"}
    made = refused.submit("Create the target", **wrong)
    assert made.submit("Delete the target").alert == "The target is deleted."
    service = objects(ann, "/api/v1/service/")[0]["uuid"]
    give(live_server, service, "username")  # the target keeps a service that its owner does not see any more
    kept = page.follow("Edit").submit("Save", repeat="86400")
    assert (kept.alert, "a service that you do not see" in kept.text) == ("The change is saved.", True)
    give(live_server, service, ann.name)
    edited = page.follow("Edit")
    assert "It is set (https://127.0.0.1:9/…)" in edited.text
    nothing: dict[str, Any] = {f"event.action.{each}": [] for each in ("failed", "recovered")}
    assert edited.submit("Save", **nothing).status == 400
    changed = edited.submit("Save", name="night", repeat="0", service="")
    assert (changed.title.startswith("night"), "all your services" in changed.text) == (True, True)
    assert changed.submit("Disable").alert == "The target is disabled: nothing is sent."
    assert visitor.get(f"/service/{service}/").follow("night").path == changed.path.partition("?")[0]
    assert not visitor.get("/").find("a", "Add a target")
    assert changed.submit("Delete the target").alert == "The target is deleted."
    assert objects(ann) == []


@pytest.mark.parametrize("scope", [Scope.READ, Scope.ADMIN])
def test_pages_of_a_limited_key_offer_no_change(live_server: LiveServer, ann: Member, scope: Scope) -> None:
    create(ann)
    service = objects(ann, "/api/v1/service/")[0]["uuid"]
    limits: dict[str, Any] = {"scope": scope} if scope is Scope.READ else {"service_uuid": service}
    limited = add_limited_key(live_server, ann.name, **limits)
    visitor: Visitor = signed_in(live_server, ann.name, limited.key)
    page = visitor.get("/notifications/")
    assert not page.find("section", id="add")
    assert not visitor.get("/").find("a", "Add a target")
    assert visitor.get("/notifications/new/").status == 403
    assert bool(page.find("a", "oncall")) is (scope is Scope.READ)
    if scope is Scope.READ:
        assert not page.follow("oncall").find("button", "Send a test")
